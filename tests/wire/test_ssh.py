"""A Shell over SSH keeps every promise, and tells apart what can go wrong on the way.

A fault test names in its docstring the mutation on which it is red; `make nightly` plants each and looks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import asyncssh
import pytest
from pydantic import SecretStr

from sluiceway.core.errors import (
    AuthenticationFailed,
    CommandFailed,
    CommandTimedOut,
    ConnectionLost,
    ConnectionRefused,
    HostKeyUnknown,
    InputMissing,
    RemoteError,
    Unreachable,
)
from sluiceway.core.remote.login import Challenge, Login
from sluiceway.core.remote.patience import Patience
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell, errors_of_connecting
from tests.clocks import SteppedClock
from tests.conftest import User
from tests.core.remote.promises import ShellPromises
from tests.wire.login_node import CODE, PASSWORD, LoginNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HELLO = Command.of("echo", "hello")


class TestSshShell(ShellPromises):
    """Every promise of a Shell, over SSH."""


async def refused(login: Login) -> RemoteError:
    """The error with which a login is refused."""
    with pytest.raises(RemoteError) as raised:
        async with SshShell(login):
            pass
    return raised.value


# --- logging in


async def test_a_machine_whose_key_differs_is_refused_before_anything_is_sent(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py:
    `given["agent_path"] = None` -> `given["agent_path"] = given["known_hosts"] = None`.
    """
    login = login_node.login
    assert login.known_hosts is not None
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    login.known_hosts.write_text(f"[127.0.0.1]:{login.port} {other}")
    error = await refused(login)
    assert isinstance(error, HostKeyUnknown)
    assert str(login.known_hosts) in str(error)


@pytest.mark.parametrize("content", ["", None], ids=["empty", "absent"])
async def test_without_a_known_key_no_machine_is_trusted(login_node: LoginNode, content: str | None) -> None:
    """Red on: core/remote/ssh.py: `if login.known_hosts is not None and not` -> `if False and not`."""
    known = login_node.folder / "other_known_hosts"
    if content is not None:
        known.write_text(content)
    error = await refused(dataclasses.replace(login_node.login, known_hosts=known))
    assert isinstance(error, HostKeyUnknown)


async def test_a_user_without_known_hosts_trusts_no_machine(login_node: LoginNode, user: User) -> None:
    user.export("HOME", str(user.folder))
    assert isinstance(await refused(dataclasses.replace(login_node.login, known_hosts=None)), HostKeyUnknown)


async def test_the_wrong_key_is_an_authentication_failure_that_says_what_was_offered(
    login_node: LoginNode, tmp_path: Path
) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    error = await refused(dataclasses.replace(login_node.login, keys=(tmp_path / "other",)))
    assert isinstance(error, AuthenticationFailed)
    assert "ada" in str(error)
    assert f"offered: key {tmp_path}/other" in str(error)


async def test_a_key_file_that_is_not_there_is_an_authentication_failure(login_node: LoginNode, tmp_path: Path) -> None:
    error = await refused(dataclasses.replace(login_node.login, keys=(tmp_path / "none",)))
    assert isinstance(error, AuthenticationFailed)
    assert f"{tmp_path}/none" in error.reason


async def test_a_key_with_a_passphrase_opens_with_it_and_not_without(login_node: LoginNode, tmp_path: Path) -> None:
    key = asyncssh.read_private_key(login_node.folder / "user")
    key.write_private_key(tmp_path / "locked", passphrase="open sesame")
    locked = dataclasses.replace(login_node.login, keys=(tmp_path / "locked",))
    assert isinstance(await refused(locked), AuthenticationFailed)
    async with SshShell(dataclasses.replace(locked, passphrase=SecretStr("open sesame"))) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_password_lets_in_and_a_wrong_one_does_not(login_node: LoginNode) -> None:
    by_password = dataclasses.replace(login_node.login, keys=(), password=SecretStr(PASSWORD))
    async with SshShell(by_password) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"
    error = await refused(dataclasses.replace(by_password, password=SecretStr("battery staple")))
    assert isinstance(error, AuthenticationFailed)
    assert "battery" not in str(error)


async def test_a_one_time_code_is_asked_for_through_the_callback(login_node: LoginNode) -> None:
    login_node.wants_code = True
    asked: list[Challenge] = []

    async def answer(challenge: Challenge) -> Sequence[str]:
        asked.append(challenge)
        return [PASSWORD, CODE]

    async with SshShell(dataclasses.replace(login_node.login, answer=answer)) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"
    (challenge,) = asked
    assert challenge.instructions == "Two factors"
    assert [(each.text, each.visible) for each in challenge.prompts] == [("Password: ", False), ("Code: ", True)]


