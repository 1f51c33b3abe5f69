"""Ranges of a batch as Dask tasks: on workers of this machine, or on those of a scheduler that runs already.

Each range is one task, and their results are added up here in the ranges' order, so that no bit depends on the place.
Workers read the panel, its table and the batch's rows by the paths that they have here. Nothing of Prefect or Dask is
imported until Dask is asked for.
"""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, LiteralString

from sluiceway.core.environments.uses import BATCHES
from sluiceway.core.errors import EngineLost, PlaceUnusable
from sluiceway.core.genetics.reference import Reference, Scorer, Staged, score_part
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import cluster_named
from sluiceway.core.runs.partials import NO_MATCHES
from sluiceway.core.runs.place import Cluster, Dask, Local
from sluiceway.core.runs.score_array import require_same
from sluiceway.core.runs.score_element import ORDER, ROWS, TABLE, Order
from sluiceway.core.runs.score_work import Work, table_files
from sluiceway.core.runs.slurm_job import KEPT
from sluiceway.core.runs.transfer import Transfer, kept_name
from sluiceway.tasks.dask_cluster import dask_client, dask_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.score import Partial
    from sluiceway.core.provenance.software import Software
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.hosts import FindCluster
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.request import Content
    from sluiceway.tasks.dask_cluster import Background, Found

# Python 3.11 parses no two texts at once in several threads (github.com/python/cpython/issues/106905).
_LOOKING = threading.Lock()
_INPUTS = "inputs"
# What Dask says where a part of it cannot read what it was sent.
_UNREADABLE = "Error during deserialization"
# A line names an input, and the next one where its content is kept.
_LINK: LiteralString = """
umask 077
mkdir -p -- "$1/$2" "$1/$3" && cd -- "$1" || exit 73
while IFS= read -r name && IFS= read -r kept; do ln -sfn -- "$kept" "$name" || exit 73; done
"""
# What a run has left that was killed a week ago, or longer, goes as well.
_TIDY: LiteralString = """
cd -- "$1" || exit 66
shift
rm -rf -- "$@" && find . -mindepth 1 -maxdepth 1 -mmin +10080 -exec rm -rf -- {} +
"""


@contextmanager
def scorer_at(
    place: Place, *, workers: int, find: FindCluster = cluster_named, runtime: Runtime | None = None
) -> Iterator[Scorer | None]:
    """Give what scores ranges at a place as long as the block lasts; none for the threads of this process.

    Args:
        place: The place.
        workers: Dask's workers on this machine, or at most so many jobs of a cluster.
        find: Who knows the clusters.
        runtime: What the elements of a cluster's arrays run in; PlaceUnusable where there are none.
    """
    if runtime is not None and not isinstance(place, Cluster):
        reason = f"only the elements of a cluster's array run in an environment, and {runtime.name!r} was asked for"
        raise PlaceUnusable(place=str(place), reason=reason)
    match place:
        case Local():
            yield None
        case Dask():
            with ExitStack() as stack:
                found = stack.enter_context(dask_cluster(place, workers=workers, find=find))
                client = stack.enter_context(dask_client(found.address, name=str(place)))
                yield _ranges(client, found, place, stack)
        case Cluster():
            from sluiceway.tasks.slurm_ranges import ranges_on  # noqa: PLC0415 - brings SSH along

            with ranges_on(place, find=find, runtime=runtime) as ranges:
                yield ranges


