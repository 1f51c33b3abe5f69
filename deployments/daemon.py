"""A program of ours that runs in the background for as long as a command does: Prefect's server, and its worker."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import DaemonFailed
from sluiceway.core.remote.shell import Command
from sluiceway.deployments.processes import started_by

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell

# It leads a session of its own, so that its process id names everything it starts. Its variables come by standard
# input: a database's password is nobody's business who lists processes.
_START: Final = """
set -eu
while IFS= read -r variable; do export "$variable"; done
mkdir -p -- "$1"
log=$2 pid=$3
rm -f -- "$pid"
shift 3
setsid --fork sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$pid" "$@" >>"$log" 2>&1 </dev/null
until [ -s "$pid" ]; do sleep 0.01; done
"""
# A start that was interrupted may not have written the process id yet, or never will. The end waits until everything is
# gone, so that the next one finds its database free.
_STOP: Final = """
for try in $(seq 20); do if [ -s "$1" ]; then break; fi; sleep 0.1; done
group=$(cat -- "$1" 2>/dev/null) || exit 0
rm -f -- "$1"
kill -s TERM -- "-$group" 2>/dev/null || exit 0
for try in $(seq 100); do kill -s 0 -- "-$group" 2>/dev/null || exit 0; sleep 0.1; done
kill -s KILL -- "-$group"
"""
_IS_ALIVE: Final = 'kill -s 0 -- "-$(cat -- "$1")"'
_PATIENCE: Final = timedelta(seconds=10)
_TICK: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A program with its variables; its log and its process id are files of its folder."""

    name: str
    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)
    log: Path
    pid_file: Path
    shell: Shell

    async def start(self) -> None:
        """Start it; it outlives us unless it is stopped."""
        given = "".join(f"{name}={value}\n" for name, value in self.variables.items()).encode()
        words = (str(self.log.parent), str(self.log), str(self.pid_file), *self.argv)
        (await self.shell.run(Command.script(_START, *words, stdin=given))).require_success()

    async def stop(self) -> None:
        """End it and everything it has started in its session, gently first; come back when it is gone."""
        (await self.shell.run(Command.script(_STOP, str(self.pid_file)))).require_success()

    async def stop_with_all(self, clock: Clock) -> None:
        """End it and everything that hangs on it, whatever sessions that made for itself."""
        family = [] if (own := self.process_id()) is None else started_by(own)
        await self.stop()
        for how in (signal.SIGTERM, signal.SIGKILL):
            for each in family:
                each.end(how)
            deadline = clock.now() + _PATIENCE
            while any(each.is_there for each in family) and clock.now() < deadline:
                await clock.sleep(_TICK)

    async def is_alive(self) -> bool:
        """Whether any of it runs."""
        return (await self.shell.run(Command.script(_IS_ALIVE, str(self.pid_file)))).succeeded

    def process_id(self) -> int | None:
        """Give its process id; none where it was never started, or has been stopped."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.pid_file.read_text())
        return None

    def failed_to(self, attempted: str) -> DaemonFailed:
        """Give the error of not doing that, with the end of its log."""
        tail = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else []
        return DaemonFailed(daemon=self.name, attempted=attempted, log=self.log, tail="\n".join(tail))
