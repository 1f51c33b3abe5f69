"""A flow that calls functions, run by Prefect's own worker: cancelled with their jobs, which outlive whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect.workers.process import ProcessWorker

from sluiceway.core.runs.hosts import runs_here
from tests.conftest import User
from tests.engine.pools import WorkPool

# A worker, the flow run that it starts, and the one that runs the hook are processes of their own.
pytestmark = pytest.mark.timeout(300)
FLOWS = """
import os, time
from pathlib import Path

from prefect import flow

from sluiceway.tasks.slurm import slurm_task
from sluiceway.tasks.slurm_cancel import cancel_calls

@slurm_task()
def on_and_on(folder: str, number: int) -> int:
    with Path(folder, f"on-{number}").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path(folder, "go").exists():
        time.sleep(0.1)
    return number

@flow(on_cancellation=[cancel_calls])
def calls(folder: str) -> int:
    return on_and_on(folder, 1)

@flow
def inner(folder: str) -> int:
    return on_and_on(folder, 1)

@flow(on_cancellation=[cancel_calls])
def holds(folder: str) -> int:
    return inner(folder)

@flow(on_cancellation=[cancel_calls])
def submits(folder: str) -> list[int]:
    futures = [on_and_on.submit(folder, 1), *on_and_on.map(folder, [2, 3])]
    return [each.result() for each in futures]

@flow
def leaves(folder: str) -> int:
    return on_and_on(folder, 1)
"""
WORKER = """
import asyncio, sys
from prefect.workers.process import ProcessWorker
asyncio.run(ProcessWorker(work_pool_name=sys.argv[1]).start())
"""
NIGHTLY = pytest.mark.nightly


class Pool(WorkPool):
    """A work pool whose flow runs are processes of a worker on this machine."""

    worker, flows = ProcessWorker, FLOWS

    async def ask(self, flow: str) -> UUID:
        return await self.asked_for(flow, {"folder": str(self.folder)}, {})

    async def killed_while_it_works(self, *, with_flow_runs: bool) -> None:
        """Start a worker as a program, and kill it while the call of its flow run goes on."""
        environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WORKER, self.name), env=environment, start_new_session=True
        )
        await self.began(1)
        if with_flow_runs:
            os.killpg(worker.pid, signal.SIGKILL)
        else:
            worker.send_signal(signal.SIGKILL)
        await worker.wait()

    async def began(self, number: int) -> int:
        """Wait until a call has begun there, and give its process."""
        mark = self.folder / f"on-{number}"
        async with asyncio.timeout(150):
            while not mark.exists() or not mark.read_text().endswith("\n"):
                await asyncio.sleep(0.1)
        return int(mark.read_text().splitlines()[-1])

    async def ending(self, flow_run: UUID) -> str:
        """Wait until a flow run is over, and give its state's name."""
        async with asyncio.timeout(60):
            while (found := (await self.client.read_flow_run(flow_run)).state) is None or not found.is_final():
                await asyncio.sleep(0.2)
        return found.name or ""


@pytest.fixture
async def pool(user: User) -> AsyncIterator[Pool]:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    async with get_client() as client:
        pool = Pool(client, user.folder)
        await pool.make()
        yield pool
        (pool.folder / "go").touch()


@pytest.mark.parametrize(
    ("flow", "numbers"),
    [
        ("calls", [1]),
        pytest.param("holds", [1], marks=NIGHTLY),
        # Prefect waits half a minute for what was submitted before it kills the flow run's process.
        pytest.param("submits", [1, 2, 3], marks=NIGHTLY),
    ],
)
async def test_a_flow_run_that_is_cancelled_is_ended_by_its_worker_and_so_are_its_jobs(
    pool: Pool, flow: str, numbers: list[int]
) -> None:
    """Red on: tasks/slurm_cancel.py: `await run.cancel(attempt, job, runs=runs, host=host)` -> `pass`."""
    asked = await pool.ask(flow)
    working = asyncio.create_task(pool.work())
    jobs = [await pool.began(number) for number in numbers]
    await pool.client.set_flow_run_state(asked, Cancelling())
    await working
    assert await pool.ending(asked) == "Cancelled"
    assert [Path(f"/proc/{job}").exists() for job in jobs] == [False] * len(jobs)
    ended = ['"ended"' in each.read_text() for each in runs_here().home.glob("runs/*/a1/cancelled.json")]
    assert ended
    assert all(ended)
    assert not list(runs_here().home.glob("callers/*"))


@pytest.mark.nightly
async def test_a_flow_without_the_hook_leaves_its_jobs_alone_when_it_is_cancelled(pool: Pool) -> None:
    asked = await pool.ask("leaves")
    working = asyncio.create_task(pool.work())
    job = await pool.began(1)
    await pool.client.set_flow_run_state(asked, Cancelling())
    await working
    assert await pool.ending(asked) == "Cancelled"
    assert Path(f"/proc/{job}").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("with_flow_runs", [True, False], ids=["and its flow runs", "alone"])
async def test_the_jobs_outlive_a_worker_that_is_killed_and_the_next_flow_run_joins_them(
    pool: Pool, *, with_flow_runs: bool
) -> None:
    """Red on: core/runs/run.py: `return folder.attempt(last.number + 1) if is_over else last` ->
    `return folder.attempt(last.number + 1)`.
    """
    killed = await pool.ask("calls")
    await pool.killed_while_it_works(with_flow_runs=with_flow_runs)
    job = await pool.began(1)
    assert Path(f"/proc/{job}").exists()
    asked = await pool.ask("calls")
    working = asyncio.create_task(pool.work())
    while len(list(runs_here().home.glob("callers/*"))) < 2:
        assert not working.done()
        await asyncio.sleep(0.1)
    (pool.folder / "go").touch()
    await working
    assert await pool.ending(asked) == "Completed"
    assert (pool.folder / "on-1").read_text() == f"{job}\n"
    assert [each.parent.name for each in runs_here().home.glob("runs/*/*/receipt.json")] == ["a1"]
    if not with_flow_runs:
        # Nobody reads what it prints any more, and Prefect takes that for its end.
        assert await pool.ending(killed) in {"Crashed", "Completed"}
