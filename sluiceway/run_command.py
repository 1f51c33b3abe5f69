"""`sluiceway run`, and `jobs` and `cancel` for what was run: a script on this machine or a cluster."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console
from sluiceway.logs_command import show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sluiceway.core.runs.listing import Listed
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.runs.run import Heard, Runs
    from sluiceway.core.slurm.resources import Resources

_INTERRUPTED = 130


def run(  # noqa: PLR0913, PLR0917 - one per option
    script: Annotated[Path, typer.Argument(help="The script; its first line may name its interpreter, else it is sh.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What it gets; after -- even what has dashes.")] = None,
    on: Annotated[str, typer.Option("--on", help="Where it runs: local, or a cluster's name.")] = "local",
    setenv: Annotated[list[str] | None, typer.Option("--setenv", help="A variable, NAME=VALUE; repeatable.")] = None,
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", help="A file or folder; it lies in ../inputs there; repeatable.")
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            help="A file, folder or pattern that it makes; PATTERN:TYPE or NAME=PATTERN:TYPE says what it is: table, "
            "metric, figure, file or folder, or left, where it is to stay there; repeatable.",
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option("--env", help="The environment it runs in, by its name in clusters.toml or as a block."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for what it prints and makes.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run it although it has succeeded before.")] = False,
    launcher: Annotated[
        str | None,
        typer.Option(
            "--launcher",
            help="How it is started: single, which makes --ntasks tasks of it, or beside dask, ray or spark.",
        ),
    ] = None,
    launcher_options: Annotated[
        list[str] | None, typer.Option("--launcher-option", help="An option of the launcher, NAME=VALUE; repeatable.")
    ] = None,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="How often to try again for want of memory, time or a node.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the very script that a cluster would get, and stop.")
    ] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say when a cluster would start it, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
    nodes: asks.Nodes = None,
    ntasks: asks.Ntasks = None,
    cpus: asks.Cpus = None,
    gpus: asks.Gpus = None,
    mem: asks.Mem = None,
    time: asks.Time = None,
    partition: asks.Partition = None,
    account: asks.Account = None,
    qos: asks.Qos = None,
    warning: asks.Warned = None,
    queue_limit: asks.QueueLimit = None,
    dependency: asks.Dependency = None,
    component: asks.Components = None,
    extra_sbatch: asks.Extra = None,
    flow: Annotated[
        bool, typer.Option("--flow", help="Work as a Prefect flow run, on a server of its own where there is none.")
    ] = False,
) -> None:
    """Run a script, unless the same script has succeeded on the same inputs before."""
    from sluiceway.core import settings
    from sluiceway.core.launch.registry import launcher_named
    from sluiceway.core.runs import place
    from sluiceway.core.runs import run as life
    from sluiceway.core.runs.declared import declaring
    from sluiceway.core.runs.hosts import runs_here
    from sluiceway.core.runs.remains import lay_out
    from sluiceway.core.runs.request import inputs_of
    from sluiceway.core.runs.retries import Retries
    from sluiceway.deployments import direct_or_flow
    from sluiceway.run_as_flow import run_as_flow

    request = _requested(
        script,
        arguments=tuple(arguments or ()),
        inputs=inputs_of(inputs or ()),
        environment=dict(map(_variable, setenv or ())),
        runtime=asks.runtime(env),
        **declaring(outputs or ()),
    )
    names = {"nodes": nodes, "tasks": ntasks, "cpus": cpus, "gpus": gpus, "memory": mem, "time": time}
    names |= {"partition": partition, "account": account, "qos": qos}
    names |= {"warning": warning, "queue_limit": queue_limit, "dependency": dependency}
    wish = asks.wish_of(extra_sbatch, component, **names)
    options = dict(map(_variable, launcher_options or ()))
    request = replace(request, launcher=launcher_named(launcher, options, resources=wish))
    runs, where = runs_here(), place.parse(on)
    asks.require_used(where, wish, estimate=estimate)
    if dry_run or estimate:
        asyncio.run(_print_plan(request, runs, on=on, fresh=fresh, wish=wish, estimate=estimate))
        return

    async def live() -> RunReceipt:
        policy = Retries(most=retries) if retries else None
        async with asks.reach(where, runs, wish=wish) as host:
            return await life.run(
                request,
                runs=runs,
                host=host,
                place=where,
                fresh=fresh,
                retries=policy,
                heard=_printing(as_json=as_json),
            )

    folder = out or settings.load().output_dir / "run"
    server, name = direct_or_flow.server(flow=flow), runs.folder(request.key).run_id
    if server is None:
        receipt = _lived(live(), name=name)
        lay_out(receipt, folder)
    else:
        asked: dict[str, Any] = {"script": script, "arguments": arguments or [], "on": str(where), "resources": wish}
        asked |= {"inputs": inputs or [], "outputs": outputs or [], "environment": dict(request.environment)}
        asked |= {"out": folder, "fresh": fresh, "retries": retries, "env": env}
        asked |= {"launcher": launcher, "launcher_options": options}
        with direct_or_flow.connected(server):
            receipt = _lived(run_as_flow(runs, key=request.key, asked=asked), name=name)
    _tell(receipt, folder, as_json=as_json)


def jobs(
    ask: Annotated[bool, typer.Option("--ask", help="Ask the clusters how far the runs there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the runs that were started from this machine, the latest first."""
    from rich.table import Table

    from sluiceway.core.runs import listing
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    listed = listing.every_run(runs)
    states = asyncio.run(_asked(runs, listed)) if ask else {}
    if as_json:
        found = json.loads(listing.as_json(listed))
        typer.echo(json.dumps([{**each, "state": states.get(each["run_id"])} for each in found]))
        return
    table = Table("run", "attempt", "standing", "place", "staged at", "what")
    for each in listed:
        what = each.what.encode("utf-8", "replace").decode()
        standing = states.get(each.run_id, each.standing)
        table.add_row(each.run_id, str(each.attempt), standing, each.place, each.at[:19], what)
    console.for_results().print(table)


