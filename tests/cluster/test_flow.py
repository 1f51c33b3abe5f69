"""The flow run_script on the real Slurm: as tasks, cancelled with its job, and joined after its process has died."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from prefect.testing.utilities import prefect_test_harness

from sluiceway.blocks.slurm import SlurmJob
from sluiceway.core.errors import RunFailed
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import listing
from sluiceway.core.runs.hosts import cluster_named, runs_here
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.slurm.resources import Resources
from sluiceway.flows.run_script import cancel_its_job, run_script
from sluiceway.tasks.slurm import slurm_task
from sluiceway.tasks.slurm_cancel import cancel_calls
from tests.cluster.test_runs import There, there
from tests.cluster.test_tried_again import GREEDY
from tests.engine.test_run_script import artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["there"]

FLOW = """
import asyncio, sys
from pathlib import Path
from sluiceway.flows.run_script import run_script
asyncio.run(run_script(Path(sys.argv[1]), on="west"))
"""


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


async def began(request: RunRequest) -> str:
    """Wait until the request's job has begun, and give its id."""
    runs = runs_here()
    async with asyncio.timeout(90):
        while True:
            attempt = runs.last(runs.folder(request.key))
            if attempt is not None and Path(attempt.job).exists():
                return Path(attempt.job).read_text()
            await asyncio.sleep(0.1)


async def test_the_tasks_run_a_script_on_a_cluster_that_is_a_block(there: There) -> None:
    fields = (await cluster_named("west")).model_dump(exclude_unset=True)
    await SlurmJob.model_validate(fields).asave("west-block", overwrite=True)
    request = there.request("echo $SLURM_CPUS_PER_TASK >made")
    assert request.script is not None
    out = there.folder / "out"
    wish = Resources(cpus=2)
    asked: dict[str, Any] = {"on": "west-block", "resources": wish, "outputs": ["made"], "out": out}
    state = await run_script(request.script.path, **asked, return_state=True)
    assert ((await state.aresult()).place, (out / "made").read_text()) == ("west-block", "2\n")
    assert state.state_details.flow_run_id is not None
    shown = json.loads((await artifacts(state.state_details.flow_run_id))["run-usage"])
    used = {each["what"]: each["used"] for each in shown}
    assert (used["cpus"], used["gpus"], "cpu efficiency" in used, "memory efficiency" in used) == (2, 0, True, True)


async def test_a_flow_run_that_is_cancelled_cancels_its_job(there: There) -> None:
    request = there.request("sleep 100")
    assert request.script is not None
    running = asyncio.create_task(run_script(request.script.path, on="west", out=there.folder / "out"))
    await began(request)
    parameters = {"script": str(request.script.path), "on": "west"}
    await cancel_its_job(run_script, FlowRun(flow_id=uuid4(), parameters=parameters), Cancelled())
    with pytest.raises(RunFailed, match="cancelled"):
        await running
    assert [each.partition("|")[2].split()[0] for each in await there.settled(request)] == ["CANCELLED"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["crash", "end of the worker"])
async def test_the_job_outlives_the_flows_process_and_the_next_flow_joins_it(
    there: There, number: signal.Signals
) -> None:
    """Red on: core/runs/run.py: `return folder.attempt(last.number + 1) if is_over else last` ->
    `return folder.attempt(last.number + 1)`.
    """
    request = there.request('echo began; sleep 8; echo "$SLURM_JOB_ID"')
    assert request.script is not None
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = (sys.executable, "-c", FLOW, str(request.script.path))
    first = await asyncio.create_subprocess_exec(*command, cwd=there.folder, env=environment)
    job = await began(request)
    first.send_signal(number)
    await first.wait()
    receipt = await run_script(request.script.path, on="west", out=there.folder / "out")
    assert (receipt.attempt, receipt.job_id in job) == (1, True)
    assert receipt.stdout.read_text() == f"began\n{receipt.job_id}\n"
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]
    assert listing.attempt_of(runs_here(), request.key)[0].number == 1


async def test_a_flow_tries_again_what_lacked_memory(there: There) -> None:
    request = there.request(GREEDY)
    assert request.script is not None
    wish = Resources(memory="200M")
    receipt = await run_script(request.script.path, on="west", resources=wish, retries=2, out=there.folder / "out")
    assert (receipt.attempt, receipt.retry) == (2, "attempt 1 ended: out of memory; again, memory 400M")
    assert receipt.stdout.read_text() == "done\n"


@slurm_task(on="west", resources=Resources(cpus=1, memory="100M"))
def on_and_on(mark: str, number: int) -> str:
    time.sleep(100)
    return f"{mark} {number}"


@flow(on_cancellation=[cancel_calls])
def waiting(mark: str) -> list[str]:
    futures = [on_and_on.submit(mark, 1), *on_and_on.map(mark, [2, 3])]
    return [str(each.result(raise_on_failure=False)) for each in futures]


async def test_a_flow_run_that_is_cancelled_cancels_the_jobs_of_its_functions(there: There) -> None:
    """Red on: tasks/slurm_cancel.py: `names = callers.waited_for(runs, flow_run)` -> `names: list[str] = []`."""
    running = asyncio.ensure_future(asyncio.to_thread(waiting, secrets.token_hex(8)))
    tokens = await submitted(2)
    (note,) = (runs_here().home / "callers").iterdir()
    await cancel_calls(waiting, FlowRun(id=UUID(note.name), flow_id=uuid4()), Cancelled())
    async with asyncio.timeout(60):
        said = await running
    assert ["cancelled" in each for each in said] == [True] * 3, said
    asked = Command.of("squeue", "-h", "-r", "-t", "all", f"--name={','.join(tokens)}", "-o", "%T")
    assert (await there.shell.run(asked)).text.split() == ["CANCELLED"] * 3


async def submitted(n_runs: int) -> list[str]:
    """Wait until so many runs have jobs, and give their names."""
    runs = runs_here()
    async with asyncio.timeout(60):
        while len(found := list(runs.home.glob("runs/*/a1/job.json"))) < n_runs:
            await asyncio.sleep(0.2)
    return [runs.folder(f"sha256:{each.parent.parent.name}").attempt(1).token for each in found]
