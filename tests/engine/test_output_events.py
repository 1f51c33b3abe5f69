"""Outputs are events of Prefect: what was made, what was there already and why, what was damaged, what was mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.schemas.automations import AutomationCore
from prefect.events.worker import EventsWorker

from sluiceway.core.events import ROOT as EVENTS
from sluiceway.flows.reconcile import reconcile
from sluiceway.flows.run_script import run_script
from sluiceway.flows.score_reference import score_reference
from sluiceway.tasks.run_events import CACHE_DAMAGED, CACHE_HIT, PUBLISHED, RECOVERED, announce
from tests.conftest import ROOT, User
from tests.engine.test_score_reference import Invented, artifacts, invented

__all__ = ["invented"]

MATERIALISED = "prefect.asset.materialization.succeeded"
NOT_MADE = "prefect.asset.materialization.failed"
OURS = {PUBLISHED, CACHE_HIT, CACHE_DAMAGED, RECOVERED, MATERIALISED, NOT_MADE}


@pytest.fixture(autouse=True)
def _handlers(user: User) -> Iterator[None]:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


async def events(asked: dict[str, Any], *, wanted: int, names: Iterable[str] = OURS) -> list[dict[str, Any]]:
    """Events as the server has them, oldest first, once there are so many: it writes them down a little later."""
    await asyncio.to_thread(EventsWorker.instance().wait_until_empty)
    body = {"filter": {**asked, "event": {"name": sorted(names)}, "order": "ASC"}, "limit": 50}
    async with get_client() as client, asyncio.timeout(30):
        while True:
            found: list[dict[str, Any]] = (await client._client.post("/events/filter", json=body)).json()["events"]
            if len(found) >= wanted:
                return found
            await asyncio.sleep(0.1)


async def events_of(state: Any, *, wanted: int) -> dict[str, dict[str, Any]]:
    """The payloads of a flow run's events, by their names."""
    about = {"related": {"id": [f"prefect.flow-run.{state.state_details.flow_run_id}"]}}
    return {each["event"]: each for each in await events(about, wanted=wanted)}


async def task_runs(state: Any) -> list[str]:
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        return [each.name.rpartition("-")[0] for each in await client.read_task_runs(flow_run_filter=only)]


async def scripted(user: User, text: str = "cat ../inputs/in >made.txt") -> Any:
    (user.folder / "script.sh").write_text(text)
    (user.folder / "in").write_text("input")
    asked: dict[str, Any] = {"inputs": [user.folder / "in"], "outputs": ["made.txt"], "out": user.folder / "out"}
    return await run_script(user.folder / "script.sh", return_state=True, **asked)


async def test_a_flow_that_is_run_twice_does_nothing_the_second_time_and_says_why(user: User) -> None:
    first, second = await scripted(user), await scripted(user)
    folder = str((await first.aresult()).folder)
    made, found = await events_of(first, wanted=2), await events_of(second, wanted=1)
    assert made.keys() == {PUBLISHED, MATERIALISED}
    assert made[PUBLISHED]["payload"]["output"] == folder
    read = {each["prefect.resource.id"] for each in made[MATERIALISED]["related"]}
    assert {f"file://{user.folder}/in", f"file://{user.folder}/script.sh"} <= read
    assert found.keys() == {CACHE_HIT}
    assert (found[CACHE_HIT]["payload"]["output"], found[CACHE_HIT]["payload"]["attempt"]) == (folder, 1)
    assert "the same work on the same contents has succeeded" in found[CACHE_HIT]["payload"]["reason"]
    assert {"submit_job", "await_job", "collect_receipt"}.isdisjoint(await task_runs(second))
    for each in (first, second):
        page = (await artifacts(each.state_details.flow_run_id))["provenance"].data
        assert f"| content key | `{(await each.aresult()).key}` |" in str(page)
        assert f"└─ input: in [input] {user.folder}/in" in str(page)


async def test_a_damaged_output_is_told_kept_aside_and_made_again(user: User) -> None:
    """Red on: core/runs/run.py: `if await asyncio.to_thread(lambda: receipt.is_whole):` -> `if True:`."""
    receipt = await (await scripted(user)).aresult()
    damaged = receipt.path(receipt.outputs[0])
    damaged.write_text("forged")
    again = await scripted(user)
    told = await events_of(again, wanted=3)
    assert told.keys() == {CACHE_DAMAGED, PUBLISHED, MATERIALISED}
    assert ((await again.aresult()).attempt, damaged.read_text()) == (2, "forged")
    assert (user.folder / "out" / "made.txt").read_text() == "input"


async def test_a_run_that_fails_publishes_nothing(user: User) -> None:
    told = await events_of(await scripted(user, "exit 3"), wanted=1)
    assert told.keys() == {NOT_MADE}


async def test_what_was_recovered_is_told(user: User) -> None:
    left = user.folder / "home" / "runs" / ("ab" * 32) / "a1"
    left.mkdir(parents=True)
    state = await reconcile(return_state=True)
    assert not left.exists()
    told = await events_of(state, wanted=1)
    assert told[RECOVERED]["payload"]["what"].startswith("half-staged attempt removed: ")


async def test_scores_that_are_there_are_told_and_those_of_the_second_run_are_not_scored(
    invented: Invented, user: User
) -> None:
    first, second = [
        await asyncio.to_thread(
            score_reference, invented.panel, [invented.scores], user.folder / out, limit=4, return_state=True
        )
        for out in ("first", "second")
    ]
    made, found = await events_of(first, wanted=2), await events_of(second, wanted=3)
    assert made.keys() == {PUBLISHED, MATERIALISED}
    assert found.keys() == {PUBLISHED, MATERIALISED, CACHE_HIT}
    summary = await first.aresult()
    assert found[CACHE_HIT]["payload"]["scores"] == summary.n_total - summary.n_failed


EXAMPLES = ROOT / "deployments" / "more-automations"
GOES_OFF = {"cache-damaged": (CACHE_DAMAGED, 3), "output-published": (PUBLISHED, 1)}


def test_every_example_of_an_automation_is_tried() -> None:
    assert {each.stem for each in EXAMPLES.iterdir()} == GOES_OFF.keys()


@pytest.mark.parametrize("name", GOES_OFF)
async def test_an_example_of_an_automation_goes_off(name: str) -> None:
    event, times = GOES_OFF[name]
    wanted = AutomationCore.model_validate(yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text()))
    async with get_client() as client:
        automation = await client.create_automation(wanted)
    # Its events come after it is known to whoever evaluates them.
    await asyncio.sleep(1)
    for number in range(times):
        announce(event, f"output./data/{name}", number=number)
    about = {"resource": {"id": [f"prefect.automation.{automation}"]}}
    (gone_off,) = await events(about, wanted=1, names={"prefect.automation.triggered"})
    assert gone_off["resource"]["prefect.resource.name"] == wanted.name
