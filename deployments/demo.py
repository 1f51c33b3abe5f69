"""`sluiceway demo`: the main job on a small invented panel, seen in Prefect's own pages unless they are not wanted."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rich.table import Table

from sluiceway.core import settings
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.report import console
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring, Summary
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from pathlib import Path


async def run_demo(*, out: Path | None, headless: bool) -> Summary:
    """Run the demo and tell how it went; without `headless`, Prefect's pages show it meanwhile."""
    _end_well_when_told_to_end()
    chosen = settings.load()
    out = (out or chosen.output_dir / "demo").absolute()
    if headless:
        with exclusive(out, purpose="demo"):
            summary = await asyncio.to_thread(ReferenceScoring(_invented(out), clock=SystemClock()).run)
        _tell(summary)
        return summary
    async with AsyncExitStack() as stack:
        await _serve(stack, home=chosen.home / "prefect")
        with exclusive(out, purpose="demo"):
            summary = _run_flow(_invented(out))
        _tell(summary)
        if sys.stdin.isatty():
            console.for_remarks().input("Press Enter to end the demo.")
    return summary


async def _serve(stack: AsyncExitStack, *, home: Path) -> None:
    """Start a server where none is configured; either way the first line says where Prefect's pages are."""
    configured = settings.Foreign().prefect_api_url
    if configured is not None:
        console.for_results().print(f"Prefect: {configured.removesuffix('/api')}")
        return
    # Prefect takes a second to import; only those who need it wait for it.
    from sluiceway.deployments import server  # noqa: PLC0415

    url = server.address()
    console.for_results().print(f"Prefect: {url}")
    await stack.enter_async_context(server.running(url, home=home))


def _end_well_when_told_to_end() -> None:
    """Take a server down on SIGTERM and SIGHUP too, as on Ctrl-C: it is no child that would go by itself."""
    task = asyncio.current_task()
    if task is not None:
        for told in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(told, task.cancel)


def _invented(out: Path) -> Asked:
    """Invent a panel and scores below the demo's folder; they are the same each time."""
    panel, scores = out / "data" / "panel" / "synthetic", out / "data" / "scores"
    make_panel(panel)
    make_scores(scores, panel)
    return Asked(panel=panel, scores=(scores,), out=out / "results", synthetic=True)


def _run_flow(asked: Asked) -> Summary:
    from sluiceway.flows.score_reference import score_reference  # noqa: PLC0415

    # It holds the event loop for its few seconds, on purpose: whoever interrupts it must not lose the server under it.
    return score_reference(asked.panel, list(asked.scores), asked.out, synthetic=asked.synthetic)


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
