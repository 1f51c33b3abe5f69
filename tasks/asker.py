"""Tells core which Prefect run asks for something, so that it is kept with what was asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect.context import FlowRunContext, TaskRunContext

from sluiceway.core.registry.asker import Asker, asking

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def asked_here() -> Iterator[None]:
    """Let what is asked for in this block be asked for by the task run and flow run that it is in."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run_id = None if flow is None or flow.flow_run is None else str(flow.flow_run.id)
    if flow_run_id is None and task is not None and task.task_run.flow_run_id is not None:
        flow_run_id = str(task.task_run.flow_run_id)
    asker = Asker(flow_run_id=flow_run_id, task_run_id=None if task is None else str(task.task_run.id))
    token = asking.set(asker)
    try:
        yield
    finally:
        asking.reset(token)
