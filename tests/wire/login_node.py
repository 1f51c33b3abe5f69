"""A login node: a real asyncssh server on a free port, with the fake Slurm behind it and faults at hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import asyncssh

from sluiceway.core.remote.login import Login
from tests.fake_slurm.slurm import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

USER, PASSWORD, CODE = "ada", "correct horse", "492039"


@dataclass(kw_only=True)
class Faults:
    """What goes wrong next; each is used up by the command or session that meets it."""

    lose_answers: int = 0
    cut_before: int = 0
    silent: int = 0
    no_session: int = 0
    truncate_input: int = 0
    cut_in_file: int = 0

    def take(self, name: str) -> bool:
        """Use up one of a fault, if there is one."""
        left: int = getattr(self, name)
        setattr(self, name, max(left - 1, 0))
        return left > 0


@dataclass(kw_only=True)
class LoginNode:
    """The server, its keys, its user's home and its faults."""

    folder: Path
    slurm: FakeSlurm
    faults: Faults = field(default_factory=Faults)
    wants_code: bool = False
    authority: asyncssh.SSHKey | None = None
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0
    _server: asyncssh.SSHAcceptor | None = None
    _at_work: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Self]:
        """Run a login node for the length of a block."""
        node = cls(folder=folder, slurm=FakeSlurm.made(folder / "slurm"))
        node.home.mkdir()
        for name in ("host", "user"):
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(folder / name)
            # ssh-add refuses keys that others can read.
            (folder / name).chmod(0o600)
        await node.listen()
        try:
            yield node
        finally:
            await node.close()
            node.slurm.stop()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def login(self) -> Login:
        """How to log in with the right key."""
        known = self.folder / "known_hosts"
        public = asyncssh.read_private_key(self.folder / "host").export_public_key().decode()
        known.write_text(f"[127.0.0.1]:{self.port} {public}")
        return Login(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            keys=(self.folder / "user",),
            known_hosts=known,
            use_agent=False,
            ssh_config=Path("/dev/null"),
        )

    async def listen(self) -> None:
        """Listen, on the port of the last time if there was one."""
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Server(self),
            server_host_keys=[self.folder / "host"],
            encoding=None,
            login_timeout=20,
        )
        self.port = self._server.get_port()

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None
        # What a command has started is gone, and waited for, before the loop is.
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=30)

    def cut(self) -> None:
        """Cut every connection, as a network does: without a word."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()

    async def handle(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        task = asyncio.current_task()
        if task is not None:
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        if self.faults.take("cut_before"):
            self.cut()
            return
        if self.faults.take("silent"):
            await process.wait_closed()
            return
        with contextlib.suppress(asyncssh.SignalReceived, asyncssh.BreakReceived, OSError):
            await self._run(process, command)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes], command: str) -> None:
        given = await process.stdin.read()
        if self.faults.take("truncate_input"):
            given = given[: len(given) // 2]
        child = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            env={"PATH": f"{self.slurm.programs}:{os.environ['PATH']}", "HOME": str(self.home)},
            start_new_session=True,
        )
        ending = asyncio.create_task(child.communicate(given))
        gone = asyncio.create_task(process.wait_closed())
        await asyncio.wait({ending, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            os.killpg(child.pid, signal.SIGKILL)
        stdout, stderr = await ending
        gone.cancel()
        if self.faults.take("lose_answers"):
            self.cut()
            return
        process.stdout.write(stdout)
        process.stderr.write(stderr)
        if child.returncode is not None and child.returncode < 0:
            process.exit_with_signal(signal.Signals(-child.returncode).name.removeprefix("SIG"))
        else:
            process.exit(child.returncode or 0)


class _Files(asyncssh.SFTPServer):
    """Takes files, unless the connection is to be cut while one is sent."""

    def __init__(self, node: LoginNode, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(channel)
        self._node = node

    def write(self, file_obj: object, offset: int, data: bytes) -> int | Awaitable[int]:
        if self._node.faults.take("cut_in_file"):
            self._node.cut()
        return super().write(file_obj, offset, data)


class _Server(asyncssh.SSHServer):
    """Lets the right user in: by key, and where the node wants one, by a code as well."""

    def __init__(self, node: LoginNode) -> None:
        self._node = node

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._node.connections.append(conn)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        with contextlib.suppress(ValueError):
            self._node.connections.remove(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return not self._node.wants_code

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        ours = asyncssh.read_private_key(self._node.folder / "user")
        return username == USER and key.export_public_key() == ours.convert_to_public().export_public_key()

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and self._node.authority is not None and key == self._node.authority.convert_to_public()

    def password_auth_supported(self) -> bool:
        return not self._node.wants_code

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def kbdint_auth_supported(self) -> bool:
        return self._node.wants_code

    def get_kbdint_challenge(
        self,
        username: str,
        lang: str,
        submethods: str,
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "Two factors", "en-US", [("Password: ", False), ("Code: ", True)]

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:  # type: ignore[override]
        return username == USER and responses == [PASSWORD, CODE]

    def session_requested(self) -> Literal[False] | asyncssh.SSHServerProcess[bytes]:
        if self._node.faults.take("no_session"):
            return False
        files = partial(_Files, self._node)
        return asyncssh.SSHServerProcess(self._node.handle, files, 3, allow_scp=False)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True