def cancel(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run, or the beginning of its name.")],
) -> None:
    """End the latest attempt at a run: it is told to, has its grace, and is made to."""
    from sluiceway.core.runs.hosts import runs_here

    console.for_remarks().print(asyncio.run(_cancel(runs_here(), name)), markup=False)


def _variable(text: str) -> tuple[str, str]:
    from sluiceway.core.errors import RequestInvalid

    name, mark, value = text.partition("=")
    if not mark:
        raise RequestInvalid(what="the variable", value=text, reason="write NAME=VALUE")
    return name, value


def _requested(script: Path, **asked: Any) -> RunRequest:
    from sluiceway.core.remote.local import LocalShell
    from sluiceway.core.runs.script_code import script_request

    return asyncio.run(script_request(script, shell=LocalShell(), **asked))


async def _print_plan(
    request: RunRequest, runs: Runs, *, on: str, fresh: bool, wish: Resources, estimate: bool
) -> None:
    from sluiceway.core.runs import place
    from sluiceway.core.runs.run import plan
    from sluiceway.core.runs.slurm_job import SlurmJob
    from sluiceway.core.slurm.commands import sbatch
    from sluiceway.core.slurm.script import batch_script

    number, what = plan(request, runs=runs, fresh=fresh)
    where = place.parse(on)
    async with asks.reach(where, runs, wish=wish) as host:
        if not isinstance(host, SlurmJob):
            asked = json.loads(request.order(attempt=number))
            typer.echo(json.dumps({"would": what, "on": str(where), "request": asked}))
            return
        folder = runs.folder(request.key).attempt(number)
        if estimate:
            typer.echo((await host.estimate(folder)).said)
            return
        spec = host.spec(folder)
        sys.stdout.buffer.write(batch_script(spec).encode(errors="surrogateescape"))
        told = f"would {what} attempt {number} on {where}: {shlex.join(sbatch(spec))}"
        console.for_remarks().print(told, markup=False, soft_wrap=True)


def _printing(*, as_json: bool) -> Callable[[Heard], Awaitable[None]]:
    """Give who prints what a job says, out of the way of a receipt as JSON."""

    async def hear(heard: Heard) -> None:
        show(heard, sys.stderr if as_json else sys.stdout)

    return hear


def _tell(receipt: RunReceipt, folder: Path, *, as_json: bool) -> None:
    """Say what came of a run; one that has failed is an error."""
    for each in receipt.warnings:
        console.for_remarks().print(f"warning: {each}", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(receipt.as_json()))
    receipt.require_success()
    for left in receipt.left:
        console.for_remarks().print(f"left on {receipt.place}: {left.path}", markup=False, soft_wrap=True)
    told = f"run {receipt.run_id}, attempt {receipt.attempt}: {receipt.why}; {len(receipt.outputs)} outputs in {folder}"
    console.for_remarks().print(told, markup=False, soft_wrap=True)


def _lived(life: Coroutine[Any, Any, RunReceipt], *, name: str) -> RunReceipt:
    """See a run through; leaving it early lets it go on."""
    try:
        return asyncio.run(life)
    except KeyboardInterrupt:
        told = f"the run {name} goes on: sluiceway logs -f {name} follows it, sluiceway cancel {name} ends it"
        console.for_remarks().print(told, markup=False, soft_wrap=True)
        raise SystemExit(_INTERRUPTED) from None


async def _asked(runs: Runs, listed: list[Listed]) -> dict[str, str]:
    """Ask every cluster for the states of the runs that are there, by the runs' names; who does not answer is told."""
    from sluiceway.core.errors import SluicewayError
    from sluiceway.core.runs.access import access_to
    from sluiceway.core.runs.listing import Standing, attempt_of
    from sluiceway.core.slurm.cluster import Known

    states = {}
    for each in (each for each in listed if each.standing is Standing.AWAY):
        folder, _ = attempt_of(runs, each.run_id)
        try:
            access = await access_to(await asks.cluster(each.place), runs.clock)
            answer = await access.cluster.find(folder.token)
        except SluicewayError as error:
            console.for_remarks().print(str(error), markup=False, soft_wrap=True)
            continue
        if isinstance(answer, Known) and answer.state is not None:
            states[each.run_id] = str(answer.state)
    return states


async def _cancel(runs: Runs, name: str) -> str:
    from sluiceway.core.runs import listing, place, run

    attempt, where = listing.attempt_of(runs, name)
    async with asks.reach(place.parse(where), runs) as host:
        job = await host.find(attempt)
        if job is None:
            return f"the run {attempt.run.run_id} has not started"
        await run.cancel(attempt, job, runs=runs, host=host)
        return f"the run {attempt.run.run_id}, attempt {attempt.number}, job {job} has ended"
