"""`sluiceway score`: every score given, against everybody of a reference panel."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sluiceway.core.genetics.build import Build

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from rich.table import Table

    from sluiceway.core.genetics.reference import Scorer
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
    from sluiceway.core.runs.summary import Summary
    from sluiceway.deployments.direct_or_flow import Server


_PROCESSORS = len(os.sched_getaffinity(0))


def score(  # noqa: PLR0913, PLR0917 - one per option
    panel: Annotated[Path, typer.Option("--panel", help="What the names of the panel's files begin with.")],
    scores: Annotated[
        list[Path],
        typer.Option(
            "--scores",
            help="A scoring file, a folder or a pattern of them, ids such as PGS000001 between commas, or @FILE with "
            "one of these a line; may be repeated.",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The folder for the results.")] = None,
    policy: Annotated[str, typer.Option("--policy", help="catalogue, just-prs, or a TOML file.")] = "catalogue",
    build: Annotated[
        Build | None, typer.Option("--build", help="The panel's build, where it does not tell it.")
    ] = None,
    match: Annotated[
        Literal["position", "id"] | None, typer.Option("--match", help="How a row's variant is found.")
    ] = None,
    ambiguous: Annotated[
        Literal["drop", "keep", "frequency"] | None, typer.Option("--ambiguous", help="A/T and C/G variants.")
    ] = None,
    missing: Annotated[
        Literal["mean", "zero", "skip"] | None, typer.Option("--missing", help="What a missing genotype counts.")
    ] = None,
    male_x: Annotated[int | None, typer.Option("--male-x", min=1, max=2, help="What a man's X counts at most.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="The sample file's column of populations.")] = None,
    relatives: Annotated[
        Path | None, typer.Option("--relatives", help="A list of people to leave out as relatives.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many files.")] = None,
    on: Annotated[
        str, typer.Option("--on", help="Where: local, dask, dask:ADDRESS of a scheduler, or a cluster's name.")
    ] = "local",
    env: Annotated[
        str | None, typer.Option("--env", help="On a cluster, the environment that scores there: one with sluiceway.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Threads, or Dask's workers on this machine.")
    ] = _PROCESSORS,
    memory: Annotated[str | None, typer.Option("--memory", help="How much memory to take, such as 16G.")] = None,
    match_log: Annotated[bool, typer.Option("--match-log", help="Keep what became of every row.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Score again what is scored already.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what has failed as often as it may.")
    ] = False,
    compare: Annotated[
        Literal["plink2"] | None, typer.Option("--compare", help="Compare some scores with this program's sums.")
    ] = None,
    compare_most: Annotated[int, typer.Option("--compare-most", min=1, help="How many scores to compare.")] = 5,
    flow: Annotated[
        bool, typer.Option("--flow", help="Work as a Prefect flow run, on a server of its own where there is none.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be scored, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score every given score against everybody of a reference panel, in one pass over its genotypes."""
    from sluiceway.core import settings

    settings.leave_processors_to_us()
    from sluiceway.core.genetics import policy as policies
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.report import console
    from sluiceway.core.runs.place import parse
    from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
    from sluiceway.deployments import direct_or_flow

    place = parse(on)
    changes = {"match": match, "ambiguous": ambiguous, "missing": missing, "male_x": male_x}
    asked = Asked(
        panel=panel,
        scores=tuple(scores),
        out=out or settings.load().output_dir / "score",
        policy=policies.read(policy, **{name: value for name, value in changes.items() if value is not None}),
        build=build,
        population=labels,
        unrelated=relatives,
        limit=limit,
        workers=workers,
        memory=memory,
        use_cache=not no_cache,
        retry_failed=retry_failed,
        match_log=match_log,
        compare=compare,
        compare_most=compare_most,
    )
    if dry_run:
        with console.progress_bars() as progress:
            plan = _plan(ReferenceScoring(asked, clock=SystemClock(), progress=progress))
        _print_plan(plan, as_json=as_json)
        return
    server = direct_or_flow.server(flow=flow)
    if server is None:
        summary = _directly(asked, place, env)
    else:
        summary = _as_flow(asked, place, server, env=env, as_json=as_json)
    _print(summary, as_json=as_json)
    summary.require_some()
    summary.require_agreement()


