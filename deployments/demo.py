"""`sluiceway demo`: the main job on a small invented panel, seen in Prefect's own pages unless they are not wanted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.table import Table

from sluiceway.core import settings
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.report import console
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.store.lock import exclusive
from sluiceway.deployments import direct_or_flow

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.runs.summary import Summary


def run_demo(*, out: Path | None, headless: bool) -> Summary:
    """Run the demo and tell how it went; without `headless`, Prefect's pages show it meanwhile."""
    out = (out or settings.load().output_dir / "demo").absolute()
    if headless:
        with exclusive(out, purpose="demo"):
            summary = ReferenceScoring(_invented(out), clock=SystemClock()).run()
        _tell(summary)
        return summary
    server = direct_or_flow.server(flow=True)
    console.for_results().print(f"Prefect: {server.pages}")
    with direct_or_flow.connected(server):
        with exclusive(out, purpose="demo"):
            summary = _run_flow(_invented(out))
        _tell(summary)
        if sys.stdin.isatty():
            console.for_remarks().input("Press Enter to end the demo.")
    return summary


def _invented(out: Path) -> Asked:
    """Invent a panel and scores below the demo's folder; they are the same each time."""
    panel, scores = out / "data" / "panel" / "synthetic", out / "data" / "scores"
    make_panel(panel)
    make_scores(scores, panel)
    return Asked(panel=panel, scores=(scores,), out=out / "results", match_log=True, synthetic=True)


def _run_flow(asked: Asked) -> Summary:
    from sluiceway.flows.score_reference import parameters_of, score_reference  # noqa: PLC0415

    summary: Summary = score_reference(**parameters_of(asked, Local()))
    return summary


def _tell(summary: Summary) -> None:
    table = Table("status", "scores", title=f"{summary.n_total} scores", title_justify="left")
    for status, number in summary.quality["status"].value_counts(sort=True).iter_rows():
        table.add_row(status, str(number))
    answer = console.for_results()
    answer.print(table)
    answer.print(
        "The data are synthetic: people, genotypes and scores are invented. Some scores are unusable on purpose, to "
        "show what becomes of them."
    )
    able = summary.n_total - summary.n_failed
    if summary.n_cached == able:
        answer.print(f"Everything was cached: all {able} results were there already, nothing was scored again.")
    else:
        answer.print(f"{able - summary.n_cached} scored now, {summary.n_cached} cached.")
    answer.print(f"Report: {summary.out / 'report.html'}")
