"""A deployed run whose work another one is at leaves its worker's slot to others: by a real server and worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun

from sluiceway.deployments.register import POOL
from sluiceway.tasks.peers import AWAITING_PEER
from tests.deployments.runs import asked_for, client_of, has_ended, until
from tests.deployments.upped import Up, upped

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]

LONG = 'echo started >>"$1"; until [ -e "$1.go" ]; do sleep 0.1; done\n'


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with upped(tmp_path, "--no-run") as started:
        try:
            yield started
        finally:
            (tmp_path / "count.go").touch()


def awaits_a_peer(run: FlowRun) -> bool:
    return run.state is not None and (run.state.name == AWAITING_PEER or run.state.is_final())


def asked(up: Up, name: str, text: str) -> dict[str, Any]:
    (up.folder / name).write_text(text)
    out = str(up.folder / f"out-{name}")
    return {"script": str(up.folder / name), "arguments": [str(up.folder / "count")], "out": out}


async def test_a_follower_leaves_its_slot_to_another_run_and_then_has_its_leaders_result(up: Up) -> None:
    async with client_of(up.url) as client:
        # One slot for who leads, and one for whoever comes.
        await client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=2))
        leader = await asked_for(client, "run-script/run-script", **asked(up, "long.sh", LONG))
        while not (up.folder / "count").exists():
            await asyncio.sleep(0.1)
        follower = await asked_for(client, "run-script/run-script", **asked(up, "long.sh", LONG))
        assert not has_ended(await until(client, follower, awaits_a_peer))
        short = await until(
            client, await asked_for(client, "run-script/run-script", **asked(up, "short.sh", "true\n")), has_ended
        )
        assert not has_ended(await client.read_flow_run(leader.id))
        (up.folder / "count.go").touch()
        ended = [short, *[await until(client, each, has_ended) for each in (leader, follower)]]
    assert [each.state_name for each in ended] == ["Completed"] * 3
    assert (up.folder / "count").read_text() == "started\n"
