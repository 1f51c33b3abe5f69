"""From a place's name to whoever answers for it there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sluiceway.core import settings
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.clusters import FILE, ClusterSettings, cluster_in_file
from sluiceway.core.runs.local_array import LocalArray
from sluiceway.core.runs.place import Cluster, Dask, Local, Place
from sluiceway.core.runs.run import Runs
from sluiceway.core.runs.slurm_array import SlurmArray
from sluiceway.core.runs.slurm_job import SlurmJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.runs.array import ArrayHost
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.slurm.resources import Resources

FindCluster = Callable[[str], Awaitable[ClusterSettings]]


def runs_here() -> Runs:
    """Give the runs of this machine's home."""
    return Runs(home=settings.load().home, clock=SystemClock())


async def cluster_named(name: str) -> ClusterSettings:
    """Give what clusters.toml knows of a cluster; raise PlaceUnusable where it knows none of this name."""
    return cluster_in_file(name, settings.load().home / FILE)


@asynccontextmanager
async def host_at(
    place: Place, runs: Runs, *, wish: Resources | None = None, find: FindCluster = cluster_named
) -> AsyncIterator[JobHost]:
    """Give the host of a place; the connection to a cluster stays open for whoever comes next.

    Args:
        place: The place.
        runs: The runs of this machine.
        wish: What an attempt that is staged now asks of a cluster; a run on this machine has all of it anyway.
        find: Who knows the clusters.

    Raises:
        PlaceUnusable: The place cannot run anything, or nobody knows it.
    """
    match place:
        case Local():
            yield LocalArray(runs.home.absolute(), shell=LocalShell(), clock=runs.clock)
        case Dask():
            raise PlaceUnusable(place=str(place), reason="Dask runs functions, and this is a script")
        case Cluster():
            yield SlurmJob(await access_to(await find(place.name), runs.clock), wish=wish)


@asynccontextmanager
async def array_host_at(
    place: Place,
    runs: Runs,
    *,
    wish: Resources | None = None,
    find: FindCluster = cluster_named,
    throttle: int | None = None,
) -> AsyncIterator[ArrayHost]:
    """Give the host of a place for arrays, of which so many elements run at once; else it is `host_at`."""
    match place:
        case Local():
            yield LocalArray(runs.home.absolute(), shell=LocalShell(), clock=runs.clock, at_once=throttle)
        case Dask():
            raise PlaceUnusable(place=str(place), reason="Dask runs functions by itself")
        case Cluster():
            yield SlurmArray(await access_to(await find(place.name), runs.clock), wish=wish, throttle=throttle)


def for_arrays(host: JobHost) -> ArrayHost | None:
    """Give the same place as one for arrays that were staged there; none where it runs none."""
    match host:
        case LocalArray() | SlurmArray():
            return host
        case SlurmJob():
            return SlurmArray(host.access)
        case _:
            return None