def _directly(asked: Asked, place: Place, env: str | None) -> Summary:
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.report import console
    from sluiceway.core.runs.reference_scoring import ReferenceScoring

    with _scorer_at(place, asked.workers, env) as scorer, console.progress_bars() as progress:
        return ReferenceScoring(asked, clock=SystemClock(), progress=progress, scorer=scorer).run()


@contextmanager
def _scorer_at(place: Place, workers: int, env: str | None) -> Iterator[Scorer | None]:
    """Give what scores ranges at a place; none for this process, which then loads nothing that reaches others."""
    from sluiceway.core.runs.place import Local

    if isinstance(place, Local) and env is None:
        yield None
        return
    from sluiceway import resource_options as asks
    from sluiceway.tasks.dask_ranges import scorer_at

    with scorer_at(place, workers=workers, runtime=asks.runtime(env)) as scorer:
        yield scorer


def _as_flow(asked: Asked, place: Place, server: Server, *, env: str | None, as_json: bool) -> Summary:
    """Do the same as a flow run; the first line says where its page is."""
    from sluiceway.core.report import console
    from sluiceway.deployments.direct_or_flow import connected, telling_its_page

    with connected(server):
        from sluiceway.flows.score_reference import parameters_of, score_reference

        told = console.for_remarks() if as_json else console.for_results()
        summary: Summary = telling_its_page(score_reference, told)(**parameters_of(asked, place, env=env))
    return summary


def _plan(run: ReferenceScoring) -> dict[str, Any]:
    """Tell of every score whether it would be scored, is there already, or cannot be; and how memory divides them."""
    reference = run.prepare()
    planned = run.plan(reference)
    batches = run.batches(reference, run.waiting(planned))
    return {
        "scores": run.outlook(planned),
        "memory": str(run.budget),
        "batches": [len(each.scores) for each in batches],
        "resumed": sum(len(each.scores) for each in batches if each.begun is not None),
    }


def _print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan))
        return
    for name, what in plan["scores"].items():
        typer.echo(f"{what}\t{name}")
    sizes = ", ".join(map(str, plan["batches"])) or "none"
    typer.echo(f"batches within {plan['memory']}: {sizes}; {plan['resumed']} scores go on where a run was interrupted")


def _print(summary: Summary, *, as_json: bool) -> None:
    from rich.table import Table

    from sluiceway.core.report import console

    facts = {
        "out": str(summary.out),
        "n_total": summary.n_total,
        "n_ok": summary.n_ok,
        "n_failed": summary.n_failed,
        "n_cached": summary.n_cached,
        "coverage": summary.coverage,
    }
    if as_json:
        compared = {} if summary.comparison is None else {"compared": summary.comparison.to_dicts()}
        typer.echo(json.dumps({**facts, "scores": summary.quality.to_dicts(), **compared}))
        return
    table = Table("score", "status", "rows", "matched", "coverage", "why")
    for row in summary.quality.select("pgs_id", "status", "rows", "matched", "coverage", "reason").iter_rows():
        table.add_row(
            *("" if each is None else f"{each:.3f}" if isinstance(each, float) else str(each) for each in row)
        )
    answer = console.for_results()
    answer.print(table)
    if summary.comparison is not None:
        answer.print(_compared(summary.comparison))
    answer.print(
        f"{summary.n_total} scores: {summary.n_ok} ok, {summary.n_failed} failed; {summary.n_cached} from before."
    )
    answer.print(f"Results: {summary.out} (report.html is the place to begin)")


def _compared(comparison: pl.DataFrame) -> Table:
    """Show how far sums are from another program's, in units of its last printed digit and of the score's SD."""
    from rich.table import Table

    table = Table(
        "score", "rows", "people", "units", "SD", "plink2", title="Compared with plink2", title_justify="left"
    )
    for row in comparison.iter_rows(named=True):
        numbers = ("" if row[name] is None else f"{row[name]:.3g}" for name in ("in_units", "in_sd"))
        counts = ("" if row[name] is None else str(row[name]) for name in ("rows", "people"))
        said = row["reason"] if not row["compared"] else "agrees" if row["agrees"] else "differs"
        table.add_row(row["pgs_id"], *counts, *numbers, said)
    return table
