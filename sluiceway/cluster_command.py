"""`sluiceway doctor`, `attach` and `shell`: is a cluster as runs need it, and what is going on in a run there."""

from __future__ import annotations

import asyncio
import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from sluiceway.core.runs.clusters import ClusterSettings
    from sluiceway.core.runs.doctor import Check
    from sluiceway.core.slurm.job import JobId

_NOT_AS_NEEDED = 4
_COLOURS = {"ok": "green", "doubtful": "yellow", "failed": "bold red"}

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run, or the beginning of its name.")]


def doctor(
    on: Annotated[str, typer.Option("--on", help="The cluster's name.")],
    job: Annotated[bool, typer.Option("--job", help="Submit a tiny job as well, and wait for it.")] = False,
) -> None:
    """Check whether a cluster has all that runs need, and say what to do where not. Exit code 4 when it has not."""
    if not asyncio.run(_examine(on, with_job=job)):
        raise typer.Exit(_NOT_AS_NEEDED)


def attach(
    name: Run,
    element: Annotated[int | None, typer.Option("--element", min=0, help="This element of an array alone.")] = None,
) -> None:
    """Show all that a run prints and says, from its beginning until it has ended; leaving lets it go on."""
    from sluiceway.logs_command import logs

    logs(name, follow=True, element=element)


def shell(
    name: Run,
    printed: Annotated[bool, typer.Option("--print", help="Print the command instead of running it.")] = False,
) -> None:
    """Open a shell beside a running job, on its node and in its working folder."""
    command = asyncio.run(_shell_beside(name))
    if printed:
        typer.echo(shlex.join(command))
    else:
        os.execvp(command[0], command)  # noqa: S606


async def _examine(on: str, *, with_job: bool) -> bool:
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.runs import place
    from sluiceway.core.runs.doctor import Health, examine, tried
    from sluiceway.core.runs.hosts import runs_here

    is_fit = True
    async for each in examine(await _cluster(on), SystemClock()):
        is_fit = is_fit and each.health is not Health.FAILED
        _print_check(each)
    if is_fit and with_job:
        runs, where = runs_here(), place.parse(on)
        async with asks.reach(where, runs) as host:
            check = await tried(runs, host, where)
        _print_check(check)
        is_fit = check.health is not Health.FAILED
    return is_fit


def _print_check(check: Check) -> None:
    out = console.for_results()
    out.print(f"[{_COLOURS[check.health]}]{check.health:9}[/] {check.what}:", end=" ")
    out.print(check.said, markup=False, highlight=False, soft_wrap=True)
    if check.advice:
        out.print(f"          {check.advice}", markup=False, highlight=False, soft_wrap=True)


async def _cluster(on: str) -> ClusterSettings:
    from sluiceway.core.errors import PlaceUnusable
    from sluiceway.core.runs import place

    where = place.parse(on)
    if not isinstance(where, place.Cluster):
        raise PlaceUnusable(place=on, reason="it is no cluster")
    return await asks.cluster(where.name)


async def _shell_beside(name: str) -> tuple[str, ...]:
    """Give the command that opens a shell beside a run's job: over SSH, and then as a step of the job."""
    from sluiceway.core.errors import RunUnknown
    from sluiceway.core.runs import listing, place
    from sluiceway.core.runs.hosts import runs_here
    from sluiceway.core.runs.slurm_job import SlurmJob

    runs = runs_here()
    attempt, where = listing.attempt_of(runs, name)
    async with asks.reach(place.parse(where), runs) as host:
        job = await host.find(attempt)
        if not isinstance(host, SlurmJob) or job is None:
            raise RunUnknown(name=name, reason="it has no job on a cluster")
        there = attempt.at(host.base).work
    return _ssh(await _cluster(where), _step(job, str(there)))


def _step(job: JobId, folder: str) -> tuple[str, ...]:
    return (
        "srun",
        f"--jobid={job}",
        "--overlap",
        "--pty",
        "sh",
        "-c",
        'cd -- "$1" && exec "${SHELL:-sh}"',
        "sh",
        folder,
    )


def _ssh(settings: ClusterSettings, step: tuple[str, ...]) -> tuple[str, ...]:
    """Give OpenSSH's command for a cluster's way; passwords and phrases are asked for by it, not told to it."""
    way = settings.way
    if way is None:
        return step
    options = ["-t"]
    options += ["-F", str(way.ssh_config)] if way.ssh_config else []
    options += ["-o", f"UserKnownHostsFile={way.known_hosts}"] if way.known_hosts else []
    options += [word for key in way.keys for word in ("-i", str(key))]
    options += ["-p", str(way.port)] if way.port else []
    jumps = ",".join(each.machine for each in way.chain[:-1])
    options += ["-J", jumps] if jumps else []
    target = f"{way.user}@{way.host}" if way.user else way.host
    return ("ssh", *options, target, shlex.join(step))
