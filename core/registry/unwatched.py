"""Collects what nobody waits for any more: how a job that has ended is told from one that goes on, and its receipt.

A run that is an array is collected as a whole. Of one on this machine, elements that never began never will, unless
somebody asks again: then only the calls without a result are made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.runs import array, asked, run
from sluiceway.core.runs.array import elements_of
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.hosts import for_arrays
from sluiceway.core.runs.retries import since
from sluiceway.core.runs.score_receipt import ranges_receipt
from sluiceway.core.slurm.job import Ending
from sluiceway.core.slurm.usage import used_together

if TYPE_CHECKING:
    from datetime import timedelta

    from sluiceway.core.runs.array import ArrayHost
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.job import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatched:
    """An attempt that was started, and that nobody sees to."""

    attempt: Attempt
    job: JobId
    host: JobHost

    async def end(self, patience: timedelta) -> Over | None:
        """Give how it ended; none where it has not, as far as is known after a while."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await (self._end_of_array() if self.attempt.elements else self._end())
        except TimeoutError:
            return None

    async def _end(self) -> Over:
        async for seen in self.host.watch(self.attempt.folder, self.job):
            if isinstance(seen, Ending):
                return Over(unwatched=self, endings={}, ending=seen)
        raise AssertionError("a host tells last how a job ended")

    async def _end_of_array(self) -> Over | None:
        host = for_arrays(self.host)
        if host is None:
            return None
        told = host.follow_elements(self.attempt.folder, self.job)
        endings = {index: seen async for index, seen in told if isinstance(seen, Ending)}
        return Over(unwatched=self, endings=endings, arrays=host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """An attempt that has ended: as a whole, or each of its elements."""

    unwatched: Unwatched
    endings: dict[int, Ending]
    ending: Ending | None = None
    arrays: ArrayHost | None = None

    async def collect(self, runs: Runs) -> RunReceipt:
        """Bring home what it made, and write the receipt."""
        attempt, job = self.unwatched.attempt, self.unwatched.job
        if self.ending is not None:
            return await run.collect(attempt, self.ending, runs=runs, host=self.unwatched.host)
        if self.arrays is None:
            raise AssertionError("an array is collected by a host for arrays")
        if "calls" in attempt.request.parameters:
            n_items = int(attempt.request.parameters["calls"])
            return await array.collect(attempt, job, self.endings, n_items, runs=runs, host=self.arrays)
        # Ranges stay where they are: whoever scores again looks there, for all arrays that have ended.
        used = await self.arrays.used_by(attempt.folder, sorted(self.endings))
        receipt = ranges_receipt(attempt, job, self.endings, used=used_together(job, used.values()))
        await run.keep(receipt, attempt, runs=runs)
        return receipt


def unwatched(folder: AttemptFolder, job: JobId, host: JobHost, *, place: str) -> Unwatched | None:
    """Give an attempt as its files tell it; none where its intent does not tell all of what was asked for."""
    request = _request_of(folder)
    if request is None:
        return None
    attempt = Attempt(request=request, folder=folder, place=place, elements=elements_of(folder), since=since(folder))
    return Unwatched(attempt=attempt, job=job, host=host)


def _request_of(folder: AttemptFolder) -> RunRequest | None:
    intent = run.intent_of(folder)
    request = None if intent is None else asked.read(intent.get("request") or {})
    return request if request is not None and request.key == folder.run.key else None
