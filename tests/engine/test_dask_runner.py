"""A cluster that a flow started: its dashboard is on the run's page, and Prefect's own Dask runner works with it."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.runtime import flow_run
from prefect_dask.task_runners import DaskTaskRunner

from sluiceway.tasks.launch import start_dask


@task
def node_of(_number: int) -> str:
    return os.environ.get("SLUICEWAY_NODE", "none")


@flow
def nodes() -> list[str]:
    return [each.result() for each in node_of.map(range(3))]


async def linked(key: str) -> str:
    """What the server has of this flow run's link."""
    only = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.get_id()])
    )
    async with get_client() as client:
        (found,) = await client.read_artifacts(artifact_filter=only)
    return str(found.data)


@flow
async def started() -> list[str]:
    async with await start_dask("local", python=sys.executable, nodes=2, threads=1) as dask:
        assert await linked("dask-dashboard") == f"[{dask.dashboard}]({dask.dashboard})"
        counts = dask.dashboard.replace("/status", "/json/counts.json")
        assert b'"workers": 2' in (await asyncio.to_thread(urllib.request.urlopen, counts)).read()
        runner: Any = DaskTaskRunner(address=dask.address)
        return await asyncio.to_thread(nodes.with_options(task_runner=runner))


@pytest.mark.nightly
@pytest.mark.timeout(240)
async def test_tasks_of_a_flow_run_on_a_cluster_that_the_flow_started() -> None:
    assert set(await started()) <= {"local1", "local2"}
