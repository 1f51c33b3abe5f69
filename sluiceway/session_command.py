"""`sluiceway session`: many short commands in one allocation of a cluster, none of which waits in the queue."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.slurm.resources import Resources

_A_STEP_FAILED = 1


def session(  # noqa: PLR0913, PLR0917 - one per option
    on: Annotated[str, typer.Option("--on", help="The cluster's name.")],
    steps: Annotated[
        list[str] | None, typer.Argument(help="Commands of the shell; without any, each line of standard input is one.")
    ] = None,
    idle: Annotated[str, typer.Option("--idle", help="Release it when no step has run for so long.")] = "10m",
    renew: Annotated[bool, typer.Option("--renew", help="Hold another one where it has ended.")] = False,
    env: Annotated[
        str | None, typer.Option("--env", help="The environment that steps run in: a block, or of clusters.toml.")
    ] = None,
    tasks: Annotated[int, typer.Option("--ntasks", min=1, help="How many tasks each step has.")] = 1,
    nodes: asks.Nodes = None,
    cpus: asks.Cpus = None,
    gpus: asks.Gpus = None,
    mem: asks.Mem = None,
    time: asks.Time = None,
    partition: asks.Partition = None,
    account: asks.Account = None,
    qos: asks.Qos = None,
    extra_sbatch: asks.Extra = None,
) -> None:
    """Hold an allocation, and run commands in it one after the other. Exit code 1 when one of them failed."""
    from sluiceway.core.slurm.resources import parse_walltime

    names = {"nodes": nodes, "cpus": cpus, "gpus": gpus, "memory": mem, "time": time}
    names |= {"partition": partition, "account": account, "qos": qos}
    wish = asks.wish_of(extra_sbatch, None, **names)
    options = (f"--ntasks={tasks}", *(("--nodes=1",) if tasks == 1 else ()))
    lines = steps or (line for line in sys.stdin if line.strip())
    held = Held(on=on, wish=wish, idle=parse_walltime(idle), renews=renew, runtime=asks.runtime(env), options=options)
    if not asyncio.run(_run_all(held, lines)):
        raise typer.Exit(_A_STEP_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held, and how each step is run in it."""

    on: str
    wish: Resources
    idle: timedelta
    renews: bool
    runtime: Runtime | None
    options: tuple[str, ...]


async def _run_all(asked: Held, lines: Iterable[str]) -> bool:
    """Run each command, showing what it prints; say whether all went well."""
    from sluiceway.core.remote.shell import Command
    from sluiceway.core.runs.sessions import session_at

    went_well, given = True, iter(lines)
    holding = session_at(
        asked.on, asked.wish, idle=asked.idle, renews=asked.renews, runtime=asked.runtime, find=asks.cluster
    )
    async with holding as held:
        console.for_remarks().print(f"holding {held.allocation.nodes}, job {held.allocation.job}", markup=False)
        # Whoever types the next one is waited for; what keeps the allocation alive goes on meanwhile.
        while (line := await asyncio.to_thread(next, given, None)) is not None:
            done = await held.run(Command.of("sh", "-c", line.rstrip("\n")), options=asked.options)
            sys.stdout.buffer.write(done.stdout)
            sys.stdout.flush()
            sys.stderr.buffer.write(done.stderr)
            sys.stderr.flush()
            if not done.succeeded:
                went_well = False
                told = f"exit code {done.exit_code}" if done.exit_code is not None else f"signal {done.signal}"
                console.for_remarks().print(f"{line.strip()}: {told}", markup=False, soft_wrap=True)
    return went_well
