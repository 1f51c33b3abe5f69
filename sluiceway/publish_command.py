"""`sluiceway catalog publish`: publish what a refresh has made, or only look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sluiceway.core.publish.audit import Audit
    from sluiceway.core.publish.publication import Publication
    from sluiceway.core.publish.snapshot import Published

_SHOWN = 50


def publish(  # noqa: PLR0913, PLR0917 - one per option
    out: Annotated[Path | None, typer.Option("--out", help="The refresh's folder; else data/output/refresh.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="A folder (else published/ in the refresh's), and a hub: hub:OWNER, hub:OWNER/NAME for the "
            "distributions alone, or hub:OWNER/NAME,OWNER/NAME for both under other names.",
        ),
    ] = None,
    completeness: Annotated[
        float, typer.Option("--completeness", min=0, max=1, help="The share of scores that is needed to publish.")
    ] = 0.9,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Publish below that share, too, and say that it is partial.")
    ] = False,
    accept_moved: Annotated[
        bool, typer.Option("--accept-moved", help="Publish scores that moved for no reason but our own code.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the audit finds, and publish nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found or published as JSON.")] = False,
) -> None:
    """Publish what a refresh has made, when the audit lets it pass; what is published already stays as it is."""
    from sluiceway.core import settings
    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.runs.refresh import PUBLISHED
    from sluiceway.core.runs.refresh_release import Destinations, release_in

    chosen = settings.load()
    made = (out or chosen.output_dir / "refresh").absolute()
    destinations = Destinations.read(to or [], folder=made / PUBLISHED)
    rules = Rules(completeness=completeness, allow_partial=allow_partial, accept_moved=accept_moved)
    with release_in(made, home=chosen.home, to=destinations, rules=rules) as wish:
        if dry_run:
            _look(wish, as_json=as_json)
            return
        _print_published(_published(wish), as_json=as_json)


def _look(wish: Publication, *, as_json: bool) -> None:
    """Say what was found; exit code 1 where nothing would be published."""
    from sluiceway.core.publish.publication import review

    audit = review(wish)
    if as_json:
        typer.echo(json.dumps(_document(audit)))
    else:
        _print_audit(audit)
    if audit.blocking:
        raise typer.Exit(1)


def _published(wish: Publication) -> list[Published]:
    from sluiceway.core.publish.publication import publish
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.report import console

    with console.progress_bars() as progress:
        return publish(wish, clock=SystemClock(), progress=progress)


def _document(audit: Audit) -> dict[str, object]:
    return {
        "would_publish": not audit.blocking,
        "coverage": audit.coverage,
        "is_partial": audit.is_partial,
        "findings": [
            {"severity": each.severity, "code": each.code, "said": each.said, "n": each.n, "examples": each.examples}
            for each in audit.findings
        ],
        "moved": dict(audit.moved.group_by("kind").len().sort("kind").iter_rows()),
    }


def _print_audit(audit: Audit) -> None:
    for each in audit.findings:
        typer.echo(f"{each.severity}\t{each.code}\t{each.said}\t{each.n}")
    state = f"{len(audit.blocking)} findings block" if audit.blocking else "nothing blocks"
    partial = ", partial" if audit.is_partial else ""
    typer.echo(f"coverage {audit.coverage:.3f}{partial}; {state}")


def _print_published(published: list[Published], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"published": [each.as_json() for each in published]}))
        return
    for each in published:
        typer.echo(each.said)
        for path in each.changed[:_SHOWN]:
            typer.echo(f"  {path}")
