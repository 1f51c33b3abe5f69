"""An engine that a flow run holds on the cluster: its tasks work with it, and it ends with the flow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.testing.utilities import prefect_test_harness

from sluiceway.core.remote.shell import Command
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.launch import Engine, start_dask
from tests.cluster.test_dask import Launched, held_mark, with_mark
from tests.cluster.test_dask import dask_python as dask_python  # noqa: PLC0414 - a fixture
from tests.cluster.test_dask import launched as launched  # noqa: PLC0414 - a fixture
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.engine.test_run_script import artifacts

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]

WISH = Resources(nodes=2, cpus=1, memory="900M", time="5m")


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@task(cache_policy=NO_CACHE)
async def added_up(address: str, numbers: list[int]) -> tuple[int, set[str], int]:
    """The sum, the jobs that the workers belong to, and how many workers there are."""
    async with Client(address, asynchronous=True, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        jobs = await client.run(os.getenv, "SLURM_JOB_ID")
        return await client.submit(sum, numbers), set(jobs.values()), len(jobs)


@task(cache_policy=NO_CACHE)
async def beside(engine: Engine, python: str) -> str:
    """Where a program beside the engine finds it."""
    text = "import os; print(os.environ['DASK_SCHEDULER_ADDRESS'], os.environ['SLURM_JOB_ID'])"
    return (await engine.run(Command.of(python, "-c", text))).require_success().text


@flow
async def several_steps(python: str) -> tuple[list[str], str]:
    async with await start_dask("west", resources=WISH, python=python, threads=1) as engine:
        three, jobs, workers = await added_up(engine.address, [1, 2])
        seven, same, _ = await added_up(engine.address, [3, 4])
        assert (three, seven, workers, len(jobs), same) == (3, 7, 2, 1, jobs)
        assert await beside(engine, python) == f"{engine.inside} {next(iter(jobs))}\n"
        return [*jobs, engine.dashboard], held_mark(engine)


async def tasks_of(flow_run_id: UUID) -> list[str]:
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    async with get_client() as client:
        return sorted(each.name.rpartition("-")[0] for each in await client.read_task_runs(flow_run_filter=only))


async def test_tasks_of_a_flow_share_one_engine_in_one_allocation_that_ends_with_the_flow(launched: Launched) -> None:
    state = await several_steps(str(launched.python), return_state=True)
    (job, dashboard), mark = await state.aresult()
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    assert await tasks_of(flow_run_id) == ["added_up", "added_up", "beside", "start_dask"]
    assert (await artifacts(flow_run_id))["dask-dashboard"] == f"[{dashboard}]({dashboard})"
    shell = (await launched.there.access()).shell
    async with asyncio.timeout(60):
        while with_mark(mark) or (await shell.run(Command.of("squeue", "-h", "-j", job))).text:
            await asyncio.sleep(0.2)
