"""A flow run whose work another one is at gives its worker's slot back, and is scheduled again a little later.

That is possible where a worker starts flow runs: a run of a deployment. Any other waits where it is, and hears what the
other's job says.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Scheduled

from sluiceway.core.registry.coalesce import leading
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.peers import made_elsewhere, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from prefect.client.schemas.objects import State

    from sluiceway.core.registry.coalesce import Lead
    from sluiceway.core.runs.receipt import RunReceipt

AWAITING_PEER: Final = "AwaitingPeer"
"""The name of the state of a flow run that waits for another one without a slot."""
_AGAIN_AFTER: Final = timedelta(seconds=20)
_SAID: Final = re.compile(r"(\S+) is done by another run, epoch (\d+)")


async def once(key: str, work: Callable[[], Awaitable[RunReceipt]]) -> RunReceipt:
    """Give the receipt of work that this flow run leads, or joins, or has waited for without a slot."""
    runs = runs_here()
    async with leading(key, runs.home, following=await _awaited(key)) as lead:
        await _step_aside(lead)
        if lead.over is not None:
            shared = await asyncio.to_thread(runs.receipt, runs.folder(key))
            if shared is not None and not shared.succeeded:
                return shared
        receipt = await made_elsewhere(lead)
        if receipt is None:
            receipt = await work()
        await settle(lead, receipt)
    return receipt


async def _step_aside(lead: Lead) -> None:
    """Leave the slot to others while another process does the work; this flow run then begins anew."""
    flow_run_id = _rescheduled()
    if not lead.follows or lead.leader is None or flow_run_id is None:
        return
    said = f"{lead.key} is done by another run, epoch {lead.leader.epoch}"
    wanted: State[None] = Scheduled(name=AWAITING_PEER, message=said, scheduled_time=SystemClock().now() + _AGAIN_AFTER)
    async with get_client() as client:
        answer = await client.set_flow_run_state(flow_run_id, wanted)
    if answer.state is not None and answer.state.name == AWAITING_PEER:
        raise Pause(state=answer.state)


async def _awaited(key: str) -> int | None:
    """Give the epoch of the leader for whom this flow run has waited before it began anew."""
    flow_run_id = _rescheduled()
    if flow_run_id is None:
        return None
    async with get_client() as client:
        states = await client.read_flow_run_states(flow_run_id)
    waited = [_SAID.fullmatch(each.message or "") for each in states if each.name == AWAITING_PEER]
    return next((int(found[2]) for found in reversed(waited) if found is not None and found[1] == key), None)


def _rescheduled() -> UUID | None:
    """Give this flow run, if a worker would start it again; none where nobody would."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    return context.flow_run.id if context.flow_run.parent_task_run_id is None else None
