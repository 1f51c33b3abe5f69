"""Reconciling as Prefect tasks, for flows of ours and of others."""

from __future__ import annotations

from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluiceway.blocks.slurm import reach
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.reconcile import Reconciler
from sluiceway.core.runs import place
from sluiceway.core.runs.hosts import runs_here
from sluiceway.tasks.zombies import end_zombies


@task(cache_policy=NO_CACHE)
async def mend_runs() -> list[str]:
    """Bring back what crashes left half done in this home, and say what it was."""
    runs = runs_here()
    async with await registry_at(runs.home) as database:
        reconciler = Reconciler(database=database, runs=runs, reach=lambda name: reach(place.parse(name), runs))
        return [str(each) for each in await reconciler.all()]


@task(cache_policy=NO_CACHE)
async def end_zombie_flow_runs(minutes: int = 10) -> list[str]:
    """Mark flow runs as crashed that Prefect takes for running although their work is over and their process gone."""
    runs = runs_here()
    async with await registry_at(runs.home) as database:
        return await end_zombies(database, runs, grace=timedelta(minutes=minutes))
