"""`sluiceway runs`, `events` and `registry`: what was tried and what came of it, and the database that knows."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.events import Event
    from sluiceway.core.registry.reconcile import Repaired
    from sluiceway.core.registry.runs import Listed, State

Answer = TypeVar("Answer")
_JSON = typer.Option("--json", help="Print JSON instead of a table.")
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_SHORT = 20
_LOOK_EVERY = timedelta(seconds=1)

runs_app = typer.Typer(invoke_without_command=True, context_settings=_CONTEXT)
registry_app = typer.Typer(
    no_args_is_help=True, context_settings=_CONTEXT, help="The database of runs, artifacts, claims and events."
)


@runs_app.callback()
def runs(  # noqa: PLR0913, PLR0917 - one per filter
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only attempts in this state; repeatable.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind: run, scores or output.")] = None,
    place: Annotated[str | None, typer.Option("--on", help="Only what ran at this place.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only what this person asked for.")] = None,
    flow_run: Annotated[
        str | None, typer.Option("--flow-run", help="Only what this Prefect flow run asked for.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only what began in this time, such as 2d.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="So many at most.")] = 100,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List every attempt that the registry knows, the latest first."""
    if context.invoked_subcommand is not None:
        return
    chosen = {"kind": kind, "place": place, "submitted_by": user, "flow_run_id": flow_run, "most": most}
    listed = _asked(_runs(states=_states(state or []), since=_began(since), **chosen))
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in listed]))
        return
    from rich.table import Table

    table = Table("run", "attempt", "state", "kind", "place", "began", "what", "how it ended")
    for each in listed:
        tried = each.attempt
        began = _time(tried.intended_at)[:19]
        row = [_name(each), str(tried.number), tried.state, each.run.kind, tried.place, began, each.run.what]
        table.add_row(*row, tried.why or "")
    console.for_results().print(table)


@runs_app.command()
def diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="A run, or the beginning of its name; with :a2 that attempt.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell in what two runs differ: how they went, what they read, what they made; exits with 1 if in anything."""
    found = _asked(_difference(one, other))
    if as_json:
        typer.echo(json.dumps({name: list(pair) for name, pair in found.items()}))
    else:
        for name, (ours, theirs) in found.items():
            typer.echo(f"{name}\t{ours}\t{theirs}")
    if found:
        raise typer.Exit(1)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    after: Annotated[int, typer.Option("--after", min=0, help="Begin behind the event of this number.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Tell what happened, oldest first."""
    _asked(_tell_events(after, follow=follow, as_json=as_json))


@registry_app.command()
def rebuild() -> None:
    """Make all that the registry says of this home anew: from run folders, manifests and the ledger."""
    typer.echo(f"{_asked(_rebuild())} attempts")


@registry_app.command()
def check(as_json: Annotated[bool, _JSON] = False) -> None:
    """Compare the registry with the files of this home; exits with 1 if they differ."""
    from sluiceway.core.registry import rebuild as rebuilding

    found = _asked(_with_files(rebuilding.check))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
    else:
        for each in found:
            typer.echo(str(each))
        typer.echo(f"{len(found)} differences")
    if found:
        raise typer.Exit(1)


@registry_app.command()
def migrate() -> None:
    """Bring the registry's tables up to date; every other command does so, too."""
    from sluiceway.core.registry import schema

    typer.echo(f"version {schema.NEWEST}: {_asked(_shown())}")


@registry_app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of a registry.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of an empty one.")],
) -> None:
    """Copy a registry into another database, such as from SQLite to PostgreSQL."""
    for table, n_rows in _asked(_copy(source, target)).items():
        typer.echo(f"{table}\t{n_rows}")


@registry_app.command()
def reconcile(as_json: Annotated[bool, _JSON] = False) -> None:
    """Mend what crashes left: collect finished jobs that nobody collected, free claims, know what was lost."""
    mended = _asked(_reconcile())
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in mended]))
    else:
        for each in mended:
            typer.echo(str(each))
        typer.echo(f"{len(mended)} things were mended or are not known yet")


