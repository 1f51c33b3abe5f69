"""`sluiceway catalog`: what the PGS Catalog has, what of it is here, and what has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway import publish_command
from sluiceway.core.genetics.build import Build

if TYPE_CHECKING:
    import polars as pl

    from sluiceway.core.catalog.catalog import Catalog
    from sluiceway.core.catalog.release import Change

app = typer.Typer(no_args_is_help=True, help="The PGS Catalog: what it has, what of it is here, what has changed.")

app.command()(publish_command.publish)

_SHOWN = 50
_COLUMNS = ("pgs_id", "name", "trait_reported", "trait_efo", "genome_build", "n_variants", "release_date")

OfBuild = Annotated[Build, typer.Option("--build", help="The build of the scoring files.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nobody: use what is on this machine.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def refresh(build: OfBuild = Build.GRCH38, offline: Offline = False, as_json: AsJson = False) -> None:
    """Ask the catalogue what it has now, and say what has changed; metadata are brought where they are new."""
    from dataclasses import asdict

    from sluiceway.core.report import console

    with console.progress_bars() as progress:
        seen = _catalog(build, offline=offline).refresh(progress=progress)
    release = seen.release
    facts: dict[str, Any] = {
        "number": release.number,
        "release": release.release.date,
        "scores": len(release.release.scores),
        "questions": seen.n_asked,
        "changes": _counted(seen.changes),
    }
    if as_json:
        findings = [asdict(each) for each in seen.findings]
        typer.echo(json.dumps({**facts, "findings": findings}))
        return
    _print_facts(facts)
    for each in seen.findings:
        console.for_remarks().print(f"{each.severity} {each.table}: {each.code} ({each.n})", markup=False)


@app.command()
def pull(
    scores: Annotated[
        list[str] | None, typer.Argument(help="Ids, or @FILE with one a line; none of either means all scores.")
    ] = None,
    build: OfBuild = Build.GRCH38,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="Bring the cleaned metadata, and no scores: from the hub if one is set.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Bring also what is here already.")] = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Bring scores here: downloaded, checked, parsed; what is here already is not brought again."""
    from sluiceway.core.catalog.fetch import NotFetched
    from sluiceway.core.report import console

    if metadata:
        if scores:
            raise typer.BadParameter("--metadata brings no scores; name none")
        _pull_metadata(_catalog(build, offline=offline), again=again, as_json=as_json)
        return
    wanted = _ids(scores)
    with console.progress_bars() as progress:
        brought = _catalog(build, offline=offline).pull(wanted, again=again, progress=progress)
    failed = {each.pgs_id: each.reason for each in brought if isinstance(each, NotFetched)}
    here = sum(not isinstance(each, NotFetched) and each.was_there for each in brought)
    facts = {"brought": len(brought) - len(failed) - here, "here_before": here, "failed": len(failed)}
    if as_json:
        typer.echo(json.dumps({**facts, "reasons": failed}))
    else:
        _print_facts(facts)
        for pgs_id, reason in failed.items():
            console.for_results().print(f"{pgs_id}: {reason}", markup=False)
    if failed:
        raise typer.Exit(1)


@app.command()
def search(
    term: Annotated[str | None, typer.Argument(help="A part of an id, a name or a trait.")] = None,
    trait: Annotated[
        str | None, typer.Option("--trait", help="A trait's id, such as EFO_0000305; child terms count, too.")
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Find scores by a word, or by a trait and its child terms."""
    found = _catalog(offline=offline).search(term, trait=trait)
    if as_json:
        typer.echo(found.write_json())
        return
    _print_rows(found.select(_COLUMNS))


@app.command()
def show(
    pgs_id: Annotated[str, typer.Argument(help="A score's id, such as PGS000001.")],
    build: OfBuild = Build.GRCH38,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Tell all that is known of a score."""
    known = _catalog(build, offline=offline).score(pgs_id.upper())
    if as_json:
        typer.echo(json.dumps(known, default=str))
        return
    _print_facts(_flat(known))


@app.command()
def diff(
    old: Annotated[int | None, typer.Argument(help="The number of a release that was seen.")] = None,
    new: Annotated[int | None, typer.Argument(help="The number of a later one.")] = None,
    build: OfBuild = Build.GRCH38,
    as_json: AsJson = False,
) -> None:
    """Tell what has changed between two releases that were seen here; by default the last two."""
    from dataclasses import asdict

    before, after, changed = _catalog(build, offline=True).diff(old, new)
    if as_json:
        numbers = {"old": None if before is None else before.number, "new": after.number}
        typer.echo(json.dumps({**numbers, "changes": [asdict(each) for each in changed]}))
        return
    first = "nothing" if before is None else f"{before.number} ({before.release.date})"
    typer.echo(f"From {first} to {after.number} ({after.release.date}): {_said(_counted(changed))}")
    for each in changed:
        typer.echo(f"{each.kind}\t{each.pgs_id}\t{each.why}")


def _pull_metadata(catalog: Catalog, *, again: bool, as_json: bool) -> None:
    """Bring the metadata and say whose they are."""
    found = catalog.metadata(again=again)
    facts = {
        "from": found.origin,
        "release": found.release,
        "tables": len(found.digests),
        "scores": found.table("scores").height,
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print_facts(facts)


def _catalog(build: Build = Build.GRCH38, *, offline: bool) -> Catalog:
    from sluiceway.core.catalog.catalog import Catalog

    return Catalog.here(build=build, offline=offline)


def _ids(scores: list[str] | None) -> list[str] | None:
    """Give the ids that are meant: as they are, between commas, or as the lines of a file."""
    from sluiceway.core.catalog.local_files import ids_in

    return None if not scores else list(ids_in([Path(each) for each in scores]))


def _counted(changed: tuple[Change, ...] | list[Change]) -> dict[str, int]:
    kinds = ("added", "withdrawn", "revised", "redated")
    return {kind: sum(each.kind == kind for each in changed) for kind in kinds}


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in counts.items())


def _flat(known: dict[str, Any]) -> dict[str, Any]:
    """Put what is nested under names of its own, and leave out what is not known."""
    flat: dict[str, Any] = {}
    for name, value in known.items():
        nested = {f"{name}.{each}": told for each, told in value.items()} if isinstance(value, dict) else {name: value}
        flat.update({each: told for each, told in nested.items() if told is not None and told != []})
    return flat


def _print_facts(facts: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from sluiceway.core.report import console

    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(_said(value) if isinstance(value, dict) else str(value)))
    console.for_results().print(table)


def _print_rows(rows: pl.DataFrame) -> None:
    from rich.table import Table
    from rich.text import Text

    from sluiceway.core.report import console

    table = Table(*rows.columns)
    for row in rows.head(_SHOWN).iter_rows():
        table.add_row(*(Text("" if each is None else str(each)) for each in row))
    console.for_results().print(table)
    console.for_remarks().print(f"{rows.height} scores; --json gives all columns of all.")
