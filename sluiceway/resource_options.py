"""What commands share that have to do with clusters: what a job asks for, how one is found, who answers a login."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sluiceway.core.environments.environment import Environment
    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.login import Challenge
    from sluiceway.core.runs.clusters import ClusterSettings
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.resources import Resources

_SPELT = {"mem": "memory", "cpus-per-task": "cpus", "mem-per-cpu": "memory_per_cpu"}
_SPELLING = {"memory": "mem", "components": "component"}
_PANEL = "What to ask of a cluster; what is left out is as the cluster's settings say"

Nodes = Annotated[int | None, typer.Option("--nodes", help="How many nodes.", rich_help_panel=_PANEL)]
Ntasks = Annotated[int | None, typer.Option("--ntasks", help="How many tasks in all.", rich_help_panel=_PANEL)]
Cpus = Annotated[int | None, typer.Option("--cpus", help="CPUs for each task.", rich_help_panel=_PANEL)]
Gpus = Annotated[str | None, typer.Option("--gpus", help="GPUs: a number, or type:number.", rich_help_panel=_PANEL)]
Mem = Annotated[str | None, typer.Option("--mem", help="Memory on each node, such as 16G.", rich_help_panel=_PANEL)]
Time = Annotated[str | None, typer.Option("--time", help="The time limit, such as 2h.", rich_help_panel=_PANEL)]
Partition = Annotated[str | None, typer.Option("--partition", help="The partition.", rich_help_panel=_PANEL)]
Account = Annotated[str | None, typer.Option("--account", help="Who pays.", rich_help_panel=_PANEL)]
Qos = Annotated[str | None, typer.Option("--qos", help="The quality of service.", rich_help_panel=_PANEL)]
Warned = Annotated[
    str | None, typer.Option("--warning", help="So long before the limit it gets USR1.", rich_help_panel=_PANEL)
]
QueueLimit = Annotated[
    str | None, typer.Option("--queue-limit", help="Give up after so long in the queue.", rich_help_panel=_PANEL)
]
Dependency = Annotated[
    str | None, typer.Option("--dependency", help="Wait for jobs, such as afterok:812.", rich_help_panel=_PANEL)
]
Components = Annotated[
    list[str] | None,
    typer.Option(
        "--component",
        help="A further component of a heterogeneous job, such as nodes=2,cpus=4,mem=8G; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Extra = Annotated[
    list[str] | None,
    typer.Option("--extra-sbatch", help="Any other option of sbatch, NAME=VALUE or NAME.", rich_help_panel=_PANEL),
]


def wish_of(extra: list[str] | None, components: list[str] | None = None, **asked: int | str | None) -> Resources:
    """Make what a job asks for of the options that were given, or raise ResourcesInvalid."""
    from sluiceway.core.slurm.resources import Resources

    given: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    if extra:
        parted = [each.partition("=") for each in extra]
        given["extra_sbatch"] = {name: value if mark else True for name, mark, value in parted}
    if components:
        given["components"] = [component_of(each) for each in components]
    return Resources.model_validate(given)


def component_of(text: str) -> dict[str, str | int]:
    """Read what a component asks for: NAME=VALUE with commas between, by the names of the options.

    >>> component_of("nodes=2,mem=8G")
    {'nodes': 2, 'memory': '8G'}
    """
    from sluiceway.core.errors import ResourcesInvalid

    asked: dict[str, str | int] = {}
    for part in text.split(","):
        name, mark, value = part.partition("=")
        if not mark:
            raise ResourcesInvalid(option="component", value=text, reason="write NAME=VALUE, with commas between")
        asked[_SPELT.get(name, name.replace("-", "_"))] = int(value) if value.isdecimal() else value
    return asked


def require_used(where: Place, given: Resources, *, estimate: bool = False) -> None:
    """Raise PlaceUnusable where something is asked of a cluster, and the run is to be on this machine."""
    from sluiceway.core.errors import PlaceUnusable
    from sluiceway.core.runs.place import Local

    # So many tasks are made anywhere.
    names = sorted(given.model_fields_set - {"tasks"})
    asked = [f"--{_SPELLING.get(name, name.replace('_', '-'))}" for name in names]
    asked += ["--estimate"] if estimate else []
    if isinstance(where, Local) and asked:
        reason = f"{' and '.join(asked)} can be asked of a cluster only; a run here has all that this machine has"
        raise PlaceUnusable(place=str(where), reason=reason)


def reach(where: Place, runs: Runs, *, wish: Resources | None = None) -> AbstractAsyncContextManager[JobHost]:
    """Give the host of a place."""
    from sluiceway.core.runs import hosts

    return hosts.host_at(where, runs, wish=wish, find=cluster)


async def cluster(name: str) -> ClusterSettings:
    """Give a cluster by its name; Prefect is asked for its blocks only where the user has a server."""
    from sluiceway.core import settings
    from sluiceway.core.runs import access, hosts

    if sys.stdin.isatty():
        access.answering.set(answer)
    if settings.Foreign().prefect_api_url:
        from sluiceway.blocks.slurm import cluster_of_block

        return await cluster_of_block(name)
    return await hosts.cluster_named(name)


async def environment(name: str) -> Environment:
    """Give an environment by its name; Prefect is asked for its blocks only where the user has a server."""
    from sluiceway.core import settings
    from sluiceway.core.environments.runtime import environment_named

    if settings.Foreign().prefect_api_url:
        from sluiceway.blocks.runtime_environment import environment_of_block

        return await environment_of_block(name)
    return environment_named(name)


def runtime(name: str | None) -> Runtime | None:
    """Look at an environment of that name as it is now; none where none is named."""
    from sluiceway.core.environments.runtime import runtime_of

    async def look(name: str) -> Runtime:
        return await runtime_of(await environment(name))

    return None if name is None else asyncio.run(look(name))


async def answer(challenge: Challenge) -> list[str]:
    """Put what a login asks to whoever sits at the terminal."""
    typer.echo(f"{challenge.machine} asks. {challenge.instructions}".strip(), err=True)
    return [
        await asyncio.to_thread(typer.prompt, each.text.rstrip(": "), hide_input=not each.visible, err=True)
        for each in challenge.prompts
    ]
