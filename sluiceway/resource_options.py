"""What commands share that have to do with clusters: what a job asks for, how one is found, who answers a login."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sluiceway.core.remote.login import Challenge
    from sluiceway.core.runs.clusters import ClusterSettings
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.resources import Resources

_PANEL = "What to ask of a cluster; what is left out is as the cluster's settings say"

Nodes = Annotated[int | None, typer.Option("--nodes", help="How many nodes.", rich_help_panel=_PANEL)]
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
Extra = Annotated[
    list[str] | None,
    typer.Option("--extra-sbatch", help="Any other option of sbatch, NAME=VALUE or NAME.", rich_help_panel=_PANEL),
]


def wish_of(extra: list[str] | None, **asked: int | str | None) -> Resources:
    """Make what a job asks for of the options that were given, or raise ResourcesInvalid."""
    from sluiceway.core.slurm.resources import Resources

    given: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    if extra:
        parted = [each.partition("=") for each in extra]
        given["extra_sbatch"] = {name: value if mark else True for name, mark, value in parted}
    return Resources.model_validate(given)


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


async def answer(challenge: Challenge) -> list[str]:
    """Put what a login asks to whoever sits at the terminal."""
    typer.echo(f"{challenge.machine} asks. {challenge.instructions}".strip(), err=True)
    return [
        await asyncio.to_thread(typer.prompt, each.text.rstrip(": "), hide_input=not each.visible, err=True)
        for each in challenge.prompts
    ]
