"""`sluiceway refresh`: bring, score and publish what the catalogue has anew, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sluiceway.core.genetics.build import Build

if TYPE_CHECKING:
    from sluiceway.core.runs.refresh import CatalogRefresh
    from sluiceway.core.runs.refresh_options import RefreshOptions
    from sluiceway.core.runs.refresh_plan import Seen
    from sluiceway.core.runs.refresh_summary import RefreshSummary
    from sluiceway.deployments.direct_or_flow import Server


_PROCESSORS = len(os.sched_getaffinity(0))


def refresh(  # noqa: PLR0913, PLR0917 - one per option
    panel: Annotated[
        str, typer.Option("--panel", help="1000g or hgdp_1kg, or what the names of a panel's files begin with.")
    ] = "1000g",
    panel_name: Annotated[
        str | None, typer.Option("--panel-name", help="What the panel is called in the names of published files.")
    ] = None,
    scores: Annotated[str | None, typer.Option("--scores", help="Only these ids, such as PGS000001,PGS000002.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Only scores that are new, revised, stale, failed, damaged or missing.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for plans, results and data sets.")] = None,
    policy: Annotated[
        str, typer.Option("--policy", help="Of our own tables: catalogue, just-prs, or a TOML file.")
    ] = "catalogue",
    build: Annotated[Build, typer.Option("--build", help="Of the panel and the scoring files.")] = Build.GRCH38,
    labels: Annotated[str | None, typer.Option("--labels", help="The sample file's column of populations.")] = None,
    relatives: Annotated[
        Path | None, typer.Option("--relatives", help="A list of people to leave out as relatives.")
    ] = None,
    on: Annotated[
        str, typer.Option("--on", help="Where: local, dask, dask:ADDRESS of a scheduler, or a cluster's name.")
    ] = "local",
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Threads, or Dask's workers on this machine.")
    ] = _PROCESSORS,
    memory: Annotated[str | None, typer.Option("--memory", help="How much memory to take, such as 16G.")] = None,
    chunk: Annotated[int, typer.Option("--chunk", min=1, max=10_000, help="So many scores at a time.")] = 500,
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, max=100, help="How often a score that fails is tried, over all runs.")
    ] = 3,
    completeness: Annotated[
        float, typer.Option("--completeness", min=0, max=1, help="The share of scores that is needed to publish.")
    ] = 0.9,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Publish below that share, too, and say that it is partial.")
    ] = False,
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Score, and publish nothing.")] = False,
    hub: Annotated[
        str | None, typer.Option("--hub", help="The block Hub with which to publish to the hub, too.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Score again what is scored already.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what has failed as often as it may.")
    ] = False,
    headless: Annotated[bool, typer.Option("--headless", help="Without Prefect, its server and its pages.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan or the summary as JSON.")] = False,
) -> None:
    """Bring what the PGS Catalog has anew, score what is needed, and publish when the audit lets it pass."""
    from sluiceway.core import settings

    settings.leave_processors_to_us()
    from sluiceway.core.genetics import policy as policies
    from sluiceway.core.runs import refresh_options
    from sluiceway.deployments import direct_or_flow

    options = refresh_options.read(
        panel=panel,
        panel_name=panel_name,
        scores=_listed(scores.upper() if scores else None),
        only=_listed(only),
        out=out or settings.load().output_dir / "refresh",
        policy=policies.read(policy),
        build=build,
        population=labels,
        unrelated=relatives,
        on=on,
        workers=workers,
        memory=memory,
        chunk=chunk,
        attempts=attempts,
        completeness=completeness,
        allow_partial=allow_partial,
        publish=not no_publish,
        hub=hub,
        use_cache=not no_cache,
        retry_failed=retry_failed,
        dry_run=dry_run,
    )
    if dry_run:
        _print_plan(_planned(options), as_json=as_json)
        return
    server = None if headless else direct_or_flow.server(flow=True)
    summary = _directly(options) if server is None else _as_flow(options, server, as_json=as_json)
    _print(summary, as_json=as_json)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(each for each in (text or "").replace(",", " ").split() if each)


def _planned(options: RefreshOptions) -> Seen:
    from sluiceway.core.report import console

    with console.progress_bars() as progress:
        run = _run(options, progress=progress)
        looked = run.look()
        run.prepare()
        return run.plan(looked)


def _directly(options: RefreshOptions) -> RefreshSummary:
    from sluiceway.core.errors import RequestInvalid
    from sluiceway.core.report import console
    from sluiceway.core.runs.place import Local, parse

    if options.hub is not None:
        raise RequestInvalid(what="--hub", value=options.hub, reason="blocks are Prefect's; leave --headless away")
    place = parse(options.on)
    with console.progress_bars() as progress:
        if isinstance(place, Local):
            return _run(options, progress=progress).run()
        from sluiceway.tasks.dask_ranges import scorer_at

        with scorer_at(place, workers=options.workers) as scorer:
            return _run(options, progress=progress, scorer=scorer).run()


def _run(options: RefreshOptions, **means: Any) -> CatalogRefresh:
    from sluiceway.core.catalog.catalog import Catalog
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.runs.refresh import CatalogRefresh
    from sluiceway.core.runs.refresh_scores import Means

    place = Catalog.here(build=options.build).place
    return CatalogRefresh(options, place=place, means=Means(clock=SystemClock(), **means))


def _as_flow(options: RefreshOptions, server: Server, *, as_json: bool) -> RefreshSummary:
    """Do the same as a flow run; the first line says where its page is."""
    from sluiceway.core.report import console
    from sluiceway.deployments.direct_or_flow import connected, telling_its_page

    with connected(server):
        from sluiceway.flows.refresh_catalog import refresh_catalog

        told = console.for_remarks() if as_json else console.for_results()
        summary: Any = telling_its_page(refresh_catalog, told)(options)
    return cast("RefreshSummary", summary)


def _print_plan(seen: Seen, *, as_json: bool) -> None:
    from sluiceway.core.runs.refresh_summary import counts_text

    backlog = seen.backlog
    if as_json:
        document = {"counts": backlog.counts, "withdrawn": backlog.withdrawn, "scores": backlog.lines()}
        typer.echo(json.dumps(document))
        return
    for each in backlog.lines():
        typer.echo(f"{each['state']}\t{each['pgs_id']}\t{each['does']}\t{each['why']}")
    for pgs_id in backlog.withdrawn:
        typer.echo(f"withdrawn\t{pgs_id}\tleaves the tables\tthe catalogue lists it no more")
    typer.echo(f"{counts_text(backlog.counts)}; {len(backlog.chosen)} would be refreshed")


def _print(summary: RefreshSummary, *, as_json: bool) -> None:
    from rich.table import Table

    from sluiceway.core.report import console
    from sluiceway.core.runs.refresh_summary import counts_text, resource_lines

    if as_json:
        typer.echo(json.dumps(summary.document()))
        return
    answer = console.for_results()
    table = Table("task", "times", "seconds", "processor seconds", "peak memory, MiB", "read, MiB")
    for line in resource_lines(summary):
        table.add_row(*map(str, line.values()))
    answer.print(table)
    answer.print(f"Release {summary.release}: {counts_text(summary.planned)}")
    answer.print(
        f"n_total {summary.n_total}, n_ok {summary.n_ok}, n_failed {summary.n_failed}, n_cached {summary.n_cached}, "
        f"coverage {summary.coverage:.3f}"
    )
    for each in summary.published:
        answer.print(each.said, markup=False)
    answer.print(summary.said)