def _ranges(client: Any, found: Found, place: Dask, stack: ExitStack) -> Scorer:
    """Give what scores ranges by the files that workers have: this machine's, or those that are sent to a cluster."""
    if found.access is None or found.loop is None:
        return DaskRanges(client=client, place=str(place))
    away = DaskRangesAway(client=client, access=found.access, loop=found.loop, place=str(place))
    stack.callback(away.tidy)
    return away


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskRanges:
    """Scores ranges as tasks of a Dask client, whose workers see the files of this machine."""

    client: Any
    place: str

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in order; what is not taken is cancelled."""
        score = partial(_score, reference, staged, scoring_software())
        return in_order(self.client, score, parts, place=self.place)


class DaskRangesAway:
    """Scores ranges as tasks of a Dask client, whose workers are jobs of a cluster and have files of their own."""

    def __init__(self, *, client: Any, access: Access, loop: Background, place: str) -> None:
        """Send rows and tables over this way; a table is kept by content there, and rows in their batch's folder."""
        self._client, self._access, self._loop, self._place = client, access, loop, place
        self._transfer = Transfer(access.shell, access.clock)
        self._tables: dict[Path, dict[str, Content]] = {}
        self._left: list[str] = []

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in order; what is not taken is cancelled."""
        folder = reference.table.folder
        if folder not in self._tables:
            # Read once: it is large.
            self._tables[folder] = table_files(folder)
        # Another run of the same scores has a folder of its own, which may go sooner.
        there = self._access.base / BATCHES / secrets.token_hex(8)
        work = Work.of(reference, staged, self._tables[folder], self._access, inputs=there / _INPUTS)
        self._left.append(there.name)
        self._loop.run(self._send(work, there))
        score = partial(_score_there, str(there), self._place)
        return in_order(self._client, score, [each.number for each in parts], place=self._place)

    def tidy(self) -> None:
        """Remove from the cluster what the batches have left there."""
        if self._left:
            batches = str(self._access.base / BATCHES)
            self._loop.run(self._transfer.ask(Command.script(_TIDY, batches, *self._left)))

    async def _send(self, work: Work, folder: PurePosixPath) -> None:
        """Bring the order there, and links to the rows and the table."""
        await require_same(self._access, work.order, place=self._place)
        inputs, rows = work.request.inputs, set(work.rows)
        kept = {each: (folder if each in rows else self._access.base) / KEPT for each in inputs.values()}
        for place in sorted(set(kept.values())):
            await self._transfer.keep([each for each in inputs.values() if kept[each] == place], place)
        lines = "".join(f"{_INPUTS}/{name}\n{kept[each] / kept_name(each)}\n" for name, each in inputs.items())
        folders = (str(folder), f"{_INPUTS}/{ROWS}", f"{_INPUTS}/{TABLE}")
        (await self._transfer.ask(Command.script(_LINK, *folders, stdin=lines.encode()))).require_success()
        await self._access.shell.write(folder / ORDER, work.order.to_bytes())


def in_order(client: Any, score: Any, asked: Sequence[Any], *, place: str) -> Iterator[Partial]:
    """Let workers do something with each, and give the results in order; what is not taken is cancelled."""
    from distributed.client import ClosedClientError  # noqa: PLC0415 - takes most of a second

    # Two batches, or two runs, may have tasks of the same arguments and other rows in the folder.
    with _losses(place):
        futures = client.map(score, asked, pure=False, key="score_range")
    try:
        for future in futures:
            with _losses(place, future):
                found = future.result()
            yield found
            # Its result is on a worker until then.
            future.release()
    finally:
        with suppress(ClosedClientError):
            client.cancel(futures)


@contextmanager
def _losses(place: str, future: Any = None) -> Iterator[None]:
    """Raise EngineLost where Dask has lost what was asked of it; what a task has raised stays as it is."""
    from distributed import KilledWorker  # noqa: PLC0415 - takes most of a second
    from distributed.client import ClosedClientError  # noqa: PLC0415

    try:
        yield
    except RuntimeError as error:
        if _UNREADABLE not in str(error):
            raise
        reason = "its scheduler and workers need sluiceway and its packages in the versions that are here"
        raise PlaceUnusable(place=place, reason=reason) from error
    except KilledWorker as error:
        reason = (
            f"{error.allowed_failures + 1} workers died at it, the last at {error.last_worker.address}; their logs say "
            "why: where memory is short, give each more of it, or take fewer workers"
        )
        raise EngineLost(machine=place, attempted="score a range", reason=reason) from error
    except (CancelledError, ClosedClientError, OSError) as error:
        if future is not None and future.status == "error":
            raise
        said = " ".join(str(error).split())
        reason = f"the scheduler, or the way to it, is gone, or somebody has cancelled the work there ({said})"
        raise EngineLost(machine=place, attempted="score a range", reason=reason) from error


def _score(reference: Reference, staged: Staged, software: Software, part: Range) -> Partial:
    """Score one range on a worker, which must have the very code of whoever asked."""
    with _LOOKING:
        own = _own_software()
    if own != software:
        raise PlaceUnusable(place="dask", reason="a worker has another version of sluiceway, or of what it uses")
    # What became of each row is counted already, and as long as the rows.
    return replace(score_part(reference, staged, part), found=NO_MATCHES)


@cache
def _own_software() -> Software:
    return scoring_software()


def _score_there(folder: str, place: str, number: int) -> Partial:
    """Score one range on a worker that has the batch's files in a folder."""
    with _LOOKING:
        order = _order(folder, place)
    ((_, found),) = order.partials([number], Path(folder) / _INPUTS)
    return replace(found, found=NO_MATCHES)


@cache
def _order(folder: str, place: str) -> Order:
    order = Order.of((Path(folder) / ORDER).read_bytes())
    problem = order.problem()
    if problem is not None:
        raise PlaceUnusable(place=place, reason=problem)
    return order
