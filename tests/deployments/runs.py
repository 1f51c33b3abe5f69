"""Flow runs on the server of a test: asked for, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

PATIENCE = 400


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[PrefectClient]:
    with temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        async with get_client() as client:
            yield client


async def runs_of(client: PrefectClient, deployment: str) -> list[FlowRun]:
    """Every run of a deployment, which is named with its flow."""
    only = DeploymentFilter(name=DeploymentFilterName(any_=[deployment.rpartition("/")[2]]))
    return await client.read_flow_runs(deployment_filter=only)


async def asked_for(client: PrefectClient, deployment: str, **parameters: Any) -> FlowRun:
    known = await client.read_deployment_by_name(deployment)
    return await client.create_flow_run_from_deployment(known.id, parameters=parameters)


async def until(client: PrefectClient, run: FlowRun, reached: Callable[[FlowRun], bool]) -> FlowRun:
    """Wait until the run is as wished."""
    async with asyncio.timeout(PATIENCE):
        while not reached(run := await client.read_flow_run(run.id)):
            await asyncio.sleep(0.5)
    return run


def has_ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def has_begun(run: FlowRun) -> bool:
    return is_running(run) or has_ended(run)


def is_running(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_running()


async def scheduled_run(url: str, deployment: str) -> FlowRun:
    """Give a run of the deployment that a schedule of every few seconds has started, once it has ended."""
    async with client_of(url) as client, asyncio.timeout(PATIENCE):
        known = await client.read_deployment_by_name(deployment)
        often = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(seconds=20)))
        await client.create_deployment_schedules(known.id, [often])
        while not (begun := [each for each in await runs_of(client, deployment) if has_begun(each)]):
            await asyncio.sleep(0.5)
        # Those that would come after it only keep the server and the worker busy.
        await client.pause_deployment(known.id)
        return await until(client, begun[0], has_ended)
