"""How many jobs of this home a cluster holds at once, and how quickly they come: over all flows and processes.

Nothing is counted here that a crash could leave wrong: what is in flight is what the cluster's queue says. One process
at a time looks and submits; the lock for that goes with the process, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sluiceway.core.errors import OutputBusy
from sluiceway.core.events import tell
from sluiceway.core.slurm.parse import Unreachable
from sluiceway.core.store.durable import content_of, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_NEXT_IN_LINE = timedelta(milliseconds=200)
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(seconds=20)
_LAST = "last-submit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The bounds of one cluster, kept in a folder of this home's."""

    folder: Path
    clock: Clock
    most: int | None
    pause: timedelta

    @contextlib.asynccontextmanager
    async def turn(self, jobs: int, in_flight: Callable[[], Awaitable[int | Unreachable]]) -> AsyncIterator[None]:
        """Wait until so many more jobs may be submitted; nobody else submits any meanwhile.

        What is larger than the bound, an array of many elements, waits until nothing is in flight.
        """
        if self.most is None and not self.pause:
            yield
            return
        async with self._alone():
            await self._until_there_is_room(jobs, in_flight)
            await self.clock.sleep(await asyncio.to_thread(self._left_of_pause))
            yield
            now = self.clock.now().isoformat().encode()
            await asyncio.to_thread(write_whole, self.folder / _LAST, now)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive(self.folder, purpose="submit"))
                except OutputBusy:
                    await self.clock.sleep(_NEXT_IN_LINE)
                else:
                    break
            yield

    async def _until_there_is_room(self, jobs: int, in_flight: Callable[[], Awaitable[int | Unreachable]]) -> None:
        if self.most is None:
            return
        pause, told = _SHORTEST, ""
        while True:
            there = await in_flight()
            if not isinstance(there, Unreachable) and (there == 0 or there + jobs <= self.most):
                return
            because = there.reason if isinstance(there, Unreachable) else f"{self.most} jobs may be in flight"
            if because != told:
                told = because
                tell(log, "waiting to submit", cluster=self.folder.name, because=because)
            await self.clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)

    def _left_of_pause(self) -> timedelta:
        last = content_of(self.folder / _LAST)
        if last is None:
            return timedelta()
        left = datetime.fromisoformat(last.decode()) + self.pause - self.clock.now()
        # A clock that was set back must not stop everything.
        return max(timedelta(), min(left, self.pause))
