"""`sluiceway jobs`, and its `open`, `left` and `gc`: the runs that there are, and what belongs to them elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Annotated

import typer

from sluiceway import resource_options as asks
from sluiceway import run_command
from sluiceway.core.report import console

if TYPE_CHECKING:
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.left import Looked
    from sluiceway.core.runs.tidying import Keep, Tidied

_NOT_WHOLE = 1
_SOME_KEPT = _SOME_UNKNOWN = 4

app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def jobs(
    context: typer.Context,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the clusters how far the runs there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the runs that were started from this machine, the latest first."""
    if context.invoked_subcommand is None:
        run_command.jobs(ask=ask, as_json=as_json)


@app.command()
def gc(
    older_than: Annotated[str, typer.Option("--older-than", help="Runs younger than this stay.")] = "30d",
    keep: Annotated[int, typer.Option("--keep", min=0, help="The latest so many stay, however old.")] = 0,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Those that failed stay, with logs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would go, and stop.")] = False,
) -> None:
    """Remove old runs, here and on their clusters, and the inputs kept there that no run needs any more.

    One that may be running stays. Exit code 4 when one could not go.
    """
    from sluiceway.core.runs.tidying import Keep
    from sluiceway.core.slurm.resources import parse_walltime

    wanted = Keep(younger_than=parse_walltime(older_than), latest=keep, failed=keep_failed)
    tidied = asyncio.run(_tidy(wanted, dry_run=dry_run))
    for name in tidied.gone:
        typer.echo(name)
    for name, why in tidied.kept.items():
        console.for_remarks().print(f"{name} stays: {why}", markup=False, soft_wrap=True)
    if tidied.kept:
        raise typer.Exit(_SOME_KEPT)


@app.command()
def left(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs, or the beginnings of their names; else all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Ask whether the outputs that runs left where they were made are still there, with the digests they had.

    Exit code 1 when one is missing or damaged, else 4 when nobody can say of one.
    """
    from rich.table import Table

    from sluiceway.core.runs.left import Found

    looked = asyncio.run(_left(names or []))
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in looked]))
    elif looked:
        table = Table("found", "run", "place", "size", "file", "why")
        for each in looked:
            path = each.file.path.encode("utf-8", "replace").decode()
            table.add_row(each.found, each.run_id, each.place, str(each.file.size), path, each.why)
        console.for_results().print(table, markup=False)
    else:
        console.for_remarks().print("Nothing was left anywhere.")
    found = {each.found for each in looked}
    if found & {Found.MISSING, Found.DAMAGED}:
        raise typer.Exit(_NOT_WHOLE)
    if Found.UNKNOWN in found:
        raise typer.Exit(_SOME_UNKNOWN)


@app.command("open")
def open_dashboard(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run, or the beginning of its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the URL as JSON.")] = False,
) -> None:
    """Print the URL of the dashboard of a run's Ray, Spark or Dask, and lead there until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_open(name, as_json=as_json))


async def _open(name: str, *, as_json: bool) -> None:
    from sluiceway.core.launch.opened import dashboard
    from sluiceway.core.runs import listing
    from sluiceway.core.runs.access import access_to
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    folder, place = listing.attempt_of(runs, name)
    access = None if place == "local" else await access_to(await asks.cluster(place), runs.clock)
    async with dashboard(folder, access) as url:
        typer.echo(json.dumps({"url": url}) if as_json else url)
        await asyncio.Event().wait()


async def _left(names: list[str]) -> list[Looked]:
    from sluiceway.core.remote.local import LocalShell
    from sluiceway.core.runs import left
    from sluiceway.core.runs.access import access_to
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()

    async def shell_at(place: str) -> Shell:
        return LocalShell() if place == "local" else (await access_to(await asks.cluster(place), runs.clock)).shell

    return await left.look(left.every_left(runs, names), shell_at=shell_at)


async def _tidy(wanted: Keep, *, dry_run: bool) -> Tidied:
    from sluiceway.core.runs import tidying
    from sluiceway.core.runs.access import access_to
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()

    async def remove(place: str, names: list[str]) -> set[str]:
        access = await access_to(await asks.cluster(place), runs.clock)
        still = await tidying.remove_at(access, names)
        await tidying.remove_inputs_at(access, younger_than=wanted.younger_than)
        return still

    return await tidying.tidy(runs, wanted, remove=remove, dry_run=dry_run)
