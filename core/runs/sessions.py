"""A session on a cluster that is known by its name: over the one open way to it, with what is usual there."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.environments.cache import Uses
from sluiceway.core.environments.entering import ENGINES, ENTERED, INSIDE, SESSIONS, words_at
from sluiceway.core.environments.uses import BATCHES, DASK, needed_by_runs
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.runs.hosts import cluster_named
from sluiceway.core.slurm.parse import Unreachable
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.session import Session, folder_called

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path, PurePosixPath

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.hosts import FindCluster


@asynccontextmanager
async def session_at(
    name: str,
    resources: Resources | None = None,
    *,
    idle: timedelta = timedelta(minutes=10),
    renews: bool = False,
    runtime: Runtime | None = None,
    find: FindCluster = cluster_named,
) -> AsyncIterator[Session]:
    """Hold an allocation on a cluster for as long as the block lasts.

    Args:
        name: The cluster's name.
        resources: What the allocation is; what is not said is as the cluster's settings say.
        idle: For how long it is held although no step runs.
        renews: Whether a step gets a new allocation where the old one has ended or is about to.
        runtime: What all steps run in; what the nodes themselves have where it is none.
        find: Who knows the clusters.
    """
    access = await access_to(await find(name), SystemClock())
    wish = access.settings.resources_for(resources or Resources())
    folder = access.base / SESSIONS / secrets.token_hex(8)
    enters = await entering(runtime, access, wish, folder)
    session = Session(access.cluster, resources=wish, folder=folder, idle=idle, renews=renews, enters=enters)
    async with session:
        yield session


async def entering(runtime: Runtime | None, access: Access, wish: Resources, folder: PurePosixPath) -> tuple[str, ...]:
    """Let what the steps of a session run in lie there, and give the words that enter it; none where it is nothing."""
    if runtime is None:
        return ()
    return await words_at(runtime, access, folder=folder / INSIDE, partition=wish.partition)


async def uses_at(access: Access, home: Path) -> Uses:
    """Say where it is written who may need environments on a cluster, and what else is known of that here."""
    rows = await access.cluster.in_flight()
    folders = None if isinstance(rows, Unreachable) else {folder_called(each.comment) for each in rows} - {None}
    # Its own, or the one that holds that and what it runs in.
    jobs = None if folders is None else frozenset(name for each in folders if each for name in each.parts[-2:])
    # A run of this home that is about to be submitted has not said so there yet.
    needed = await asyncio.to_thread(lambda: frozenset(needed_by_runs(str(home / RUNS))))
    others = tuple(access.base / each for each in (SESSIONS, ENGINES, ENTERED, DASK, BATCHES))
    return Uses(runs=access.base / RUNS, others=others, jobs=jobs, needed=needed)
