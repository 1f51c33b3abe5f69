"""The slurm worker on the real Slurm, with a real Prefect server: run, cancelled, and what ends a job told by name."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import runs_here
from sluiceway.deployments.devcluster.cluster import Devcluster
from tests.cluster.test_flow import prefect_server
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.engine.test_slurm_worker import WORKER, Pool

__all__ = ["prefect_server"]

# Prefect's server, the cluster and Prefect on a node all have to start.
pytestmark = pytest.mark.timeout(300)
# The nodes' own Python, with this one's packages: they are on a disk that the nodes see.
PACKAGES = str(Path(sys.prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")


class Worked:
    """A pool whose flow runs are jobs of the devcluster."""

    def __init__(self, pool: Pool, there: There, folder: PurePosixPath) -> None:
        self.pool, self.there, self.folder = pool, there, folder

    async def ask(self, flow: str, *, resources: dict[str, Any], command: str | None = None, **given: Any) -> UUID:
        variables: dict[str, Any] = {"cluster": "west", "resources": resources, "env": {"PYTHONPATH": PACKAGES}}
        if command is not None:
            variables["command"] = command
        return await self.pool.ask(flow, variables=variables, **given)

    async def until(self, asked: UUID, state: str) -> str:
        """Wait until Slurm says so of the flow run's job, and give its id."""
        async with asyncio.timeout(90):
            while True:
                pid = (await self.pool.run(asked)).infrastructure_pid or ""
                named = f"--name={pid.partition(':')[2] or 'none'}"
                told = await self.there.shell.run(Command.of("squeue", "-h", "-t", "all", named, "-o", "%A %T"))
                if f" {state}" in told.text:
                    return told.text.split()[0]
                await asyncio.sleep(0.3)

    async def node_of(self, job: str) -> str:
        return (await self.there.shell.run(Command.of("squeue", "-h", "-j", job, "-o", "%N"))).text.strip()

    async def message(self, asked: UUID) -> tuple[str | None, str]:
        found = await self.pool.run(asked)
        return found.state_name, "" if found.state is None else str(found.state.message)


@pytest.fixture
async def worked(there: There, folder: PurePosixPath) -> AsyncIterator[Worked]:
    async with get_client() as client:
        pool = Pool(client, Path(folder))
        await pool.make()
        yield Worked(pool, there, folder)


async def test_a_flow_run_becomes_a_slurm_job_on_a_node(worked: Worked) -> None:
    mark = worked.folder / "made"
    asked = await worked.ask("hello", mark=str(mark), resources={"cpus": 1, "memory": "600M", "time": "10m"})
    await worked.pool.work()
    assert (await worked.message(asked))[0] == "Completed", await worked.message(asked)
    job = Path(mark).read_text()
    lines = await worked.pool.said(asked, f"job {job} on west succeeded")
    assert lines.count(f"printed by {mark}") == 1, lines


async def test_a_node_that_fails_crashes_the_flow_run_by_that_name(worked: Worked, devcluster: Devcluster) -> None:
    """Red on: blocks/worker_ends.py: `EndingKind.NODE_FAILURE: "its node failed",` ->
    `EndingKind.NODE_FAILURE: "it ended",`.
    """
    asked = await worked.ask("hello", mark="no", resources={"memory": "50M"}, command="echo began; sleep 100")
    working = asyncio.create_task(worked.pool.work())
    node = await worked.node_of(await worked.until(asked, "RUNNING"))
    try:
        await devcluster.fail(node)
        await working
    finally:
        await devcluster.resume(node)
    state, message = await worked.message(asked)
    assert (state, "its node failed" in message) == ("Crashed", True), message


async def test_a_flow_run_that_is_cancelled_cancels_its_job(worked: Worked) -> None:
    """Red on: blocks/worker.py: `self._begin(self._cancel_job, flow_run, watched)` -> `pass`."""
    asked = await worked.ask("hello", mark="no", resources={"memory": "50M"}, command="sleep 100")
    working = asyncio.create_task(worked.pool.work())
    job = await worked.until(asked, "RUNNING")
    await worked.pool.client.set_flow_run_state(asked, Cancelling())
    async with asyncio.timeout(60):
        await working
    assert (await worked.message(asked))[0] == "Cancelled"
    told = await worked.there.shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job, "-o", "%T"))
    assert told.text.split() == ["CANCELLED"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "resources", "said"),
    [
        ("sleep 300", {"memory": "50M", "time": "1m"}, "its time limit was over"),
        (
            "python3 -c 'import time; held = bytearray(400 << 20); time.sleep(60)'",
            {"memory": "100M"},
            "over its memory",
        ),
    ],
    ids=["time", "memory"],
)
async def test_a_limit_is_told_by_its_name(worked: Worked, command: str, resources: dict[str, Any], said: str) -> None:
    asked = await worked.ask("hello", mark="no", resources=resources, command=command)
    await worked.pool.work()
    state, message = await worked.message(asked)
    assert (state, said in message) == ("Crashed", True), message


@pytest.mark.nightly
async def test_the_job_of_a_killed_worker_is_seen_to_its_end_by_the_next(worked: Worked) -> None:
    """Red on: blocks/worker.py: `noted = {each.flow_run: each for each in self._notes.all()}` -> `noted = {}`."""
    mark = Path(worked.folder) / "mark"
    asked = await worked.ask("waits", mark=str(mark), seconds=20, resources={"memory": "600M"})
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, worked.pool.name, env=environment)
    async with asyncio.timeout(120):
        while not mark.exists():
            await asyncio.sleep(0.2)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await worked.pool.work()
    assert (await worked.message(asked))[0] == "Completed"
    assert (len(mark.read_text().splitlines()), len(list(runs_here().home.glob("runs/*/a*")))) == (1, 1)


async def test_a_login_node_that_does_not_reach_the_api_is_told_before_a_job_waits(worked: Worked) -> None:
    variables = {"cluster": "west", "api_url": "http://127.0.0.1:9/api"}
    asked = await worked.pool.ask("hello", mark="no", variables=variables)
    await worked.pool.work()
    state, message = await worked.message(asked)
    assert (state, "127.0.0.1 is each machine's own address" in message) == ("Crashed", True), message
    assert not list(runs_here().home.glob("runs/*"))
