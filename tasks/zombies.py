"""Flow runs that Prefect takes for running although nobody runs them: whose work is over, and has been for a while.

Prefect learns of a run's end from its process. Where that was killed, the run stays Running until somebody looks; the
registry knows which run asked for which work, and how that ended.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from sluiceway.core.registry.claims import Claims, State
from sluiceway.core.registry.home import is_gone
from sluiceway.core.registry.moments import moment, time_of
from sluiceway.core.registry.runs import OVER, runs_in

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.runs import Listed
    from sluiceway.core.runs.run import Runs

GRACE: Final = timedelta(minutes=10)
"""For how long a flow run may be busy with what comes after its work, such as copying what was made."""
_LOOKED_BACK: Final = timedelta(days=7)


async def end_zombies(database: Database, runs: Runs, *, grace: timedelta = GRACE) -> list[str]:
    """Mark flow runs as crashed that run in name only, and give what was said of each."""
    now = runs.clock.now()
    async with database.reading() as connection:
        asked = await runs_in(connection, states=OVER, since=moment(now - _LOOKED_BACK))
    said = []
    async with get_client() as client:
        for each in _last_of_each_flow_run(asked):
            ended = time_of(each.attempt.ended_at or each.attempt.intended_at)
            if now - ended >= grace and not await _is_led(database, runs, each):
                said += await _end(client, each)
    return said


def _last_of_each_flow_run(asked: list[Listed]) -> list[Listed]:
    """Give of every flow run the work that it asked for last; while that goes on, it is nobody's zombie."""
    last: dict[str, Listed] = {}
    for each in asked:
        if each.attempt.flow_run_id is not None:
            last.setdefault(each.attempt.flow_run_id, each)
    return list(last.values())


async def _is_led(database: Database, runs: Runs, asked: Listed) -> bool:
    standing = await Claims(database, clock=runs.clock).standing(asked.run.key)
    return standing is not None and standing.state is State.RUNNING and not is_gone(standing.owner, runs.home)


async def _end(client: PrefectClient, asked: Listed) -> list[str]:
    flow_run_id = UUID(asked.attempt.flow_run_id or "")
    try:
        flow_run = await client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return []
    if flow_run.state is None or not flow_run.state.is_running():
        return []
    said = (
        f"its process is gone. The work that it asked for {asked.attempt.state}, and is kept: "
        f"{asked.run.key}, attempt {asked.attempt.number}; the same flow run again takes it from there"
    )
    await client.set_flow_run_state(flow_run_id, Crashed(message=said), force=True)
    return [f"flow run {flow_run.name}: {said}"]
