"""The life of a run as Prefect tasks, for flows of ours and of others: stage, submit, await, collect; and cancel.

None is cached by Prefect: what was done already is found by content key, whoever asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.blocks.slurm import reach
from sluiceway.core.runs import place, run
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.remains import lay_out
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.retries import Retries
from sluiceway.core.runs.retries import next_attempt as decide_again
from sluiceway.core.slurm.job import Ending, JobId
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.asker import asked_here
from sluiceway.tasks.run_page import RunPage


@task(cache_policy=NO_CACHE)
async def stage_request(
    request: RunRequest, on: str = "local", *, resources: Resources | None = None, fresh: bool = False
) -> Attempt | RunReceipt:
    """Bring what the request needs to the place, where it asks for resources; or give the receipt of what was done."""
    runs, where = runs_here(), place.parse(on)
    with asked_here():
        async with reach(where, runs, wish=resources) as host:
            return await run.stage(request, runs=runs, host=host, place=where, fresh=fresh)


@task(cache_policy=NO_CACHE)
async def submit_job(attempt: Attempt) -> JobId:
    """Start the attempt unless it was started before, and give its job."""
    runs = runs_here()
    async with reach(place.parse(attempt.place), runs) as host:
        return await run.submit(attempt, runs=runs, host=host)


@task(cache_policy=NO_CACHE)
async def await_job(attempt: Attempt, job: JobId) -> Ending:
    """Wait for the job's end, showing what it says on this run's page; if this task dies, the job lives on."""
    runs = runs_here()
    page = RunPage(runs.clock, log=Path(attempt.folder.stdout))
    async with reach(place.parse(attempt.place), runs) as host:
        ending = await run.await_end(attempt, job, host=host, heard=page)
    await page.finish()
    return ending


@task(cache_policy=NO_CACHE)
async def cancel_job(attempt: Attempt, job: JobId) -> None:
    """End the job: it is told to, has its grace, and is made to."""
    runs = runs_here()
    async with reach(place.parse(attempt.place), runs) as host:
        await run.cancel(attempt.folder, job, runs=runs, host=host)


@task(cache_policy=NO_CACHE)
async def collect_receipt(attempt: Attempt, ending: Ending) -> RunReceipt:
    """Bring home what the job made, and write its receipt, whether it succeeded or not."""
    runs = runs_here()
    async with reach(place.parse(attempt.place), runs) as host:
        return await run.collect(attempt, ending, runs=runs, host=host)


@task(cache_policy=NO_CACHE)
async def next_attempt(receipt: RunReceipt, retries: Retries) -> str | None:
    """Say why this run is to be staged once more, asking for more of what it lacked; none where it is not."""
    runs = runs_here()
    folder = runs.folder(receipt.key).attempt(receipt.attempt)
    async with reach(place.parse(receipt.place), runs) as host:
        again = await decide_again(receipt, folder=folder, host=host, policy=retries)
    return None if again is None else again.why


@task(cache_policy=NO_CACHE)
def lay_out_results(receipt: RunReceipt, out: Path) -> None:
    """Copy what the run printed and made into a folder, each file checked against its digest."""
    lay_out(receipt, out)


@task(cache_policy=NO_CACHE)
async def show_receipt(receipt: RunReceipt) -> None:
    """Show on the run's page how it ended, where everything is, and what it used as accounting has it."""
    rows = {
        "ending": receipt.why,
        "place": f"{receipt.place}, job {receipt.job_id}, attempt {receipt.attempt}",
        "seconds": (receipt.ended - receipt.started).total_seconds() if receipt.ended and receipt.started else None,
        "processor seconds": receipt.cpu_seconds,
        "peak memory": None if receipt.peak_memory is None else f"{receipt.peak_memory / 2**20:.0f} MiB",
        "result": receipt.value,
        "tried again": receipt.retry,
        "folder": receipt.folder,
        "outputs": f"{len(receipt.outputs)} files, {sum(each.size for each in receipt.outputs)} bytes",
        "left there": ", ".join(each.path for each in receipt.left) or None,
    }
    lines = "".join(f"| {name} | `{value}` |\n" for name, value in rows.items() if value is not None)
    text = f"# Run {receipt.run_id}\n\n| | |\n|---|---|\n{lines}"
    await acreate_markdown_artifact(text, key="run-receipt", description="How the run ended, and where everything is")
    usage = await _usage(receipt)
    if usage is not None:
        table = [{"what": name.replace("_", " "), "used": value} for name, value in usage.items()]
        await acreate_table_artifact(table, key="run-usage", description="What Slurm accounts for the job")


async def _usage(receipt: RunReceipt) -> dict[str, Any] | None:
    """Give what accounting tells of a run, waiting a little where it did not know when the receipt was written."""
    where = place.parse(receipt.place)
    if receipt.usage is not None or not isinstance(where, place.Cluster):
        return receipt.usage
    runs = runs_here()
    async with reach(where, runs) as host:
        used = await host.used(runs.folder(receipt.key).attempt(receipt.attempt))
    return None if used is None else used.as_json()
