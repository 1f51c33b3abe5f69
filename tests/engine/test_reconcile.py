"""Reconciling as a flow: it ends flow runs in name only, and flow runs that wait for a peer give their slot back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Pending, Running

from sluiceway.core.errors import RunFailed
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.runs import runs_in
from sluiceway.core.runs.hosts import runs_here
from sluiceway.flows.reconcile import reconcile
from sluiceway.flows.run_script import run_script
from sluiceway.tasks import peers
from sluiceway.tasks.zombies import end_zombies
from tests.conftest import User


@pytest.fixture(autouse=True)
def _home(user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))


async def flow_run_of(text: str, folder: Path) -> UUID:
    (folder / "script.sh").write_text(text)
    state = await run_script(folder / "script.sh", out=folder / "out", return_state=True)
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


async def test_who_asked_for_a_run_is_known(user: User) -> None:
    flow_run_id = await flow_run_of("echo hello", user.folder)
    async with await registry_at(runs_here().home) as database, database.reading() as connection:
        (known,) = await runs_in(connection, flow_run_id=str(flow_run_id))
    assert (known.attempt.state, known.attempt.task_run_id is not None) == ("succeeded", True)


async def test_a_flow_run_that_runs_in_name_only_is_ended_when_its_work_is_over(user: User) -> None:
    """Red on: tasks/zombies.py: `await client.set_flow_run_state(flow_run_id, Crashed(message=said), force=True)` ->
    `pass`.
    """
    flow_run_id = await flow_run_of("echo hello", user.folder)
    async with get_client() as client:
        # As it stays when its process is killed.
        await client.set_flow_run_state(flow_run_id, Running(), force=True)
        assert await reconcile() == []
        async with await registry_at(runs_here().home) as database:
            (said,) = await end_zombies(database, runs_here(), grace=timedelta(0))
            assert await end_zombies(database, runs_here(), grace=timedelta(0)) == []
        state = (await client.read_flow_run(flow_run_id)).state
    assert "its process is gone" in said
    assert state is not None
    assert (state.is_crashed(), "succeeded" in str(state.message)) == (True, True)


async def deployed_run(asked: dict[str, Any]) -> UUID:
    """A flow run such as a worker would start."""
    async with get_client() as client:
        deployment = await client.create_deployment(await client.create_flow(run_script), name="deployed")
        parameters = {name: str(each) if isinstance(each, Path) else each for name, each in asked.items()}
        return (await client.create_flow_run_from_deployment(deployment, parameters=parameters)).id


async def execute(flow_run_id: UUID, asked: dict[str, Any]) -> Any:
    """Do what a worker does when the flow run's time has come."""
    async with get_client() as client:
        await client.set_flow_run_state(flow_run_id, Pending(), force=True)
        flow_run = await client.read_flow_run(flow_run_id)
    return await run_flow_async(run_script, flow_run=flow_run, parameters=asked)


async def test_a_flow_run_gives_its_slot_back_while_another_one_does_its_work_and_shares_how_that_ended(
    user: User,
) -> None:
    """Only flow runs of deployments can: a worker starts them again."""
    (user.folder / "script.sh").write_text('echo started >>"$1"; until [ -e "$1.go" ]; do sleep 0.1; done; exit 9')
    asked: dict[str, Any] = {
        "script": user.folder / "script.sh",
        "arguments": [str(user.folder / "count")],
        "out": user.folder / "out",
    }
    leading = asyncio.ensure_future(run_script(**asked, return_state=True))
    while not (user.folder / "count").exists():
        await asyncio.sleep(0.05)
    follower = await deployed_run(asked)
    with pytest.raises(Pause):
        await execute(follower, asked)
    async with get_client() as client:
        state = (await client.read_flow_run(follower)).state
    assert state is not None
    assert (state.name, state.is_scheduled()) == (peers.AWAITING_PEER, True)
    (user.folder / "count.go").touch()
    assert (await leading).is_failed()
    with pytest.raises(RunFailed, match="exit code 9"):
        await execute(follower, asked)
    assert (user.folder / "count").read_text() == "started\n"
