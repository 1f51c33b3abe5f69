"""Prefect's own Dask runner works with a cluster that a flow started, and its tasks run on the cluster's nodes."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest
from prefect import flow, task
from prefect_dask.task_runners import DaskTaskRunner

from sluiceway.tasks.launch import start_dask


@task
def node_of(_number: int) -> str:
    return os.environ.get("SLUICEWAY_NODE", "none")


@flow
def nodes() -> list[str]:
    return [each.result() for each in node_of.map(range(3))]


@flow
async def started() -> list[str]:
    async with await start_dask("local", python=sys.executable, nodes=2, threads=1) as dask:
        runner: Any = DaskTaskRunner(address=dask.address)
        return await asyncio.to_thread(nodes.with_options(task_runner=runner))


@pytest.mark.nightly
@pytest.mark.timeout(240)
async def test_tasks_of_a_flow_run_on_a_cluster_that_the_flow_started() -> None:
    assert set(await started()) <= {"local1", "local2"}
