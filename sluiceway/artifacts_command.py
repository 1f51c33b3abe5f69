"""`sluiceway artifacts` and `sluiceway gc`: outputs kept by what they are, their names, and which are garbage."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.store.artifacts import Artifact, ArtifactStore
    from sluiceway.core.store.trash import Collected

_JSON = typer.Option("--json", help="Print JSON instead of lines.")
_NAME = typer.Argument(metavar="ARTIFACT", help="A tag, a digest, or eight or more of its first digits.")
_OLD = typer.Option("--grace", help="What was used later than that stays, named or not.")

app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def artifacts(context: typer.Context, as_json: Annotated[bool, _JSON] = False) -> None:
    """List the artifacts of the store: digest, bytes, when it was stored, by whom, its tags, and what it was called."""
    if context.invoked_subcommand is not None:
        return
    with _store() as store:
        tags = _tags(store)
        found = [each for each in map(store.find, store.every()) if each is not None]
    rows = [_as_json(each, tags) for each in sorted(found, key=lambda each: each.stored)]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        names = ",".join(row["tags"]) or "-"
        typer.echo("\t".join(str(each) for each in (
            row["digest"], row["size"], row["stored"][:19], row["submitted_by"], names, row["name"],
        )))  # fmt: skip


@app.command()
def show(name: Annotated[str, _NAME], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show what is known of an artifact; it is compared with its digest first."""
    from sluiceway.core.store.links import Links
    from sluiceway.core.store.tags import Tags

    with _store() as store:
        artifact = Tags(store).resolve(name)
        row = _as_json(artifact, _tags(store))
        row["links"] = [str(each.path) for each in Links(store).every() if each.digest == artifact.digest]
        moved = [(each, move) for each in Tags(store).every() for move in each.history]
        row["history"] = [
            {"tag": each.name, "at": move.at, "by": move.by} for each, move in moved if move.digest == artifact.digest
        ]
    if as_json:
        typer.echo(json.dumps(row))
        return
    for field, value in row.items():
        typer.echo(f"{field}\t{value if isinstance(value, str) else json.dumps(value)}")


@app.command()
def path(name: Annotated[str, _NAME]) -> None:
    """Print where an artifact's content lies; it is compared with its digest first."""
    from sluiceway.core.store.tags import Tags

    with _store() as store:
        typer.echo(str(Tags(store).resolve(name).path))


@app.command()
def keep(
    output: Annotated[Path, typer.Argument(help="A file or a folder; one with a manifest must be what that says.")],
    tag: Annotated[str | None, typer.Option("--tag", help="Give it this name.")] = None,
    hardlink: Annotated[bool, typer.Option("--hardlink", help="Share its files, which nobody can edit then.")] = False,
) -> None:
    """Keep an output in the store, and print its digest; the output stays where it is."""
    from sluiceway.core import settings
    from sluiceway.core.registry import files, notes
    from sluiceway.core.store.placing import Placing
    from sluiceway.core.store.tags import Tags

    with _store() as store, store.holds.own() as held:
        artifact = store.put(output, how=Placing.HARDLINK if hardlink else Placing.COPY, held=held)
        if tag is not None:
            Tags(store).tag(tag, artifact.digest)
    asyncio.run(notes.note_output(artifact.digest, partial(files.output_at, artifact.path), settings.load().home))
    typer.echo(artifact.digest)


@app.command()
def link(
    name: Annotated[str, _NAME],
    place: Annotated[Path, typer.Argument(help="Where it is to be shown.")],
    copy: Annotated[bool, typer.Option("--copy", help="A copy that may be edited, instead of a link.")] = False,
) -> None:
    """Show an artifact at a place, in one step instead of the one that is shown there."""
    from sluiceway.core.store.links import Linking, Links
    from sluiceway.core.store.tags import Tags

    with _store() as store:
        Links(store).link(Tags(store).resolve(name), place, Linking.COPY if copy else Linking.SYMLINK)


@app.command()
def unlink(place: Annotated[Path, typer.Argument(help="A link, or a copy that nobody edited.")]) -> None:
    """Take a link away; the artifact stays until it is collected."""
    from sluiceway.core.store.links import Links

    with _store() as store:
        Links(store).unlink(place)


