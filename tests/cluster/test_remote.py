"""The Shell over SSH against a real OpenSSH server: every promise again, and what only a real one can show."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from sluiceway.core.errors import (
    AuthenticationFailed,
    CommandTimedOut,
    ConnectionLost,
    HostKeyUnknown,
)
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.deployments.devcluster import daemons
from sluiceway.deployments.devcluster.supervisor import process_id
from tests.core.remote.promises import ShellPromises, digest

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

HELLO = Command.of("echo", "hello")


class TestRealSshShell(ShellPromises):
    """Every promise of a Shell, over OpenSSH."""


async def test_the_wrong_host_key_is_refused(login: Login, tmp_path: Path, devcluster: Devcluster) -> None:
    """Red on: core/remote/ssh.py:
    `given["agent_path"] = None` -> `given["agent_path"] = given["known_hosts"] = None`.
    """
    plan = devcluster.plan
    jump_key = plan.folder.host_key("jump").with_suffix(".pub").read_text()
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"[127.0.0.1]:{plan.ports.login} {jump_key}")
    with pytest.raises(HostKeyUnknown):
        await SshShell(dataclasses.replace(login, known_hosts=wrong)).run(HELLO)


async def test_the_wrong_key_is_refused(login: Login, tmp_path: Path) -> None:
    await LocalShell().run(Command.of("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")))
    with pytest.raises(AuthenticationFailed):
        await SshShell(dataclasses.replace(login, keys=(tmp_path / "key",))).run(HELLO)


async def test_a_key_with_a_passphrase_made_by_ssh_keygen_opens(
    login: Login, tmp_path: Path, devcluster: Devcluster
) -> None:
    locked = tmp_path / "locked"
    locked.write_bytes(devcluster.plan.folder.key.read_bytes())
    locked.chmod(0o600)
    await LocalShell().run(Command.of("ssh-keygen", "-p", "-P", "", "-N", "open sesame", "-f", str(locked)))
    opened = dataclasses.replace(login, keys=(locked,), passphrase=SecretStr("open sesame"))
    async with SshShell(opened) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_two_jump_hosts_are_gone_through(login: Login, devcluster: Devcluster) -> None:
    jump = dataclasses.replace(login, port=devcluster.plan.ports.jump)
    through = dataclasses.replace(login, via=dataclasses.replace(jump, via=login))
    async with SshShell(through) as shell:
        told = await shell.run(Command.script('echo "$SSH_CONNECTION" | cut -d" " -f4'))
    assert told.text.strip() == str(devcluster.plan.ports.login)


@pytest.mark.parametrize("suffix", ["", "-behind-jump"])
async def test_the_client_files_that_up_writes_are_enough(devcluster: Devcluster, suffix: str) -> None:
    login = Login(host=f"{devcluster.plan.name}{suffix}", ssh_config=devcluster.plan.folder.ssh_config, use_agent=False)
    async with SshShell(login) as shell:
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_server_restart_in_the_middle_of_a_command_is_an_unknown_outcome(
    shell: SshShell, devcluster: Devcluster, folder: PurePosixPath
) -> None:
    """Red on: core/remote/ssh.py: `if process.exit_status is None and process.exit_signal is None` -> `if False`."""
    running = asyncio.create_task(shell.run(Command.script('echo $PPID >"$1/sshd"; sleep 60', str(folder))))
    while not (found := (await shell.run(Command.script('cat "$1/sshd" 2>/dev/null || true', str(folder)))).text):
        pass
    daemon = daemons.sshd(devcluster.plan, "login")
    await devcluster.supervisor.stop(daemon)
    # The server's end takes no session with it: each is a process of its own, and this one ends too.
    os.kill(int(found), signal.SIGKILL)
    with pytest.raises(ConnectionLost):
        await running
    await devcluster.supervisor.start(daemon)
    assert process_id(daemon) is not None
    assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_two_hundred_commands_at_once_share_one_connection(shell: SshShell) -> None:
    """Red on: core/remote/ssh.py: `_CHANNELS = 8` -> `_CHANNELS = 200`."""
    ask = Command.script('echo "$1 $SSH_CONNECTION"; sleep 0.02')
    numbered = (dataclasses.replace(ask, argv=(*ask.argv, str(number))) for number in range(200))
    said = [each.text.split() for each in await asyncio.gather(*map(shell.run, numbered))]
    assert [int(words[0]) for words in said] == list(range(200))
    assert len({tuple(words[1:]) for words in said}) == 1


async def test_a_command_that_timed_out_is_gone_there_too(shell: SshShell, folder: PurePosixPath) -> None:
    """Red on: core/remote/ssh.py: `undo.callback(process.kill)` -> `pass`."""
    with pytest.raises(CommandTimedOut):
        await shell.run(Command.script('echo $$ >"$1/pid"; exec sleep 61', str(folder)), timeout=timedelta(seconds=1))
    gone = 'for try in $(seq 50); do kill -0 "$(cat "$1/pid")" 2>/dev/null || exit 0; sleep 0.1; done; exit 1'
    assert (await shell.run(Command.script(gone, str(folder)))).succeeded


@pytest.mark.nightly
@pytest.mark.slow
async def test_a_gibibyte_goes_there_and_back_unchanged(shell: SshShell, folder: PurePosixPath, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    with sent.open("wb") as written:
        for _ in range(64):
            written.write(os.urandom(16 * 2**20))
    await shell.put(sent, folder / "big")
    there = await shell.run(Command.of("sha256sum", str(folder / "big")))
    assert there.text.split()[0] == digest(sent)
    await shell.get(folder / "big", back)
    assert digest(back) == digest(sent)
    await shell.run(Command.of("rm", str(folder / "big")))


async def test_names_that_are_not_utf8_are_bytes_there(shell: SshShell, folder: PurePosixPath, tmp_path: Path) -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    (tmp_path / "file").write_bytes(b"x")
    await shell.put(tmp_path / "file", folder / name)
    assert await shell.read(folder / name) == b"x"
    assert (await shell.run(Command.of("ls", "--", str(folder)))).stdout == b"caf\xe9\n"
