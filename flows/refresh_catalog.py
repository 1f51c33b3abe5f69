"""The scheduled main flow: bring what the catalogue has anew, score what is needed, publish what the audit allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prefect import flow

from sluiceway.blocks.hub import Hub
from sluiceway.blocks.slurm import cluster_of_block
from sluiceway.core.catalog.catalog import Catalog
from sluiceway.core.checkout import require_one_tree
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.place import parse
from sluiceway.core.runs.refresh import CatalogRefresh
from sluiceway.core.runs.refresh_options import RefreshOptions
from sluiceway.core.runs.refresh_scores import Means
from sluiceway.core.runs.refresh_summary import RefreshSummary
from sluiceway.tasks import refresh, refresh_page, run_log
from sluiceway.tasks.asker import asked_here
from sluiceway.tasks.dask_ranges import scorer_at
from sluiceway.tasks.progress import ProgressArtifacts
from sluiceway.tasks.publish import publish_snapshot

if TYPE_CHECKING:
    from sluiceway.core.publish.hub import HubPlace

_EVERYTHING = RefreshOptions()


@flow(log_prints=False)
def refresh_catalog(options: RefreshOptions = _EVERYTHING) -> RefreshSummary:
    """Refresh everything that the catalogue has, as far as it is needed; a second run right after does nothing.

    Args:
        options: What is refreshed, on which panel, how, and what is published.

    Returns:
        How it went; the run fails where the audit keeps the data sets from being published, with what it found.
    """
    require_one_tree(__file__)
    run_log.show_events()
    clock = SystemClock()
    place = Catalog.here(build=options.build).place
    progress = ProgressArtifacts(clock, key=refresh_page.KEY)
    at_place = scorer_at(parse(options.on), workers=options.workers, find=cluster_of_block)
    with at_place as scorer, asked_here():
        means = Means(clock=clock, progress=progress, scorer=scorer)
        run = CatalogRefresh(options, place=place, means=means, hub=_hub(options.hub))
        with run.alone():
            summary = _refreshed(run)
    refresh_page.show_summary(summary)
    return summary


def _hub(block: str | None) -> HubPlace | None:
    # It gives a coroutine inside of a loop alone.
    return None if block is None else cast("Hub", Hub.load(block)).place


def _refreshed(run: CatalogRefresh) -> RefreshSummary:
    looked = refresh.look_at_catalogue(run)
    refresh.prepare_panel(run)
    seen = refresh.plan_refresh(run, looked)
    if run.options.dry_run:
        return run.summary(looked, seen)
    run.note(seen)
    for chunk in seen.backlog.chunks(run.options.chunk):
        refresh.bring_scores(run, chunk)
        refresh.score_chunk(run, chunk)
    seen = refresh.lay_out_tables(run, looked, seen)
    wish = run.publication(looked, seen)
    if wish is not None:
        run.published(wish, publish_snapshot(wish))
    return run.summary(looked, seen)
