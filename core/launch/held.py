"""An engine that is held open, on this machine or in an allocation, for as long as somebody works with it.

It is what a launcher starts, with a payload that does nothing but wait. Where this process ends, however, it ends too:
on this machine because its payload watches this process, in an allocation because nobody uses that any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, LiteralString, Self

from sluiceway.core import settings
from sluiceway.core.errors import CommandFailed, EngineFailed, RemoteError
from sluiceway.core.events import tell
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sluiceway.core.launch.launcher import EngineLauncher
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Completed, Shell

log = logging.getLogger(__name__)

_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.2), timedelta(seconds=2)
_LAST_WORDS = timedelta(seconds=40)
_TAIL = 3000
_WAIT: LiteralString = 'while [ ! -e "$1" ] && { [ -z "$2" ] || kill -0 "$2"; } 2>/dev/null; do sleep 0.5; done'


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where an engine is, as connection.json tells it."""

    launcher: str
    state: str
    address: str
    dashboard: str
    nodes: tuple[dict[str, Any], ...]
    # Where the engine takes clients that its nodes cannot reach, and by which variables a program there finds it.
    client: str
    variables: dict[str, str]

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Read connection.json."""
        told = json.loads(content)
        more = {"nodes": tuple(told.get("nodes", ())), "client": told.get("client", "")}
        more["variables"] = told.get("variables", {})
        return cls(**more, **{name: told[name] for name in ("launcher", "state", "address", "dashboard")})

    def beside(self, command: Command) -> Command:
        """Give a command for the engine's first node, which finds the engine there as its payload would."""
        told = {"SLUICEWAY_LAUNCHER": self.launcher, **self.variables}
        return replace(command, argv=("env", *(f"{name}={value}" for name, value in told.items()), *command.argv))


@contextlib.contextmanager
def held_here(python: str) -> Iterator[Holding]:
    """Hold engines on this machine, and where it is one of an allocation's nodes, on all of them."""
    # All nodes see the working directory; nobody promises that of a folder for temporary files.
    place = Path.cwd() if settings.Foreign().slurm_job_id else None
    folder, shell = tempfile.mkdtemp(prefix=".sluiceway-", dir=place), LocalShell()
    try:
        path = PurePosixPath(folder)
        yield Holding(shell=shell, clock=SystemClock(), folder=path, run=shell.run, python=python, is_here=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How an engine is held: where its files lie, how a command is run there, and by which Python."""

    shell: Shell
    clock: Clock
    folder: PurePosixPath
    run: Callable[[Command], Awaitable[Completed]]
    python: str = "python3"
    is_here: bool = False

    @contextlib.asynccontextmanager
    async def engine(self, launcher: EngineLauncher) -> AsyncIterator[Connection]:
        """Start an engine, and give where it is; it ends with the block. Raises EngineFailed where it does not come."""
        await self._write(launcher)
        running = asyncio.ensure_future(self.run(self._command(launcher)))
        try:
            yield await self._ready(launcher, running)
        finally:
            await self._end(running)

    async def _write(self, launcher: EngineLauncher) -> None:
        programs = self.folder / "launch"
        (await self.shell.run(Command.of("mkdir", "-p", "--", str(programs)))).require_success()
        for name, content in launcher.files().items():
            await self.shell.write(programs / name, content)

    def _command(self, launcher: EngineLauncher) -> Command:
        """Run the launcher with a payload that waits until it is told to end, or until this process is gone."""
        watched = str(os.getpid()) if self.is_here else ""
        payload = ("sh", "-c", _WAIT, "sh", str(self._over), watched)
        _, *words = launcher.command(payload, programs=self.folder / "launch")
        return Command.of("env", f"SLUICEWAY_CONTEXT={self.folder}/context.json", self.python, *words)

    async def _ready(self, launcher: EngineLauncher, running: asyncio.Future[Completed]) -> Connection:
        pause = _PAUSE
        while not running.done():
            with contextlib.suppress(CommandFailed):
                connection = Connection.of(await self.shell.read(self.folder / "engine/connection.json"))
                tell(log, "engine ready", launcher=launcher.name, address=connection.address)
                return connection
            await self.clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        said = (await running).stderr.decode(errors="replace").strip()[-_TAIL:]
        raise EngineFailed(machine=self.shell.machine, launcher=launcher.name, reason=said or "it said nothing")

    async def _end(self, running: asyncio.Future[Completed]) -> None:
        """Tell the engine to end, and wait for it; who does not answer, or takes too long, is left to its own means."""
        with contextlib.suppress(RemoteError):
            await self.shell.run(Command.of("touch", "--", str(self._over)), timeout=_LAST_WORDS)
        with contextlib.suppress(TimeoutError, RemoteError):
            async with asyncio.timeout(_LAST_WORDS.total_seconds()):
                await running

    @property
    def _over(self) -> PurePosixPath:
        return self.folder / "over"
