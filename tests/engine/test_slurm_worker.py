"""The slurm worker with a real Prefect server, its jobs on this machine: run, told, cancelled, and taken up again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect.workers.base import BaseWorker

from sluiceway.blocks.worker import SlurmWorker
from sluiceway.blocks.worker_order import SlurmJobConfiguration
from sluiceway.core.runs.hosts import runs_here
from tests.conftest import User
from tests.engine.pools import WorkPool

# Workers, and Prefect for a flow run, are processes of their own that have to start.
pytestmark = pytest.mark.timeout(300)
FLOWS = """
import os, time
from pathlib import Path
from prefect import flow

@flow
def hello(mark: str) -> None:
    print("printed by", mark)
    Path(mark).write_text(os.environ.get("SLURM_JOB_ID", "none"))

@flow
def waits(mark: str, seconds: float) -> None:
    print("began")
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    print("done")
"""
WORKER = """
import asyncio, sys
from sluiceway.blocks.worker import SlurmWorker
asyncio.run(SlurmWorker(work_pool_name=sys.argv[1], heartbeat_interval_seconds=1).start())
"""


class Pool(WorkPool):
    """A work pool of the type slurm, whose cluster is this machine unless something else is asked."""

    worker, flows = SlurmWorker, FLOWS

    async def ask(self, flow: str, **parameters: Any) -> UUID:
        variables = {"cluster": "local", "environment": sys.prefix, **parameters.pop("variables", {})}
        return await self.asked_for(flow, parameters, variables)

    async def run(self, flow_run: UUID) -> FlowRun:
        return await self.client.read_flow_run(flow_run)

    async def said(self, flow_run: UUID, text: str) -> list[str]:
        """The lines of a flow run's log, once this one is there."""
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run]))
        async with asyncio.timeout(30):
            while True:
                lines = [each.message for each in await self.client.read_logs(log_filter=only, limit=200)]
                if any(text in each for each in lines):
                    return lines
                await asyncio.sleep(0.3)


async def until(path: Path) -> None:
    async with asyncio.timeout(150):
        while not path.exists() or not path.read_text().endswith("\n"):
            await asyncio.sleep(0.1)


@pytest.fixture
async def pool(user: User) -> AsyncIterator[Pool]:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    async with get_client() as client:
        pool = Pool(client, user.folder)
        await pool.make()
        yield pool


def test_prefect_finds_the_worker_by_its_type() -> None:
    assert BaseWorker.get_worker_class_from_type("slurm") is SlurmWorker


async def test_a_flow_run_becomes_a_job_whose_lines_are_in_its_log(pool: Pool) -> None:
    mark = pool.folder / "made"
    asked = await pool.ask("hello", mark=str(mark))
    await pool.work()
    found = await pool.run(asked)
    assert (found.state_name, mark.exists()) == ("Completed", True)
    lines = await pool.said(asked, "succeeded")
    assert lines.count(f"printed by {mark}") == 1, lines
    assert not list(runs_here().home.glob("worker/*"))


async def test_a_job_that_never_reports_crashes_its_flow_run_by_name(pool: Pool) -> None:
    asked = await pool.ask("hello", mark="never", variables={"command": "echo complaint >&2; exit 3"})
    await pool.work()
    found = await pool.run(asked)
    assert found.state is not None
    assert (found.state_name, "exit code 3" in str(found.state.message)) == ("Crashed", True), found.state.message
    assert "stderr: complaint" in await pool.said(asked, "complaint")


async def test_a_node_that_does_not_reach_the_api_says_so_and_what_to_change(pool: Pool) -> None:
    asked = await pool.ask("hello", mark="never", variables={"api_url": "http://127.0.0.1:9/api"})
    await pool.work()
    found = await pool.run(asked)
    assert found.state is not None
    assert "cannot reach the Prefect API; see the job variable api_url" in str(found.state.message)


async def test_a_wrong_resource_is_refused_before_anything_is_submitted(pool: Pool) -> None:
    asked = await pool.ask("hello", mark="never", variables={"resources": {"time": "12"}})
    await pool.work()
    found = await pool.run(asked)
    assert found.state is not None
    assert (found.state_name, "with its units" in str(found.state.message)) == ("Crashed", True), found.state.message
    assert not (runs_here().home / "runs").exists()


def lasting(mark: Path) -> dict[str, str]:
    """A job that goes on and on, without Prefect on its node."""
    return {"command": f"echo $$ >{mark}; exec sleep 100"}


async def killed_while_it_works(pool: Pool, mark: Path) -> None:
    """Start a worker in a process of its own, and kill it when its flow run runs."""
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, pool.name, env=environment)
    await until(mark)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()


async def test_the_next_worker_goes_on_with_what_a_killed_one_left(pool: Pool) -> None:
    """Red on: blocks/worker.py: `noted = {each.flow_run: each for each in self._notes.all()}` -> `noted = {}`."""
    mark = pool.folder / "mark"
    asked = await pool.ask("waits", mark=str(mark), seconds=6)
    await killed_while_it_works(pool, mark)
    assert (await pool.run(asked)).state_name == "Running"
    await pool.work()
    found = await pool.run(asked)
    assert (found.state_name, len(mark.read_text().splitlines())) == ("Completed", 1)
    lines = await pool.said(asked, "succeeded")
    assert [lines.count("began"), lines.count("done")] == [1, 1], lines


async def test_a_flow_run_whose_job_died_with_its_worker_is_crashed_by_the_next(pool: Pool) -> None:
    """Red on: blocks/worker_ends.py: `case _: return Crashed(message=told)` -> `case _: return None`."""
    mark = pool.folder / "mark"
    asked = await pool.ask("hello", mark="never", variables=lasting(mark))
    await killed_while_it_works(pool, mark)
    os.killpg(os.getpgid(int(mark.read_text())), signal.SIGKILL)
    await pool.work()
    found = await pool.run(asked)
    assert found.state is not None
    assert (found.state_name, "KILL" in str(found.state.message)) == ("Crashed", True), found.state.message


async def test_a_flow_run_that_is_cancelled_ends_with_its_job(pool: Pool) -> None:
    mark = pool.folder / "mark"
    asked = await pool.ask("hello", mark="never", variables=lasting(mark))
    working = asyncio.create_task(pool.work())
    await until(mark)
    await pool.client.set_flow_run_state(asked, Cancelling())
    await working
    assert (await pool.run(asked)).state_name == "Cancelled"
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


async def test_prefect_can_end_a_job_by_what_its_flow_run_says_of_it(pool: Pool) -> None:
    mark = pool.folder / "mark"
    asked = await pool.ask("hello", mark="never", variables=lasting(mark))
    working = asyncio.create_task(pool.work())
    await until(mark)
    (folder,) = runs_here().home.glob("runs/*")
    worker, anything = SlurmWorker(work_pool_name=pool.name), SlurmJobConfiguration(cluster="local")
    await worker.kill_infrastructure(f"local:sw-{folder.name[:20]}-a1", anything)
    await working
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    assert (await pool.run(asked)).infrastructure_pid == f"local:sw-{folder.name[:20]}-a1"
    with pytest.raises(InfrastructureNotAvailable, match="another home"):
        await worker.kill_infrastructure("local:sw-0123456789-a1", anything)
