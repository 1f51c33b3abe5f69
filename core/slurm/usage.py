"""What a job used of what it was given, from its rows in accounting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluiceway.core.slurm.job import JobId
    from sluiceway.core.slurm.parse import AccountRow


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUsage:
    """What the last run of a job, or of one element of an array, was given and used; memory is in bytes."""

    job: JobId
    elapsed: timedelta
    waited: timedelta | None
    cpus: int
    cpu_time: timedelta
    memory: int | None
    peak_memory: int | None
    gpus: int
    nodes: str

    @property
    def cpu_efficiency(self) -> float | None:
        """How much of the CPUs' time was used, from 0 to 1; none for a job too short to tell."""
        given = self.elapsed.total_seconds() * self.cpus
        return self.cpu_time.total_seconds() / given if given else None

    @property
    def memory_efficiency(self) -> float | None:
        """How much of the memory was used at the peak of any one step; none where either is unknown."""
        return self.peak_memory / self.memory if self.peak_memory is not None and self.memory else None

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON has it: seconds, bytes, and shares from 0 to 1."""
        return {
            "elapsed_seconds": self.elapsed.total_seconds(),
            "waited_seconds": None if self.waited is None else self.waited.total_seconds(),
            "cpus": self.cpus,
            "cpu_seconds": self.cpu_time.total_seconds(),
            "cpu_efficiency": self.cpu_efficiency,
            "memory_bytes": self.memory,
            "peak_memory_bytes": self.peak_memory,
            "memory_efficiency": self.memory_efficiency,
            "gpus": self.gpus,
            "nodes": self.nodes,
        }


def usage_of(rows: Sequence[AccountRow], job: JobId) -> JobUsage | None:
    """Sum up a job's rows, or give none where accounting has not filled them yet."""
    ours = [row for row in rows if row.job.number == job.number and row.job.task == job.task]
    whole = [row for row in ours if row.step is None]
    if not whole or not whole[-1].state.is_final:
        return None
    last = whole[-1]
    steps = [row for row in ours if row.step is not None]
    waited = last.start - last.submitted if last.start and last.submitted else None
    return JobUsage(
        job=job,
        elapsed=timedelta(seconds=last.elapsed_seconds),
        waited=waited,
        cpus=last.cpus,
        cpu_time=timedelta(seconds=last.cpu_seconds),
        memory=last.memory,
        peak_memory=max((row.peak_memory for row in steps if row.peak_memory is not None), default=None),
        gpus=last.gpus,
        nodes=last.nodes,
    )


def used_together(job: JobId, elements: Iterable[JobUsage]) -> JobUsage | None:
    """Sum up elements of an array: times are summed, and what each has of its own is the most that any had."""
    found = list(elements)
    if not found:
        return None
    return JobUsage(
        job=job.whole,
        elapsed=sum((each.elapsed for each in found), timedelta()),
        waited=max((each.waited for each in found if each.waited is not None), default=None),
        cpus=max(each.cpus for each in found),
        cpu_time=sum((each.cpu_time for each in found), timedelta()),
        memory=max((each.memory for each in found if each.memory is not None), default=None),
        peak_memory=max((each.peak_memory for each in found if each.peak_memory is not None), default=None),
        gpus=max(each.gpus for each in found),
        nodes=",".join(sorted({each.nodes for each in found})),
    )