async def test_a_person_may_take_their_time_to_answer(login_node: LoginNode, slow_machine: None) -> None:
    """Red on: core/remote/ssh.py:
    `"connect_timeout": _ANSWER_SECONDS if login.answer else _CONNECT_SECONDS` -> `"connect_timeout": _CONNECT_SECONDS`.
    """
    login_node.wants_code = True

    async def answer(challenge: Challenge) -> Sequence[str]:
        await asyncio.sleep(0.6)
        return [PASSWORD, CODE]

    async with SshShell(dataclasses.replace(login_node.login, answer=answer)) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_wrong_code_is_an_authentication_failure(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py: `self._tries_left -= 1` -> `pass`."""
    login_node.wants_code = True
    asked: list[Challenge] = []

    async def answer(challenge: Challenge) -> Sequence[str]:
        asked.append(challenge)
        return ["000000"] * len(challenge.prompts)

    async with asyncio.timeout(40):
        error = await refused(dataclasses.replace(login_node.login, answer=answer))
    assert isinstance(error, AuthenticationFailed)
    assert len(asked) == 3


async def test_a_certificate_lets_in_where_its_authority_is_trusted(login_node: LoginNode, tmp_path: Path) -> None:
    authority, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    authority.generate_user_certificate(key, "ada", principals=["ada"]).write_certificate(tmp_path / "cert.pub")
    key.write_private_key(tmp_path / "key")
    login_node.authority = authority
    login = dataclasses.replace(login_node.login, keys=(tmp_path / "key",), certificates=(tmp_path / "cert.pub",))
    async with SshShell(login) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_what_a_login_leaves_out_comes_from_ssh_config(login_node: LoginNode, tmp_path: Path) -> None:
    login = login_node.login
    config = tmp_path / "config"
    config.write_text(
        f"Host cluster\n HostName 127.0.0.1\n Port {login.port}\n User ada\n IdentityFile {login.keys[0]}\n"
        f" UserKnownHostsFile {login.known_hosts}\n"
    )
    async with SshShell(Login(host="cluster", ssh_config=config, use_agent=False)) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_key_in_an_agent_lets_in(login_node: LoginNode, agent: Path) -> None:
    login = dataclasses.replace(login_node.login, keys=(), use_agent=True)
    async with SshShell(login) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_chain_of_machines_is_gone_through_in_turn(
    login_node: LoginNode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with (
        LoginNode.running(tmp_path_factory.mktemp("first")) as first,
        LoginNode.running(tmp_path_factory.mktemp("second")) as second,
    ):
        via = dataclasses.replace(second.login, via=first.login)
        async with SshShell(dataclasses.replace(login_node.login, via=via)) as shell:
            assert (await shell.run(HELLO)).stdout == b"hello\n"
            assert [len(node.connections) for node in (first, second, login_node)] == [1, 1, 1]
        assert [node.commands for node in (first, second)] == [[], []]


async def test_the_machine_that_refuses_in_a_chain_is_the_one_named(
    login_node: LoginNode, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    async with LoginNode.running(tmp_path_factory.mktemp("jump")) as jump:
        (tmp_path / "empty").touch()
        via = dataclasses.replace(jump.login, known_hosts=tmp_path / "empty")
        error = await refused(dataclasses.replace(login_node.login, via=via))
        assert error.machine == jump.login.machine


# --- reaching a machine


@pytest.mark.parametrize("line", ["[127.0.0.1]:22 ssh-ed25519", "@what is this"])
async def test_a_known_hosts_file_that_makes_no_sense_trusts_no_machine(login_node: LoginNode, line: str) -> None:
    assert login_node.login.known_hosts is not None
    login = login_node.login
    assert login.known_hosts is not None
    login.known_hosts.write_text(line)
    assert isinstance(await refused(login), RemoteError)


async def test_an_ssh_config_that_is_not_there_is_named(login_node: LoginNode, tmp_path: Path) -> None:
    login = dataclasses.replace(login_node.login, ssh_config=tmp_path / "none")
    with pytest.raises(InputMissing, match=r"the ssh_config '.*/none'"):
        await SshShell(login).run(HELLO)


async def test_every_address_of_a_name_refusing_is_a_refusal() -> None:
    both = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1'), [Errno 111] Connect call failed")
    with pytest.raises(ConnectionRefused), errors_of_connecting(Login(host="h")):
        raise both


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, and on which nothing else can start to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_a_port_where_nobody_listens_is_a_refusal_at_once(login_node: LoginNode, closed_port: int) -> None:
    """Red on: core/remote/ssh.py: `except ConnectionRefusedError as error` -> `except ZeroDivisionError as error`."""
    clock = SteppedClock()
    with pytest.raises(ConnectionRefused):
        await SshShell(dataclasses.replace(login_node.login, port=closed_port), clock=clock).run(HELLO)
    assert clock.slept == []


async def test_a_name_that_nobody_knows_is_unreachable(login_node: LoginNode) -> None:
    error = await refused(dataclasses.replace(login_node.login, host="no-such-host.invalid"))
    assert type(error) is Unreachable


async def test_a_refusal_behind_a_jump_host_is_unreachable(login_node: LoginNode, closed_port: int) -> None:
    behind = dataclasses.replace(login_node.login, port=closed_port, via=login_node.login)
    assert isinstance(await refused(behind), Unreachable)


def asyncssh_errors() -> list[Exception]:
    """One of each error that asyncssh can raise while connecting."""
    kinds = [each for each in vars(asyncssh).values() if isinstance(each, type) and issubclass(each, Exception)]
    local = (
        asyncssh.ProcessError,
        asyncssh.SignalReceived,
        asyncssh.BreakReceived,
        asyncssh.TerminalSizeChanged,
        asyncssh.KeyExportError,
        asyncssh.KeyGenerationError,
    )
    wanted = [each for each in kinds if not issubclass(each, local)]
    return [_one(each) for each in wanted] + [OSError(113, "No route"), TimeoutError(), socket.gaierror(-2, "unknown")]


def _one(kind: type[Exception]) -> Exception:
    for arguments in (("said",), (1, "said"), ("said", "said", "said")):
        try:
            return kind(*arguments)
        except TypeError:
            continue
    raise AssertionError(f"cannot make a {kind}")


@pytest.mark.parametrize("error", asyncssh_errors(), ids=lambda error: type(error).__name__)
def test_every_error_of_connecting_becomes_one_of_ours_with_its_cause(error: Exception) -> None:
    with pytest.raises(RemoteError) as raised, errors_of_connecting(Login(host="h")):
        raise error
    assert raised.value.__cause__ is error
    assert raised.value.machine == "h"


# --- a connection that breaks


async def vanish(login_node: LoginNode, shell: SshShell) -> None:
    """Let a machine that was reached before go away, in a way that the shell has noticed."""
    login_node.faults.cut_before = 1
    with pytest.raises(ConnectionLost):
        await shell.run(HELLO)
    await login_node.close()


async def test_an_answer_that_is_lost_is_an_unknown_outcome_and_the_command_ran_once(
    login_node: LoginNode, shell: SshShell
) -> None:
    """Red on: core/remote/ssh.py: `if process.exit_status is None and process.exit_signal is None` -> `if False`."""
    login_node.faults.lose_answers = 1
    with pytest.raises(ConnectionLost, match="look before doing it again"):
        await shell.run(Command.of("touch", "ran"))
    assert (login_node.home / "ran").exists()
    assert len(login_node.commands) == 1


async def test_a_connection_cut_before_the_answer_is_an_unknown_outcome(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: core/remote/ssh.py: `if process.exit_status is None and process.exit_signal is None` -> `if False`."""
    login_node.faults.cut_before = 1
    with pytest.raises(ConnectionLost):
        await shell.run(HELLO)


async def test_the_next_command_connects_again(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: core/remote/ssh.py: `and not self._connection.is_closed()` -> `and True`."""
    await vanish(login_node, shell)
    await login_node.listen()
    assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_server_that_restarts_is_waited_for_with_growing_pauses(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py:
    `self._connect_patiently() if self._was_reached` -> `self._connect() if self._was_reached`.
    """
    clock = SteppedClock()
    shell = SshShell(login_node.login, clock=clock, patience=Patience(first=timedelta(seconds=1)))
    await vanish(login_node, shell)
    waiting = asyncio.create_task(shell.run(HELLO))
    while len(clock.slept) < 3:
        await asyncio.sleep(0)
    await login_node.listen()
    assert (await waiting).stdout == b"hello\n"
    assert clock.slept[:3] == [timedelta(seconds=each) for each in (1, 2, 4)]
    await shell.close()


async def test_patience_ends(login_node: LoginNode) -> None:
    """Red on: core/remote/patience.py: `spent + pause <= self.total` -> `spent + pause <= 9 * self.total`."""
    clock = SteppedClock()
    shell = SshShell(login_node.login, clock=clock, patience=Patience(total=timedelta(seconds=9)))
    await vanish(login_node, shell)
    with pytest.raises(Unreachable):
        await shell.run(HELLO)
    assert sum(clock.slept, timedelta()) <= timedelta(seconds=9)


async def test_a_silent_machine_is_a_timeout_not_a_failure(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: core/remote/shell.py: `except TimeoutError:` -> `except ZeroDivisionError:`."""
    login_node.faults.silent = 1
    with pytest.raises(CommandTimedOut, match="may have had its effect"):
        await shell.run(HELLO, timeout=timedelta(seconds=0.3))


async def test_waiting_for_a_free_channel_counts_as_time(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py:
    `time_limit(timeout, machine=self.machine, attempted=attempted), self._process` -> `self._process`.
    """
    shell = SshShell(login_node.login, channels=1)
    busy = asyncio.create_task(shell.run(Command.of("sleep", "60")))
    while not login_node.commands:
        await asyncio.sleep(0.01)
    with pytest.raises(CommandTimedOut):
        async with asyncio.timeout(20):
            await shell.run(HELLO, timeout=timedelta(seconds=0.2))
    busy.cancel()
    await shell.close()


async def test_a_server_that_never_has_a_session_to_spare_started_nothing(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py:
    `raise Unreachable(machine=self.machine, reason="it has no session to spare on this connection")`
    -> `return await opening()`.
    """
    shell = SshShell(login_node.login, clock=SteppedClock())
    login_node.faults.no_session = 1_000
    with pytest.raises(Unreachable, match="no session to spare"):
        await shell.run(HELLO)
    await shell.close()


async def test_patience_is_kept_by_those_who_come_after_one_who_gave_up(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py: `self._was_reached = True` -> `pass`."""
    clock = SteppedClock()
    shell = SshShell(login_node.login, clock=clock)
    await vanish(login_node, shell)
    for _ in range(2):
        clock.slept.clear()
        with pytest.raises(Unreachable):
            await shell.run(HELLO)
        assert clock.slept


async def test_a_file_is_its_owners_alone_while_it_is_copied(
    login_node: LoginNode, shell: SshShell, folder: PurePosixPath, tmp_path: Path
) -> None:
    """Red on: core/remote/ssh.py: `SFTPAttrs(permissions=0o600)` -> `SFTPAttrs(permissions=0o644)`."""
    (tmp_path / "big").write_bytes(bytes(30_000_000))
    (tmp_path / "big").chmod(0o600)
    copying = asyncio.create_task(shell.put(tmp_path / "big", folder / "big"))
    while not (staged := list(Path(folder).iterdir())):
        await asyncio.sleep(0)
    assert staged[0].stat().st_mode & 0o077 == 0
    await copying


async def test_a_server_without_a_free_session_is_asked_again(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py:
    `except asyncssh.ChannelOpenError as error:` -> `except ZeroDivisionError as error:`.
    """
    clock = SteppedClock()
    shell = SshShell(login_node.login, clock=clock)
    login_node.faults.no_session = 2
    assert (await shell.run(HELLO)).stdout == b"hello\n"
    assert len(clock.slept) == 2
    assert len(login_node.commands) == 1
    await shell.close()


async def test_no_more_channels_are_open_at_once_than_the_budget(login_node: LoginNode) -> None:
    """Red on: core/remote/ssh.py: `asyncio.Semaphore(channels)` -> `asyncio.Semaphore(10_000)`."""
    shell = SshShell(login_node.login, channels=3)
    together = Command.script('mkdir "$1"; ls -d at-* | wc -l; sleep 0.05; rmdir "$1"', "at-")
    done = await asyncio.gather(
        *(shell.run(dataclasses.replace(together, argv=(*together.argv[:-1], f"at-{number}"))) for number in range(12))
    )
    assert max(int(each.text) for each in done) <= 3
    assert len(login_node.connections) == 1
    await shell.close()


async def test_half_a_file_never_gets_the_name(login_node: LoginNode, shell: SshShell, folder: PurePosixPath) -> None:
    """Red on: core/remote/shell.py: `if [ "$arrived" -ne "$2" ]` -> `if false`."""
    await shell.write(folder / "state", b"before")
    login_node.faults.truncate_input = 1
    with pytest.raises(CommandFailed, match="only 2 of 5 bytes arrived"):
        await shell.write(folder / "state", b"after")
    assert await shell.read(folder / "state") == b"before"
    assert [each.name for each in Path(folder).iterdir()] == ["state"]


async def test_half_an_addition_is_none(login_node: LoginNode, shell: SshShell, folder: PurePosixPath) -> None:
    """Red on: core/remote/shell.py: `if [ "$arrived" -ne "$2" ]` -> `if false`."""
    await shell.append(folder / "log", b"one\n")
    login_node.faults.truncate_input = 1
    with pytest.raises(CommandFailed, match="bytes arrived"):
        await shell.append(folder / "log", b"two\n")
    assert await shell.read(folder / "log") == b"one\n"


async def test_a_connection_that_breaks_during_a_copy_is_an_unknown_outcome(
    login_node: LoginNode, shell: SshShell, folder: PurePosixPath, tmp_path: Path
) -> None:
    """Red on: core/remote/ssh.py: `if connection.is_closed(): raise reason` -> `reason`."""
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    copying = asyncio.create_task(shell.put(tmp_path / "big", folder / "big"))
    while not any(Path(folder).iterdir()):
        await asyncio.sleep(0.001)
    login_node.cut()
    with pytest.raises(ConnectionLost, match="copy of"):
        await copying
    assert not (Path(folder) / "big").exists()
