"""`sluiceway devcluster`: a real Slurm on this machine, up and down with one word."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sluiceway.core import settings
from sluiceway.core.errors import FolderUnusable
from sluiceway.core.report import console
from sluiceway.deployments.devcluster import plan as plans
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import ClusterStatus, Devcluster
from sluiceway.deployments.devcluster.plan import Plan, Tracker

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="A real Slurm on this machine, for trying things and for the tests.")

Folder = Annotated[
    Path | None, typer.Option(help="The cluster's folder; SLUICEWAY_DEVCLUSTER_DIR says which is the default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Change(StrEnum):
    """What can be done to a node."""

    FAIL = "fail"
    RESUME = "resume"


@app.command()
def up(
    folder: Folder = None,
    name: Annotated[str | None, typer.Option(help="The cluster's name. Default: dev.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=50, help="How many nodes. Default: 4.")] = None,
    first_port: Annotated[int | None, typer.Option(min=1024, max=65_000, help="Default: free ones.")] = None,
    tracker: Annotated[Tracker | None, typer.Option(help="How Slurm finds a job's processes.")] = None,
) -> None:
    """Start the cluster, or repair it: what runs already stays as it is. Needs root."""
    wish = Wish(root=_root(folder), name=name, nodes=nodes, first_port=first_port, tracker=tracker)
    plan = asyncio.run(_bring_up(wish))
    console.for_results().print(_how_to_use(plan))


@app.command()
def down(
    folder: Folder = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove the folder and the user, too.")] = False,
) -> None:
    """Stop the cluster; no process, mount or control group stays behind. Needs root."""
    asyncio.run(Devcluster(plan=_plan(folder)).down(wipe=wipe))


@app.command()
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say which daemons run and how the nodes are. Exit code 1 when the cluster is not wholly up."""
    out, root = console.for_results(), _root(folder)
    plan = plans.stored(root)
    if plan is None:
        out.print_json(data={"folder": str(root), "up": False}) if as_json else out.print(
            f"No devcluster in {root}. Start one with: sluiceway devcluster up"
        )
        return
    found = asyncio.run(Devcluster(plan=plan).status())
    out.print_json(json.dumps(_facts(plan, found))) if as_json else out.print(_table(plan, found))
    raise typer.Exit(0 if found.is_up else 1)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def shell(
    command: Annotated[list[str] | None, typer.Argument(help="A command to run there instead of a shell.")] = None,
    folder: Folder = None,
) -> None:
    """Log in to the cluster's login node as its ordinary user."""
    plan = _plan(folder)
    # ssh joins what it is given with spaces and has it read again there: one quoted word arrives as it was meant.
    there = [shlex.join(command)] if command else []
    os.execvp("ssh", ["ssh", "-F", str(plan.folder.ssh_config), plan.name, *there])  # noqa: S606


@app.command()
def node(change: Change, name: str, folder: Folder = None) -> None:
    """Let a node fail, or bring it back. Needs root."""
    cluster = Devcluster(plan=_plan(folder))
    asyncio.run(cluster.fail(name) if change is Change.FAIL else cluster.resume(name))


async def _bring_up(wish: Wish) -> Plan:
    plan = await plan_for(wish)
    await Devcluster(plan=plan).up()
    return plan


def _root(folder: Path | None) -> Path:
    return (folder or settings.load().devcluster_dir).absolute()


def _plan(folder: Path | None) -> Plan:
    root = _root(folder)
    plan = plans.stored(root)
    if plan is None:
        raise FolderUnusable(folder=root, reason="no devcluster was started there")
    return plan


def _how_to_use(plan: Plan) -> str:
    ssh = f"ssh -F {plan.folder.ssh_config}"
    return f"""\
Slurm is up: {plan.summary}.

  {ssh} {plan.name}                log in
  {ssh} {plan.name}-behind-jump    the same through a jump host
  sluiceway devcluster status | shell | node fail NAME | down

Partitions: normal; low (requeued when preempted); lowcancel (cancelled). Accounts: research, teaching.
For a login of your own: ssh_config = {plan.folder.ssh_config}, host = {plan.name}."""


def _facts(plan: Plan, found: ClusterStatus) -> dict[str, object]:
    return {
        "folder": str(plan.root),
        "up": found.is_up,
        "ssh_config": str(plan.folder.ssh_config),
        "host": plan.name,
        "tracker": plan.tracker,
        "daemons": [{**asdict(daemon), "log": str(daemon.log)} for daemon in found.daemons],
        "nodes": [{**node.model_dump(), "state": found.node_states.get(node.name)} for node in plan.nodes],
    }


def _table(plan: Plan, found: ClusterStatus) -> RenderableType:
    states = {f"slurmd-{name}": state for name, state in found.node_states.items()}
    table = Table("daemon", "process", "node", title=f"devcluster {plan.name}", caption=f"logs: {plan.folder.logs}")
    for daemon in found.daemons:
        process = str(daemon.pid) if daemon.pid else "[red]not running[/red]"
        table.add_row(daemon.name, process, states.get(daemon.name, ""))
    return table
