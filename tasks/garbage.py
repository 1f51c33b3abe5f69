"""Collecting garbage as a Prefect task, which shows on the run's page what went."""

from __future__ import annotations

from datetime import timedelta

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.references import collect_here
from sluiceway.core.store.gc import Garbage
from sluiceway.core.store.homes import store_here
from sluiceway.core.store.trash import GRACE, Collected

_SHOWN = 200


@task(cache_policy=NO_CACHE)
def collect(*, grace: timedelta = GRACE, keep_trash: timedelta = GRACE, do: bool = False) -> Collected:
    """Move artifacts that nothing names to the trash, and what has been there long enough away; or tell what would."""
    clock = SystemClock()
    with cache_here(clock) as cache:
        garbage = Garbage(store=store_here(clock, cache), grace=grace, keep_trash=keep_trash)
        collected = collect_here(garbage, do=do)
    _show(collected, done=do)
    return collected


def _show(collected: Collected, *, done: bool) -> None:
    results = collected.results
    rows = [*_rows(collected), *(_rows(results, "result ") if results is not None else ())]
    lines = "".join(f"| {word} | `{each}` |\n" for word, each in rows[:_SHOWN])
    more = f"\n{len(rows) - _SHOWN} more.\n" if len(rows) > _SHOWN else ""
    title = "What was collected" if done else "What would be collected"
    told = f"{collected.kept} artifacts stay; {collected.size} bytes go to the trash."
    if results is not None:
        told += f" {results.kept} results of scores stay; {results.size} bytes go to the trash."
    text = f"# {title}\n\n{told}\n\n| | artifact |\n|---|---|\n{lines}{more}"
    create_markdown_artifact(text, key="garbage", description="Which artifacts nothing names any more")


def _rows(collected: Collected, what: str = "") -> list[tuple[str, str]]:
    found = (
        ("to the trash", collected.trashed),
        ("back from the trash", collected.restored),
        ("gone for good", collected.removed),
        ("another's, who may collect it", collected.others),
    )
    return [(f"{what}{word}", each) for word, digests in found for each in digests]
