"""Ranges of a batch as elements of a Slurm array, for whoever scores in a thread of its own and knows no event loop."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.score_array import ScoreArrays

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.reference import Reference, Staged
    from sluiceway.core.genetics.score import Partial
    from sluiceway.core.runs.hosts import FindCluster
    from sluiceway.core.runs.place import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmRanges:
    """Scores ranges on a cluster; the way there stays open between batches."""

    arrays: ScoreArrays
    runner: asyncio.Runner

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in order; an array that is left goes on, and the next run joins it."""
        partials = self.arrays.partials(reference, staged, parts)
        try:
            while (found := self.runner.run(_next(partials))) is not None:
                yield found
        finally:
            self.runner.run(partials.aclose())


@contextmanager
def ranges_on(place: Cluster, *, find: FindCluster, runtime: Runtime | None = None) -> Iterator[SlurmRanges]:
    """Give what scores ranges on a cluster as long as the block lasts; when all went well, nothing is left there."""
    with asyncio.Runner() as runner:
        arrays = runner.run(_arrays(place, find, runtime))
        yield SlurmRanges(arrays=arrays, runner=runner)
        runner.run(arrays.tidy())


async def _arrays(place: Cluster, find: FindCluster, runtime: Runtime | None) -> ScoreArrays:
    runs = runs_here()
    return ScoreArrays(await access_to(await find(place.name), runs.clock), runs, place, runtime)


async def _next(partials: AsyncGenerator[Partial]) -> Partial | None:
    return await anext(partials, None)
