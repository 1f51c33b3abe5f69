"""Runs arrays on this machine: so many elements at once, each a process like any other run's.

An element starts once another has ended. If whoever starts them dies, those that run go on; the next one who asks for
the same array joins them, and starts the rest.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.runs.array import ArrayHost, elements_of, keep_elements
from sluiceway.core.runs.local_job import LocalJob
from sluiceway.core.slurm.job import Ending, EndingKind, JobId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import PurePosixPath

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt, News, Waiting
    from sluiceway.core.runs.receipt import Output

    Seen = tuple[int, News | Waiting | Ending]

_LARGEST = 1000


class LocalArray(LocalJob, ArrayHost):
    """This machine as a place for arrays, and for attempts that are none."""

    def __init__(self, home: Path, *, shell: Shell, clock: Clock, at_once: int | None = None) -> None:
        """Keep runs below this folder; run so many elements at once, by default one for each processor."""
        super().__init__(home, shell=shell, clock=clock)
        self._at_once = at_once or len(os.sched_getaffinity(0))

    async def largest(self) -> int:
        """Give how many elements a folder is to hold."""
        return _LARGEST

    async def stage(self, attempt: Attempt) -> None:
        """Write the attempt's files, and which element does what."""
        await super().stage(attempt)
        if attempt.elements:
            await asyncio.to_thread(keep_elements, attempt)

    async def find(self, folder: AttemptFolder) -> JobId | None:
        """Give the process of an element, or of the first one that has any."""
        elements = await asyncio.to_thread(elements_of, folder)
        if not elements:
            return await super().find(folder)
        found = [await super(LocalArray, self).find(folder.element(index)) for index in range(len(elements))]
        return next((each for each in found if each is not None), None)

    async def submit(self, attempt: Attempt) -> JobId:
        """Start an element; of a whole array, name whoever starts them: this process."""
        is_whole = attempt.elements and attempt.folder.index is None
        return JobId(os.getpid()) if is_whole else await super().submit(attempt)

    async def watch_elements(self, attempt: Attempt, job: JobId) -> AsyncIterator[Seen]:  # noqa: ARG002 - see submit
        """Run the elements, so many at once, and tell what becomes of each."""
        seen: asyncio.Queue[Seen | None] = asyncio.Queue()
        gate = asyncio.Semaphore(self._at_once)

        async def run_all() -> None:
            try:
                async with asyncio.TaskGroup() as elements:
                    for index in range(len(attempt.elements)):
                        elements.create_task(self._run(attempt, index, gate, seen))
            finally:
                seen.put_nowait(None)

        running = asyncio.create_task(run_all())
        try:
            while (each := await seen.get()) is not None:
                yield each
            await running
        finally:
            running.cancel()

    async def follow_elements(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[Seen]:  # noqa: ARG002
        """Tell what becomes of each element in turn, of those that have begun by then."""
        for index in range(len(await asyncio.to_thread(elements_of, folder))):
            element = folder.element(index)
            started = await self.find(element)
            if started is not None:
                async for each in self.watch(element, started):
                    yield index, each

    async def cancel(self, folder: AttemptFolder, job: JobId) -> None:
        """End an element, or all of them; none of those that wait starts any more."""
        elements = await asyncio.to_thread(elements_of, folder)
        if not elements:
            await super().cancel(folder, job)
        for index in range(len(elements)):
            element = folder.element(index)
            started = await self.find(element)
            if started is not None:
                await super().cancel(element, started)

    async def fetch_all(self, folder: AttemptFolder, files: Mapping[PurePosixPath, Output | None]) -> None:
        """Do nothing: the files are on this machine."""

    async def _run(
        self, attempt: Attempt, index: int, gate: asyncio.Semaphore, seen: asyncio.Queue[Seen | None]
    ) -> None:
        element = attempt.folder.element(index)
        async with gate:
            is_cancelled = await asyncio.to_thread(Path(attempt.folder.cancelled).exists)
            if is_cancelled and await self.find(element) is None:
                evidence = "it was cancelled before it started"
                seen.put_nowait((index, Ending(job=JobId(0, index), kind=EndingKind.CANCELLED, evidence=evidence)))
                return
            job = await self.submit(replace(attempt, folder=element))
            async for each in self.watch(element, job):
                seen.put_nowait((index, each))
