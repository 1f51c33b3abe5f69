"""What the page of a run of `refresh_catalog` shows in Prefect: the plan before anything is done, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.runs.refresh_summary import RefreshSummary, counts_text, resource_lines

if TYPE_CHECKING:
    from sluiceway.core.runs.refresh_plan import Seen

KEY: Final = "refresh"
_MOST_SHOWN: Final = 1_000


def show_plan(seen: Seen) -> None:
    """Show what has to be done and why: a line for each score that is not current."""
    backlog = seen.backlog
    lines = backlog.lines()
    told = f"The plan: {counts_text(backlog.counts)}; {len(backlog.chosen)} are refreshed now"
    if len(lines) > _MOST_SHOWN:
        told += f". The first {_MOST_SHOWN} lines of {len(lines)}; all are in plan.json"
    if backlog.withdrawn:
        told += f". The catalogue has no more: {', '.join(backlog.withdrawn[:20])}"
    create_table_artifact(lines[:_MOST_SHOWN], key=f"{KEY}-plan", description=told)


@task(cache_policy=NO_CACHE)
def show_summary(summary: RefreshSummary) -> None:
    """Show on the run's page how it went: the counts, what was published, what each task used."""
    create_markdown_artifact(_told(summary), key=KEY, description=summary.said)
    create_table_artifact(
        resource_lines(summary), key=f"{KEY}-resources", description="What each task used, and all of them together"
    )


def _told(summary: RefreshSummary) -> str:
    numbers = (summary.n_total, summary.n_ok, summary.n_failed, summary.n_cached, f"{summary.coverage:.3f}")
    line = " | ".join(map(str, numbers))
    published = "\n".join(
        f"| {each.dataset} | {each.number} | {'new' if each.is_new else 'as before'} | {len(each.changed)} | "
        f"{'partial' if each.is_partial else 'complete'} | `{each.folder}` |"
        for each in summary.published
    )
    parts = [
        f"# Release {summary.release or 'without a date'}",
        summary.said,
        f"| n_total | n_ok | n_failed | n_cached | coverage |\n|---|---|---|---|---|\n| {line} |",
        f"Planned: {counts_text(summary.planned)}. Questions to the catalogue: {summary.n_asked}.",
        f"Withdrawn: {', '.join(summary.withdrawn)}" if summary.withdrawn else "",
        "## Published\n\n| data set | version | | files changed | | folder |\n|---|---|---|---|---|---|\n" + published
        if published
        else "",
        f"Plan, results and data sets are in `{summary.out}`.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
