"""Starts and stops daemons, and waits until each is ready or gone."""

from __future__ import annotations

import logging
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.errors import DaemonFailed, PortTaken
from sluiceway.core.events import tell
from sluiceway.deployments.devcluster import machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Command, Completed, Shell
    from sluiceway.deployments.devcluster.daemons import Daemon

log = logging.getLogger(__name__)

_TICK = timedelta(milliseconds=50)
_START_LIMIT = timedelta(seconds=60)
_STOP_LIMIT = timedelta(seconds=8)
_COMMAND_LIMIT = timedelta(seconds=60)
# One that puts itself into the background is missed by a look between two processes.
_MISSED = 5
_LOG_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Looks after daemons on one machine."""

    shell: Shell
    clock: Clock

    async def start(self, daemon: Daemon) -> bool:
        """Start a daemon that does not run, and wait until it is ready; say whether it had to be started."""
        if process_id(daemon) is not None:
            return False
        if daemon.port is not None and not machine.is_free(daemon.port):
            raise PortTaken(port=daemon.port, purpose=daemon.name)
        daemon.pid_file.unlink(missing_ok=True)
        started = await self.run(daemon.start)
        if not started.succeeded:
            raise not_done(daemon, "start", said=started.stderr.decode(errors="replace"))
        await self._come_up(daemon)
        tell(log, "daemon started", daemon=daemon.name)
        return True

    async def _come_up(self, daemon: Daemon) -> None:
        missed = 0

        async def is_decided() -> bool:
            nonlocal missed
            # Before it has written its process id it is known by its command line alone.
            runs = process_id(daemon) is not None or machine.is_running(daemon.mark)
            missed = 0 if runs else missed + 1
            return missed == _MISSED or await self.is_ready(daemon)

        if not await self.until(is_decided, within=_START_LIMIT):
            raise not_done(daemon, f"become ready within {_START_LIMIT.total_seconds():g} s")
        if missed == _MISSED:
            raise not_done(daemon, "stay up: it ended before it was ready")

    async def is_ready(self, daemon: Daemon) -> bool:
        """Whether a daemon does its work, by its own answer."""
        # Slurm believes in a node for a while after it died.
        return process_id(daemon) is not None and (await self.run(daemon.ready)).succeeded

    async def stop(self, daemon: Daemon) -> None:
        """End a daemon: kindly, and after a while by force."""

        async def is_gone() -> bool:
            return process_id(daemon) is None

        for how in (signal.SIGTERM, signal.SIGKILL):
            pid = process_id(daemon)
            if pid is None:
                return
            machine.kill((pid,), how)
            if await self.until(is_gone, within=_STOP_LIMIT):
                return
        raise not_done(daemon, "stop")

    async def until(self, reached: Callable[[], Awaitable[bool]], *, within: timedelta) -> bool:
        """Wait until something holds; say whether it did in time."""
        deadline = self.clock.now() + within
        while not await reached():
            if self.clock.now() > deadline:
                return False
            await self.clock.sleep(_TICK)
        return True

    async def run(self, command: Command) -> Completed:
        """Run a command that may fail but must end."""
        return await self.shell.run(command, timeout=_COMMAND_LIMIT)


def process_id(daemon: Daemon) -> int | None:
    """Give the process id of a daemon; none when it does not run."""
    return machine.running_id(daemon.pid_file, mark=daemon.mark)


def not_done(daemon: Daemon, attempted: str, *, said: str = "") -> DaemonFailed:
    """Say what a daemon did not do, with the end of its log."""
    tail = ""
    with suppress(OSError):
        tail = "\n".join(daemon.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    return DaemonFailed(daemon=daemon.name, attempted=attempted, log=daemon.log, tail=f"{said}{tail}")
