"""Cancelling a flow run cancels the jobs of the functions that it called, where the flow has the hook for it.

    @flow(on_cancellation=[cancel_calls])
    def measure() -> None: ...

A crash of the flow run, or the end of its worker, leaves the jobs alone: the next flow run with the same calls joins
them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.context import FlowRunContext, TaskRunContext

from sluiceway.blocks.slurm import reach
from sluiceway.core.errors import RunUnknown
from sluiceway.core.runs import callers, listing, place, run
from sluiceway.core.runs.hosts import runs_here

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow

    from sluiceway.core.runs.run import Runs


async def cancel_calls(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:  # noqa: ARG001 - Prefect's names
    """End the jobs of the functions that a flow run, or a flow run inside of it, has called and waits for."""
    runs = runs_here()
    failures = await _end_calls(runs, str(flow_run.id))
    for each in await _inside(flow_run.id):
        failures += await _end_calls(runs, str(each))
    if failures:
        raise failures[0]


def this_flow_run() -> str | None:
    """Give the id of the flow run in which this happens; none outside of one."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None and task.task_run.flow_run_id is not None:
        return str(task.task_run.flow_run_id)
    return None if flow is None or flow.flow_run is None else str(flow.flow_run.id)


async def _end_calls(runs: Runs, flow_run: str) -> list[BaseException]:
    """End all jobs that a flow run waits for, at once, and say why some could not be; its notes stay then."""
    names = callers.waited_for(runs, flow_run)
    ended = await asyncio.gather(*(_cancel(runs, name) for name in names), return_exceptions=True)
    failures = [each for each in ended if each is not None]
    if not failures:
        callers.forget(runs, flow_run)
    return failures


async def _inside(flow_run: UUID) -> list[UUID]:
    """Give the flow runs that were started inside of one, and inside of those."""
    found: list[UUID] = []
    asked = [flow_run]
    async with get_client() as client:
        while asked:
            only = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=asked))
            asked = [each.id for each in await client.read_flow_runs(flow_run_filter=only)]
            found += asked
    return found


async def _cancel(runs: Runs, name: str) -> None:
    try:
        attempt, where = listing.attempt_of(runs, name)
    except RunUnknown:
        # It was noted, and never staged.
        return
    async with reach(place.parse(where), runs) as host:
        job = await host.find(attempt)
        if job is not None:
            await run.cancel(attempt, job, runs=runs, host=host)
