"""From a place's name to whoever answers for it there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sluiceway.core import settings
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.local_job import LocalJob
from sluiceway.core.runs.place import Cluster, Dask, Local, Place
from sluiceway.core.runs.run import Runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.runs.host import JobHost


def runs_here() -> Runs:
    """Give the runs of this machine's home."""
    return Runs(home=settings.load().home, clock=SystemClock())


@asynccontextmanager
async def host_at(place: Place, runs: Runs) -> AsyncIterator[JobHost]:
    """Give the host of a place, with its connection open for as long as the block lasts; or raise PlaceUnusable."""
    match place:
        case Local():
            yield LocalJob(runs.home.absolute(), shell=LocalShell(), clock=runs.clock)
        case Dask():
            raise PlaceUnusable(place=str(place), reason="Dask runs functions, and this is a script")
        case Cluster():
            raise PlaceUnusable(place=str(place), reason="no cluster of this name is known")
