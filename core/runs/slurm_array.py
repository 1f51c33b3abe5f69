"""Runs arrays on a cluster, as arrays of Slurm's own: each element has a folder inside of its attempt's."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import SlurmRefused, TransferFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.array import ArrayHost, keep_elements, kept_elements
from sluiceway.core.runs.slurm_job import ACCOUNT_TRIES, PAUSE, SlurmJob, told_by
from sluiceway.core.slurm.job import Array
from sluiceway.core.slurm.watched import Ended, StateSeen, Unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import PurePosixPath

    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt, News, Waiting
    from sluiceway.core.runs.receipt import Output
    from sluiceway.core.slurm.job import Ending, JobId, JobSpec
    from sluiceway.core.slurm.parse import Unreachable
    from sluiceway.core.slurm.resources import Resources
    from sluiceway.core.slurm.usage import JobUsage
    from sluiceway.core.slurm.watched import Change

log = logging.getLogger(__name__)

_AT_ONCE, _BYTES_AT_ONCE = 500, 1 << 24
_UNKNOWN_SIZE = 1 << 12


class SlurmArray(SlurmJob, ArrayHost):
    """A cluster as a place for arrays."""

    def __init__(self, access: Access, *, wish: Resources | None = None, throttle: int | None = None) -> None:
        """Use a cluster; elements of what is staged by this host ask for these resources, so many run at once."""
        super().__init__(access, wish=wish)
        self._throttle = throttle

    async def largest(self) -> int:
        """Give how many elements one array may have there."""
        name = self._access.settings.slurm_cluster
        command = Command(argv=("scontrol", *((f"--cluster={name}",) if name else ()), "show", "config"))
        done = await self._ask_slurm(command)
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.text, re.MULTILINE)
        if found is None or int(found[1]) < 1:
            reason = done.stderr.decode(errors="replace").strip() or "it names no MaxArraySize, or has no arrays"
            raise SlurmRefused(machine=done.machine, attempted="scontrol show config", reason=reason)
        return int(found[1])

    async def stage(self, attempt: Attempt) -> None:
        """Keep here what the job is to ask for, and which element does what; the rest goes with the submit."""
        await super().stage(attempt)
        await asyncio.to_thread(keep_elements, attempt, throttle=self._throttle)

    def spec(self, folder: AttemptFolder) -> JobSpec:
        """Give the order for an attempt that was staged, mostly an array."""
        whole, kept = super().spec(folder), kept_elements(folder)
        if not kept["elements"]:
            return whole
        each = whole.folder / "t%a"
        return replace(
            whole,
            array=Array(count=len(kept["elements"]), throttle=kept["throttle"]),
            stdout=each / folder.stdout.name,
            stderr=each / folder.stderr.name,
            outcome=each / folder.outcome.name,
            messages=each / folder.messages.name,
        )

    async def watch_elements(self, attempt: Attempt, job: JobId) -> AsyncIterator[tuple[int, News | Waiting | Ending]]:
        """Tell what becomes of each element, from its first byte on, and then how it ended."""
        async for each in self.follow_elements(attempt.folder, job):
            yield each

    async def follow_elements(
        self, folder: AttemptFolder, job: JobId
    ) -> AsyncIterator[tuple[int, News | Waiting | Ending]]:
        """Tell what becomes of each element; a limit on the time in the queue holds while somebody listens."""
        throttle = (await asyncio.to_thread(kept_elements, folder))["throttle"]
        follow = self._access.watcher.follow(self.spec(folder), job)
        async with self.patience(folder, job) as patience, aclosing(follow) as changes:
            async for change in changes:
                if throttle is not None and not _is_waiting(change):
                    # The others wait for this one by our own wish.
                    patience.forget_the_limit()
                seen = told_by(change, folder)
                whose = change.ending.job if isinstance(change, Ended) else change.job
                if seen is not None and whose.task is not None:
                    yield whose.task, patience.judge(seen)

    async def used_by(self, folder: AttemptFolder, elements: Sequence[int]) -> Mapping[int, JobUsage]:
        """Ask accounting what elements that have ended were given and used; it may know a little later."""
        job = await self.find(folder)
        wanted = {} if job is None else {job.element(index): index for index in elements}
        told: dict[JobId, JobUsage] | Unreachable = {}
        for _ in range(ACCOUNT_TRIES):
            told = await self._access.cluster.usage(*wanted)
            if isinstance(told, dict) and len(told) == len(wanted):
                break
            await self._access.clock.sleep(PAUSE)
        return {wanted[each]: used for each, used in told.items()} if isinstance(told, dict) else {}

    async def fetch_all(self, folder: AttemptFolder, files: Mapping[PurePosixPath, Output | None]) -> None:
        """Bring files, many at a time, and check them; what is not there, or not what was made, is left out."""
        here, there = Path(folder.path), folder.at(self.base).path
        for some in _batches(files):
            await self._transfer.bring_small(there, here, some)
        for name, output in files.items():
            if output is not None and not await asyncio.to_thread(_is_whole, here / name, output):
                await self._bring(there / name, here / name, output)

    async def _bring(self, source: PurePosixPath, target: Path, output: Output) -> None:
        """Bring a file that did not come with the others; one that is not what was made fails no other."""
        try:
            await self._transfer.bring(source, target, digest=output.digest, waits=False)
        except TransferFailed as error:
            tell(log, "answer lost", level=logging.WARNING, because=str(error))


def _is_waiting(change: Change) -> bool:
    return isinstance(change, Unanswered) or (isinstance(change, StateSeen) and change.state.is_waiting)


def _batches(files: Mapping[PurePosixPath, Output | None]) -> Iterator[list[PurePosixPath]]:
    """Divide files so that each batch is small enough for one answer."""
    batch: list[PurePosixPath] = []
    room = _BYTES_AT_ONCE
    for name, output in files.items():
        size = _UNKNOWN_SIZE if output is None else output.size
        if batch and (len(batch) == _AT_ONCE or size > room):
            yield batch
            batch, room = [], _BYTES_AT_ONCE
        batch.append(name)
        room -= size
    if batch:
        yield batch


def _is_whole(path: Path, output: Output) -> bool:
    return path.is_file() and digest_of_file(path) == output.digest