def _asked(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


async def _opened() -> Database:
    from sluiceway.core import settings
    from sluiceway.core.registry.database import registry_at

    return await registry_at(settings.load().home)


async def _shown() -> str:
    async with await _opened() as database:
        return database.shown


async def _runs(**filters: Any) -> list[Listed]:
    from sluiceway.core.registry.runs import runs_in

    async with await _opened() as database, database.reading() as connection:
        return await runs_in(connection, **filters)


async def _difference(one: str, other: str) -> dict[str, tuple[object, object]]:
    from sluiceway.core.registry.artifacts import contents_of
    from sluiceway.core.registry.runs import attempt_of, difference

    async with await _opened() as database, database.reading() as connection:
        found = [await attempt_of(connection, each) for each in (one, other)]
        contents = [await contents_of(connection, each.attempt.id) for each in found]
    told = difference(*found)
    for name in sorted({*contents[0], *contents[1]}):
        pair = contents[0].get(name), contents[1].get(name)
        if pair[0] != pair[1]:
            told[name] = pair
    return told


async def _tell_events(after: int, *, follow: bool, as_json: bool) -> None:
    from sluiceway.core.registry.events import events_after
    from sluiceway.core.remote.clock import SystemClock

    async with await _opened() as database:
        while True:
            async with database.reading() as connection:
                found = await events_after(connection, after)
            for each in found:
                _show(each, as_json=as_json)
                after = each.id or after
            if not found and not follow:
                return
            if not found:
                await SystemClock().sleep(_LOOK_EVERY)


async def _rebuild() -> int:
    from sluiceway.core.registry import rebuild as rebuilding

    return int(await _with_files(rebuilding.rebuild))


async def _with_files(work: Any) -> Any:
    from sluiceway.core.provenance.ledger import ledger_here
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    async with await _opened() as database:
        return await work(database, runs, ledger_here(runs.clock))


async def _copy(source: str, target: str) -> dict[str, int]:
    from sluiceway.core.registry.copying import copy as copied
    from sluiceway.core.registry.database import Database

    async with await Database.opened(source) as ours, await Database.opened(target) as theirs:
        return await copied(ours, theirs)


async def _reconcile() -> list[Repaired]:
    from sluiceway.core.registry.reconcile import Reconciler
    from sluiceway.core.runs import place
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    async with await _opened() as database:
        reconciler = Reconciler(database=database, runs=runs, reach=lambda name: asks.reach(place.parse(name), runs))
        return await reconciler.all()


def _states(texts: list[str]) -> tuple[State, ...]:
    from sluiceway.core.registry.runs import State

    wrong = [each for each in texts if each not in set(State)]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is no state; there are {', '.join(State)}")
    return tuple(map(State, texts))


def _began(since: str | None) -> int | None:
    from sluiceway.core.registry.moments import moment
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.slurm.resources import parse_walltime

    return None if since is None else moment(SystemClock().now() - parse_walltime(since))


def _name(listed: Listed) -> str:
    return listed.run.key.rpartition(":")[2][:_SHORT]


def _time(moment: int) -> str:
    from sluiceway.core.registry.moments import time_of

    return time_of(moment).isoformat()


def _as_json(listed: Listed) -> dict[str, Any]:
    fields = {**asdict(listed.attempt), "kind": listed.run.kind, "what": listed.run.what, "run_id": _name(listed)}
    times = [name for name in fields if name.endswith("_at")]
    return {**fields, **{name: None if fields[name] is None else _time(fields[name]) for name in times}}


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**asdict(event), "at": _time(event.at)}))
        return
    told = " ".join(f"{name}={value}" for name, value in event.told.items() if value is not None)
    run = "" if event.key is None else f" {event.key.rpartition(':')[2][:_SHORT]}"
    typer.echo(f"{event.id}\t{_time(event.at)[:19]}\t{event.kind}{run}\t{told}")
