"""Ranges of a batch as Dask tasks: on workers of this machine, or on those of a scheduler that runs already.

Each range is one task, and their results are added up here in the ranges' order, so that no bit depends on the place.
Workers read the panel, its table and the batch's rows by the paths that they have here. Nothing of Prefect or Dask is
imported until Dask is asked for.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import PlaceUnusable, Unreachable
from sluiceway.core.genetics.reference import Reference, Scorer, Staged, score_part
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.runs.hosts import cluster_named
from sluiceway.core.runs.partials import NO_MATCHES
from sluiceway.core.runs.place import Cluster, Dask, Local

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.score import Partial
    from sluiceway.core.provenance.software import Software
    from sluiceway.core.runs.hosts import FindCluster
    from sluiceway.core.runs.place import Place

_PATIENCE = "30s"


@contextmanager
def scorer_at(place: Place, *, workers: int, find: FindCluster = cluster_named) -> Iterator[Scorer | None]:
    """Give what scores ranges at a place as long as the block lasts; none for the threads of this process.

    Args:
        place: The place.
        workers: Dask's workers on this machine.
        find: Who knows the clusters.
    """
    match place:
        case Local():
            yield None
        case Dask(cluster=None):
            with ExitStack() as stack:
                yield DaskRanges(client=_client(place, workers, stack))
        case Dask():
            raise PlaceUnusable(
                place=str(place), reason="scores are worked out by local, dask, dask:ADDRESS or a cluster"
            )
        case Cluster():
            from sluiceway.tasks.slurm_ranges import ranges_on  # noqa: PLC0415 - brings SSH along

            with ranges_on(place, find=find) as ranges:
                yield ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskRanges:
    """Scores ranges as tasks of a Dask client."""

    client: Any

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in order; what is not taken is cancelled."""
        score = partial(_score, reference, staged, scoring_software())
        # Two batches, or two runs, may have tasks of the same arguments and other rows in the folder.
        futures = self.client.map(score, parts, pure=False, key="score_range")
        try:
            for future in futures:
                yield future.result()
                # Its result is on a worker until then.
                future.release()
        finally:
            self.client.cancel(futures)


def _client(place: Dask, workers: int, stack: ExitStack) -> Any:
    from distributed import Client, LocalCluster  # noqa: PLC0415 - takes most of a second

    if place.address is None:
        cluster = stack.enter_context(
            LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)  # type: ignore[no-untyped-call]
        )
        return stack.enter_context(Client(cluster, set_as_default=False))  # type: ignore[no-untyped-call]
    try:
        # Closing a client leaves a cluster that it did not start.
        return stack.enter_context(Client(place.address, timeout=_PATIENCE, set_as_default=False))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise Unreachable(machine=str(place), reason=str(error)) from error


def _score(reference: Reference, staged: Staged, software: Software, part: Range) -> Partial:
    """Score one range on a worker, which must have the very code of whoever asked."""
    if _own_software() != software:
        raise PlaceUnusable(place="dask", reason="a worker has another version of sluiceway, or of what it uses")
    # What became of each row is counted already, and as long as the rows.
    return replace(score_part(reference, staged, part), found=NO_MATCHES)


@cache
def _own_software() -> Software:
    return scoring_software()