@app.command()
def tag(name: Annotated[str, _NAME], to: Annotated[str, typer.Argument(metavar="TAG", help="The name.")]) -> None:
    """Give an artifact a name, which may have been another's before."""
    from sluiceway.core.store.tags import Tags

    with _store() as store:
        tags = Tags(store)
        tags.tag(to, tags.resolve(name).digest)


@app.command()
def untag(name: Annotated[str, typer.Argument(metavar="TAG", help="The name.")]) -> None:
    """Take a name away; whose it was stays known."""
    from sluiceway.core.store.tags import Tags

    with _store() as store:
        Tags(store).untag(name)


@app.command()
def verify(
    fast: Annotated[bool, typer.Option("--fast", help="Read only what changed since it was last read.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Compare every artifact with its digest; what is damaged goes to quarantine, and the exit code is 1."""
    from sluiceway.core.errors import VerificationFailed

    with _store() as store:
        digests = list(store.every())
        damaged = [each for each in digests if store.verified(each, full=not fast) is None]
    if as_json:
        typer.echo(json.dumps({"artifacts": len(digests), "damaged": damaged}))
    else:
        typer.echo(f"{len(digests)} artifacts, {len(damaged)} damaged")
    if damaged:
        reason = f"the artifact {damaged[0]} is not what was put; it is in {str(store.quarantine)!r} now"
        raise VerificationFailed(failed=len(damaged), reason=reason)


def gc(
    grace: Annotated[str, _OLD] = "14d",
    trash: Annotated[str, typer.Option("--trash", help="How long what is in the trash can be restored.")] = "14d",
    do: Annotated[bool, typer.Option("--do", help="Collect it; without this it is only told.")] = False,
    restore: Annotated[str | None, typer.Option("--restore", metavar="DIGEST", help="Bring one back.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Move artifacts and results that nothing names to the trash, and what has been there long enough away for good."""
    from sluiceway.core.runs.references import collect_here, restore_here
    from sluiceway.core.store.gc import Garbage

    with _store() as store:
        if restore is not None:
            restore_here(Garbage(store=store), restore)
            return
        garbage = Garbage(store=store, grace=_span(grace), keep_trash=_span(trash))
        collected = collect_here(garbage, do=do)
    if as_json:
        typer.echo(json.dumps({"done": do, **asdict(collected)}))
    else:
        _print(collected, done=do)


def _print(collected: Collected, *, done: bool) -> None:
    _print_some(collected, "artifacts", done=done)
    if collected.results is not None:
        _print_some(collected.results, "results", done=done)


def _print_some(collected: Collected, what: str, *, done: bool) -> None:
    for word, digests in (
        ("trashed", collected.trashed), ("restored", collected.restored), ("removed", collected.removed),
        ("another's", collected.others),
    ):  # fmt: skip
        for each in digests:
            typer.echo(f"{word}\t{each}")
    told = f"{len(collected.trashed)} of {len(collected.trashed) + collected.kept} {what}, {collected.size} bytes"
    more = "" if done else "; nothing was changed: --do collects them"
    console.for_remarks().print(f"{told}, are garbage{more}", markup=False, soft_wrap=True)


def _span(text: str) -> timedelta:
    """Read a length of time as Slurm's are written; none at all is a length, too."""
    from sluiceway.core.slurm.resources import parse_walltime

    return timedelta() if text.rstrip("smhd") == "0" else parse_walltime(text)


@contextmanager
def _store() -> Iterator[ArtifactStore]:
    from sluiceway.core.provenance.statcache import cache_here
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.store.homes import store_here

    clock = SystemClock()
    with cache_here(clock) as cache:
        yield store_here(clock, cache)


def _tags(store: ArtifactStore) -> dict[str, list[str]]:
    from sluiceway.core.store.tags import Tags

    found: dict[str, list[str]] = {}
    for each in Tags(store).every():
        found.setdefault(str(each.digest), []).append(each.name)
    return found


def _as_json(artifact: Artifact, tags: dict[str, list[str]]) -> dict[str, Any]:
    row = {**asdict(artifact), "stored": artifact.stored.isoformat(), "path": str(artifact.path)}
    return {**row, "tags": tags.get(artifact.digest, [])}
