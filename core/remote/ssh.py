"""A Shell over asyncssh: one connection for each machine, opened when first needed, opened again when it broke.

This is the only file that imports asyncssh, and the place where its errors become ours. A command is never run twice:
once it may have started, a broken connection is ConnectionLost and the caller decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import secrets
import shlex
from typing import TYPE_CHECKING, Any, Self, TypeVar

import asyncssh

from sluiceway.core.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionRefused,
    HostKeyUnknown,
    InputMissing,
    TransferFailed,
    Unreachable,
)
from sluiceway.core.remote.clock import Clock, SystemClock
from sluiceway.core.remote.local import staged_beside
from sluiceway.core.remote.login import Challenge, Login, Prompt
from sluiceway.core.remote.patience import Patience
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed, Shell, time_limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path, PurePath, PurePosixPath

T = TypeVar("T")

# sshd allows ten sessions on a connection unless told otherwise (MaxSessions in sshd_config); two stay free for others.
_CHANNELS = 8
_KEEPALIVE_SECONDS = 15
_CONNECT_SECONDS = 20
_CLOSE_SECONDS = 5
_LOGIN_SECONDS = 60
# A person has to look up the code and type it.
_ANSWER_SECONDS = 300
_ANSWER_TRIES = 3

_REFUSED_PROOF = (
    asyncssh.PermissionDenied,
    asyncssh.IllegalUserName,
    asyncssh.PasswordChangeRequired,
    asyncssh.KeyEncryptionError,
    asyncssh.KeyImportError,
)
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"
# asyncssh reports what it cannot parse as ValueError.
_NO_CONNECTION = (asyncssh.Error, asyncssh.ChannelListenError, ValueError, OSError)


class SshShell(Shell):
    """Commands and files over one SSH connection, with no more channels open at once than the server allows."""

    def __init__(
        self,
        login: Login,
        *,
        channels: int = _CHANNELS,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._login = login
        self._free_channels = asyncio.Semaphore(channels)
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._was_reached = False
        self._way: list[asyncssh.SSHClientConnection] = []

    @property
    def machine(self) -> str:
        """The machine's name, for messages."""
        return self._login.machine

    async def __aenter__(self) -> Self:
        """Connect, so that what is wrong with the login shows at once."""
        await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection and those it runs through."""
        await self.close()

    async def close(self) -> None:
        """Close the connection and those it runs through; a later command opens them again."""
        way, self._way, self._connection = self._way, [], None
        for connection in reversed(way):
            connection.close()
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await connection.wait_closed()
            except TimeoutError:
                connection.abort()

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        """Run a command to its end; a command that takes too long is killed there."""
        attempted = str(command)
        line = shlex.join(command.argv).encode(errors="surrogateescape")
        async with (
            time_limit(timeout, machine=self.machine, attempted=attempted),
            self._process(line, attempted=attempted) as process,
            contextlib.AsyncExitStack() as undo,
        ):
            # Whoever stops waiting, for lateness or by being cancelled, leaves nothing running there.
            undo.callback(process.kill)
            stdout, stderr = await _communicate(process, command.stdin)
            undo.pop_all()
        if process.exit_status is None and process.exit_signal is None:
            raise ConnectionLost(machine=self.machine, attempted=attempted, reason="no exit code came back")
        ended_by = process.exit_signal[0] if process.exit_signal else None
        return Completed(
            machine=self.machine,
            command=command,
            exit_code=None if ended_by else process.exit_status,
            signal=ended_by,
            stdout=stdout,
            stderr=stderr,
        )

    async def put(self, source: Path, target: PurePosixPath, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file there; the target appears whole or not at all."""
        staged = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
        name = os.fsencode(staged)
        async with self._transfer(source, target, timeout=timeout) as sftp, contextlib.AsyncExitStack() as undo:
            here = await asyncio.to_thread(source.stat)
            undo.push_async_callback(_remove_if_there, sftp, name)
            # Nobody else may read it meanwhile, whatever it may become.
            async with await sftp.open(name, "xb", asyncssh.SFTPAttrs(permissions=0o600)):
                pass
            await sftp.put(source, name)
            _require_size(await sftp.getsize(name), expected=here.st_size)
            await sftp.chmod(name, here.st_mode & 0o777)
            await sftp.posix_rename(name, os.fsencode(target))
            undo.pop_all()

    async def get(self, source: PurePosixPath, target: Path, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file here; the target appears whole or not at all."""
        async with self._transfer(source, target, timeout=timeout) as sftp:
            there = await sftp.stat(os.fsencode(source))
            with staged_beside(target) as staged:
                await sftp.get(os.fsencode(source), staged)
                _require_size(staged.stat().st_size, expected=there.size)
                staged.chmod((there.permissions or 0o600) & 0o777)

    @contextlib.asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """Give a port of this machine that leads, over this connection, to one that the machine reaches."""
        connection = await self._connected()
        try:
            listener = await connection.forward_local_port("127.0.0.1", 0, host, port)
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(machine=self.machine, reason=f"it forwards no ports: {_said(error)}") from error
        try:
            yield "127.0.0.1", listener.get_port()
        finally:
            listener.close()

    @contextlib.asynccontextmanager
    async def _transfer(
        self, source: PurePath, target: PurePath, *, timeout: timedelta
    ) -> AsyncIterator[asyncssh.SFTPClient]:
        attempted = f"copy of {str(source)!r} to {str(target)!r}"
        async with (
            time_limit(timeout, machine=self.machine, attempted=attempted),
            self._channel(attempted) as connection,
        ):
            try:
                async with _closing(await self._opened(connection, connection.start_sftp_client)) as sftp:
                    yield sftp
            except (asyncssh.SFTPError, OSError) as error:
                # A lost connection is told apart by whoever lent it.
                if connection.is_closed():
                    raise
                reason = _said(error)
                raise TransferFailed(machine=self.machine, source=source, target=target, reason=reason) from error

    @contextlib.asynccontextmanager
    async def _process(self, line: bytes, *, attempted: str) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        async with self._channel(attempted) as connection:
            process = await self._opened(connection, lambda: connection.create_process(line, encoding=None))
            try:
                yield process
            finally:
                process.close()

    async def _opened(self, connection: asyncssh.SSHClientConnection, opening: Callable[[], Awaitable[T]]) -> T:
        """Open a channel; a server with none to spare has not started anything, so it may be asked again."""
        for pause in self._patience.pauses():
            try:
                return await opening()
            except asyncssh.ChannelOpenError as error:
                self._require_busy(connection, error)
            await self._clock.sleep(pause)
        raise Unreachable(machine=self.machine, reason="it has no session to spare on this connection")

    def _require_busy(self, connection: asyncssh.SSHClientConnection, error: asyncssh.ChannelOpenError) -> None:
        if connection.is_closed():
            raise error
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            raise Unreachable(machine=self.machine, reason="it lets in, but runs no commands or transfers") from error

    @contextlib.asynccontextmanager
    async def _channel(self, attempted: str) -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with self._free_channels:
            connection = await self._connected()
            try:
                yield connection
            except (asyncssh.Error, OSError) as error:
                raise ConnectionLost(machine=self.machine, attempted=attempted, reason=_said(error)) from error

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            await self.close()
            # Patience is for machines that were there before: a wrong host name should show at once.
            self._connection = await (self._connect_patiently() if self._was_reached else self._connect())
            self._was_reached = True
            return self._connection

    async def _connect_patiently(self) -> asyncssh.SSHClientConnection:
        for pause in self._patience.pauses():
            try:
                return await self._connect()
            except Unreachable:
                await self._clock.sleep(pause)
        return await self._connect()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        way: list[asyncssh.SSHClientConnection] = []
        async with contextlib.AsyncExitStack() as undo:
            for login in self._login.chain:
                options = _options(login, tunnel=way[-1] if way else None)
                with errors_of_connecting(login):
                    connection = await asyncssh.connect(login.host, **options)
                undo.callback(connection.close)
                way.append(connection)
            undo.pop_all()
        self._way = way
        return way[-1]


@contextlib.contextmanager
def errors_of_connecting(login: Login) -> Iterator[None]:
    """Turn everything that can go wrong on the way to a machine into one of our errors."""
    try:
        yield
    except ConnectionRefusedError as error:
        raise ConnectionRefused(machine=login.machine, reason=str(error)) from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise _unknown_host_key(login, error.reason) from error
    except _REFUSED_PROOF as error:
        raise _not_let_in(login, str(error)) from error
    except TimeoutError as error:
        raise Unreachable(machine=login.machine, reason="it did not answer in time") from error
    except _NO_CONNECTION as error:
        # Only files have names: a key that cannot be read is no fault of the network.
        if isinstance(error, OSError) and error.filename is not None:
            raise _not_let_in(login, str(error)) from error
        # A name with several addresses gives one error for all of them.
        if "Multiple exceptions" in str(error) and str(error).count("[Errno") == str(error).count(_REFUSED):
            raise ConnectionRefused(machine=login.machine, reason=str(error)) from error
        raise Unreachable(machine=login.machine, reason=_said(error)) from error


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _not_let_in(login: Login, reason: str) -> AuthenticationFailed:
    user = login.user or "this user"
    return AuthenticationFailed(machine=login.machine, user=user, tried=login.offered, reason=reason)


def _unknown_host_key(login: Login, reason: str) -> HostKeyUnknown:
    where = str(login.known_hosts or "~/.ssh/known_hosts")
    return HostKeyUnknown(machine=login.machine, known_hosts=where, reason=reason)


def _options(login: Login, *, tunnel: asyncssh.SSHClientConnection | None) -> dict[str, Any]:
    """Give what asyncssh.connect is told; what the login leaves out is left out, so that ssh_config decides."""
    if login.known_hosts is not None and not os.access(login.known_hosts, os.R_OK):
        raise _unknown_host_key(login, "that file is not there, or cannot be read")
    if login.ssh_config is not None and not os.access(login.ssh_config, os.R_OK):
        raise InputMissing(what="the ssh_config", path=login.ssh_config)
    told: dict[str, Any] = {
        "tunnel": tunnel,
        "port": login.port,
        "username": login.user,
        "client_keys": list(login.keys),
        "client_certs": list(login.certificates),
        "passphrase": login.passphrase and login.passphrase.get_secret_value(),
        "password": login.password and login.password.get_secret_value(),
        "known_hosts": login.known_hosts and str(login.known_hosts),
        "config": login.ssh_config and [str(login.ssh_config)],
        "client_factory": functools.partial(_Answering, login) if login.answer else None,
    }
    given = {name: value for name, value in told.items() if value}
    if not login.use_agent:
        given["agent_path"] = None
    return given | {
        "keepalive_interval": _KEEPALIVE_SECONDS,
        # asyncssh counts logging in as part of connecting.
        "connect_timeout": _ANSWER_SECONDS if login.answer else _CONNECT_SECONDS,
        "login_timeout": _ANSWER_SECONDS if login.answer else _LOGIN_SECONDS,
    }


class _Answering(asyncssh.SSHClient):
    """Hands what a machine asks during login to the login's answer callback."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._tries_left = _ANSWER_TRIES

    def kbdint_auth_requested(self) -> str | None:
        # Without a bound, a machine that never lets in would be answered for ever.
        self._tries_left -= 1
        return "" if self._tries_left >= 0 else None

    async def kbdint_challenge_received(
        self,
        name: str,
        instructions: str,
        lang: str,  # noqa: ARG002 - the base class names it
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        if self._login.answer is None or not prompts:
            return []
        challenge = Challenge(
            machine=self._login.machine,
            instructions=instructions or name,
            prompts=tuple(Prompt(text=text, visible=visible) for text, visible in prompts),
        )
        return list(await self._login.answer(challenge))


async def _communicate(process: asyncssh.SSHClientProcess[bytes], stdin: bytes) -> tuple[bytes, bytes]:
    # A command that does not read its input may be gone before it is sent: that is its right.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        process.stdin.write_eof()
    return await process.communicate()


async def _remove_if_there(sftp: asyncssh.SFTPClient, name: bytes) -> None:
    # The connection may be what broke; then the staged file stays, and no one ever takes it for the target.
    with contextlib.suppress(asyncssh.Error, OSError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await sftp.remove(name)


@contextlib.asynccontextmanager
async def _closing(sftp: asyncssh.SFTPClient) -> AsyncIterator[asyncssh.SFTPClient]:
    """Close a transfer's channel in the end, but wait for a server that hangs no longer than for any other."""
    try:
        yield sftp
    finally:
        sftp.exit()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await sftp.wait_closed()


def _require_size(size: int | None, *, expected: int | None) -> None:
    if size != expected:
        raise OSError(f"{size} of {expected} bytes arrived")
