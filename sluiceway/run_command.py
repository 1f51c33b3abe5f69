"""`sluiceway run`, and `jobs`, `logs` and `cancel` for what was run: a script on this machine or a cluster."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sluiceway.core.runs.folder import AttemptFolder
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
        list[str] | None, typer.Option("--output", help="A file, folder or pattern that it makes; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for what it prints and makes.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run it although it has succeeded before.")] = False,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="How often to try again for want of memory, time or a node.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the very script that a cluster would get, and stop.")
    ] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say when a cluster would start it, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
    nodes: asks.Nodes = None,
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
    extra_sbatch: asks.Extra = None,
) -> None:
    """Run a script, unless the same script has succeeded on the same inputs before."""
    from sluiceway.core import settings
    from sluiceway.core.runs import place
    from sluiceway.core.runs import run as life
    from sluiceway.core.runs.hosts import runs_here
    from sluiceway.core.runs.remains import lay_out
    from sluiceway.core.runs.request import Content, RunRequest, inputs_of
    from sluiceway.core.runs.retries import Retries

    request = RunRequest(
        script=Content.of(script, what="the script"),
        arguments=tuple(arguments or ()),
        inputs=inputs_of(inputs or ()),
        outputs=tuple(outputs or ()),
        environment=dict(map(_variable, setenv or ())),
    )
    names = {"nodes": nodes, "cpus": cpus, "gpus": gpus, "memory": mem, "time": time}
    names |= {"partition": partition, "account": account, "qos": qos}
    names |= {"warning": warning, "queue_limit": queue_limit, "dependency": dependency}
    wish = asks.wish_of(extra_sbatch, **names)
    runs = runs_here()
    if dry_run or estimate:
        asyncio.run(_print_plan(request, runs, on=on, fresh=fresh, wish=wish, estimate=estimate))
        return

    async def live() -> RunReceipt:
        where, policy = place.parse(on), Retries(most=retries) if retries else None
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

    receipt = _lived(live(), name=runs.folder(request.key).run_id)
    folder = out or settings.load().output_dir / "run"
    lay_out(receipt, folder)
    if as_json:
        typer.echo(json.dumps(receipt.as_json()))
    receipt.require_success()
    told = f"run {receipt.run_id}, attempt {receipt.attempt}: {receipt.why}; {len(receipt.outputs)} outputs in {folder}"
    console.for_remarks().print(told, markup=False, soft_wrap=True)


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


def logs(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run, or the beginning of its name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
) -> None:
    """Print what the latest attempt at a run has printed."""
    from sluiceway.core.runs import listing
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    if follow:
        asyncio.run(_follow(runs, name))
        return
    attempt, where = listing.attempt_of(runs, name)
    asyncio.run(_bring_logs(runs, attempt, where))
    for path, stream in ((attempt.stdout, sys.stdout), (attempt.stderr, sys.stderr)):
        if Path(path).is_file():
            with Path(path).open("rb") as file:
                shutil.copyfileobj(file, stream.buffer)


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
        _show(heard, sys.stderr if as_json else sys.stdout)

    return hear


def _lived(life: Coroutine[Any, Any, RunReceipt], *, name: str) -> RunReceipt:
    """See a run through; leaving it early lets it go on."""
    try:
        return asyncio.run(life)
    except KeyboardInterrupt:
        told = f"the run {name} goes on: sluiceway logs -f {name} follows it, sluiceway cancel {name} ends it"
        console.for_remarks().print(told, markup=False, soft_wrap=True)
        raise SystemExit(_INTERRUPTED) from None


def _show(heard: Heard, lines_to: Any) -> None:
    """Print what a job says: its lines where they belong, all else as a remark."""
    from sluiceway.core.runs.host import Waiting
    from sluiceway.core.runs.run import Line

    if isinstance(heard, Line):
        print(heard.text, file=lines_to if heard.stream == "stdout" else sys.stderr, flush=True)
    else:
        told = f"waiting: {heard.reason}" if isinstance(heard, Waiting) else str(heard)
        text = told.encode("utf-8", "replace").decode()
        console.for_remarks().print(text, markup=False, emoji=False, soft_wrap=True)


async def _follow(runs: Runs, name: str) -> None:
    from sluiceway.core.runs import listing, place, run
    from sluiceway.core.slurm.job import Ending

    attempt, where = listing.attempt_of(runs, name)
    async with asks.reach(place.parse(where), runs) as host:
        job = await host.find(attempt)
        if job is None:
            return
        async for each in run.follow(attempt, job, host=host):
            if not isinstance(each, Ending):
                _show(each, sys.stdout)


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


async def _bring_logs(runs: Runs, attempt: AttemptFolder, where: str) -> None:
    """Bring what an attempt has printed so far, unless all of it is here."""
    from sluiceway.core.runs import place

    receipt = runs.receipt(attempt.run)
    if where != "local" and (receipt is None or receipt.attempt != attempt.number):
        async with asks.reach(place.parse(where), runs) as host:
            for log in (attempt.stdout, attempt.stderr):
                await host.fetch(attempt, log.relative_to(attempt.path))


async def _cancel(runs: Runs, name: str) -> str:
    from sluiceway.core.runs import listing, place, run

    attempt, where = listing.attempt_of(runs, name)
    async with asks.reach(place.parse(where), runs) as host:
        job = await host.find(attempt)
        if job is None:
            return f"the run {attempt.run.run_id} has not started"
        await run.cancel(attempt, job, runs=runs, host=host)
        return f"the run {attempt.run.run_id}, attempt {attempt.number}, job {job} has ended"
