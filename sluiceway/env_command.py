"""`sluiceway env`: what runs run in: built here, brought to a place, listed, removed when old, looked at."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from sluiceway.core.environments.activation import Activation
    from sluiceway.core.environments.cache import EnvironmentCache, Uses
    from sluiceway.core.runs.access import Access

_SOME_KEPT, _NOT_AS_NEEDED = 4, 4
_COLOURS = {"ok": "green", "doubtful": "yellow", "failed": "bold red"}

Name = Annotated[str, typer.Argument(help="The environment, by its name in clusters.toml or as a block.")]
On = Annotated[str, typer.Option("--on", help="Where: local, or a cluster's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What runs run in: built here, brought to a place, listed, removed when old, looked at.",
)


@app.command()
def build(name: Name, as_json: Json = False) -> None:
    """Look at an environment as it is now, and build of it what is built on this machine."""
    told = asyncio.run(_build(name))
    typer.echo(json.dumps(told) if as_json else "\n".join(f"{key}: {value}" for key, value in told.items()))


@app.command()
def push(name: Name, on: On = "local", partition: asks.Partition = None, as_json: Json = False) -> None:
    """Let an environment lie at a place, whole, so that no run waits for it; what lies there is not sent again."""
    activation = asyncio.run(_push(name, on, partition))
    told = {"name": name, "at": on, "lies": list(activation.sealed), "identity": dict(activation.identity)}
    typer.echo(json.dumps(told) if as_json else "\n".join(activation.sealed) or f"{name} needs nothing there")


@app.command(name="list")
def list_them(on: On = "local", as_json: Json = False) -> None:
    """List the environments that lie at a place."""
    from rich.table import Table

    entries = asyncio.run(_entries(on))
    if as_json:
        typer.echo(json.dumps(entries))
        return
    table = Table("key", "name", "standing", "bytes", "for")
    for each in entries:
        table.add_row(
            each["key"], each["name"], each["standing"], str(each["bytes"]), " ".join(each.get("machines", []))
        )
    console.for_results().print(table)


@app.command()
def gc(
    on: On = "local",
    older_than: Annotated[str, typer.Option("--older-than", help="What was used since then stays.")] = "30d",
    keep: Annotated[
        str | None, typer.Option("--keep", help="So much may stay in all, such as 50G: the longest unused goes first.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would go, and stop.")] = False,
) -> None:
    """Remove environments that were not used for long, and what is left of sessions, engines and workers that are over.

    One that may be needed yet stays, and is told: exit code 4.
    """
    told = asyncio.run(_gc(on, older_than, keep, dry_run=dry_run))
    for each in (*told["gone"], *told["swept"]):
        typer.echo(each)
    for key, why in told["kept"].items():
        console.for_remarks().print(f"{key} stays: {why}", markup=False, soft_wrap=True)
    if told["kept"]:
        raise typer.Exit(_SOME_KEPT)


@app.command()
def doctor(
    name: Annotated[str | None, typer.Argument(help="The environment; left out, only what lies there.")] = None,
    on: On = "local",
) -> None:
    """Look whether an environment can be made, and whether all that lies at a place is whole. Exit code 4 when not."""
    if not asyncio.run(_examine(name, on)):
        raise typer.Exit(_NOT_AS_NEEDED)


async def _build(name: str) -> dict[str, Any]:
    from sluiceway.core.environments import provision
    from sluiceway.core.environments.runtime import runtime_of, workshop_here

    runtime = await runtime_of(await asks.environment(name))
    packed = await provision.build(runtime, workshop_here())
    told = {"name": name, **runtime.identity}
    return told if packed is None else {**told, "file": str(packed.path), "digest": packed.digest}


async def _push(name: str, on: str, partition: str | None) -> Activation:
    from sluiceway.core.environments import provision
    from sluiceway.core.environments.runtime import runtime_of
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.remote.local import LocalShell
    from sluiceway.core.runs import place
    from sluiceway.core.runs.access import access_to

    runtime, where = await runtime_of(await asks.environment(name)), place.parse(on)
    if not isinstance(where, place.Cluster):
        return await provision.here(runtime, LocalShell(), SystemClock())
    settings = await asks.cluster(where.name)
    wanted = partition or settings.resources.partition
    return await provision.at_cluster(runtime, await access_to(settings, SystemClock()), wanted)


async def _access(on: str) -> Access | None:
    """Give the way to a cluster; none to this machine."""
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.runs import place
    from sluiceway.core.runs.access import access_to

    where = place.parse(on)
    return await access_to(await asks.cluster(where.name), SystemClock()) if isinstance(where, place.Cluster) else None


def _cache(access: Access | None) -> EnvironmentCache:
    """Give the folder of environments at a place."""
    from sluiceway.core.environments import provision
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.remote.local import LocalShell

    return provision.cache_here(LocalShell(), SystemClock()) if access is None else provision.cache_at(access)


async def _uses(access: Access | None) -> Uses:
    """Say who may need the environments at a place."""
    from pathlib import PurePosixPath

    from sluiceway.core import settings
    from sluiceway.core.environments.cache import Uses
    from sluiceway.core.environments.entering import ENTERED
    from sluiceway.core.runs.folder import RUNS
    from sluiceway.core.runs.sessions import uses_at

    known = settings.load()
    home, others = known.home.absolute(), (PurePosixPath(known.cache_dir.absolute() / ENTERED),)
    return Uses(runs=PurePosixPath(home / RUNS), others=others) if access is None else await uses_at(access, home)


async def _entries(on: str) -> list[dict[str, Any]]:
    return await _cache(await _access(on)).entries()


async def _gc(on: str, older_than: str, keep: str | None, *, dry_run: bool) -> dict[str, Any]:
    from sluiceway.core.environments.runtime import BUILT, workshop_here
    from sluiceway.core.slurm.resources import Memory, parse_walltime

    access, older = await _access(on), parse_walltime(older_than)
    most = None if keep is None else Memory.parse(keep).mebibytes << 20
    told = await _cache(access).tidy(await _uses(access), older=older, most_bytes=most, dry_run=dry_run)
    built = [] if access is not None else await workshop_here().tidy(older=older, dry_run=dry_run)
    return {**told, "swept": [*told["swept"], *(f"{BUILT}/{each}" for each in built)]}


async def _examine(name: str | None, on: str) -> bool:
    from sluiceway.core.environments.doctor import examine
    from sluiceway.core.runs.doctor import Health

    cache = _cache(await _access(on))
    environment = None if name is None else await asks.environment(name)
    is_fit, out = True, console.for_results()
    async for each in examine(environment, cache):
        is_fit = is_fit and each.health is not Health.FAILED
        out.print(f"[{_COLOURS[each.health]}]{each.health:9}[/] {each.what}:", end=" ")
        out.print(each.said, markup=False, highlight=False, soft_wrap=True)
        if each.advice:
            out.print(f"          {each.advice}", markup=False, highlight=False, soft_wrap=True)
    return is_fit
