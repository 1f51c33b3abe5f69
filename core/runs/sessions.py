"""A session on a cluster that is known by its name: over the one open way to it, with what is usual there."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.environments.entering import words_at
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.hosts import cluster_named
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import PurePosixPath

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.hosts import FindCluster

_SESSIONS, _ENVIRONMENT = "sessions", "environment"


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
    folder = access.base / _SESSIONS / secrets.token_hex(8)
    enters = await entering(runtime, access, wish, folder)
    session = Session(access.cluster, resources=wish, folder=folder, idle=idle, renews=renews, enters=enters)
    async with session:
        yield session


async def entering(runtime: Runtime | None, access: Access, wish: Resources, folder: PurePosixPath) -> tuple[str, ...]:
    """Let what the steps of a session run in lie there, and give the words that enter it; none where it is nothing."""
    if runtime is None:
        return ()
    return await words_at(runtime, access, folder=folder / _ENVIRONMENT, partition=wish.partition)
