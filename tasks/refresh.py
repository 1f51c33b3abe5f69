"""A refresh as Prefect tasks, one for each of its steps; bringing and scoring are one for each chunk of scores."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluiceway.core.catalog.backlog import Item
from sluiceway.core.runs.refresh import CatalogRefresh, Looked
from sluiceway.core.runs.refresh_plan import Seen
from sluiceway.tasks import refresh_page
from sluiceway.tasks.asker import asked_here


@task(cache_policy=NO_CACHE)
def look_at_catalogue(run: CatalogRefresh) -> Looked:
    """Ask the catalogue what it has now."""
    return run.look()


@task(cache_policy=NO_CACHE)
def prepare_panel(run: CatalogRefresh) -> None:
    """Open the panel, fetched where it is not here, and make its tables of variants unless they are there."""
    run.prepare()


@task(cache_policy=NO_CACHE)
def plan_refresh(run: CatalogRefresh, looked: Looked) -> Seen:
    """Say of every score what has to be done and why, and show it before anything is done."""
    seen = run.plan(looked)
    refresh_page.show_plan(seen)
    return seen


@task(cache_policy=NO_CACHE)
def bring_scores(run: CatalogRefresh, chunk: Sequence[Item]) -> int:
    """Bring the files of a chunk of scores, where that is needed, and give how many came."""
    return run.bring(chunk)


@task(cache_policy=NO_CACHE)
def score_chunk(run: CatalogRefresh, chunk: Sequence[Item]) -> int:
    """Score a chunk of scores in one pass over the panel by each policy, and give how many results that made."""
    with asked_here():
        return run.score(chunk)


@task(cache_policy=NO_CACHE)
def lay_out_tables(run: CatalogRefresh, looked: Looked, seen: Seen) -> Seen:
    """Write the tables of all scores, and down what was done."""
    with asked_here():
        return run.lay_out(looked, seen)
