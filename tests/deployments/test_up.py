"""`sluiceway up` as a user runs it: pages first, schedules that go by themselves, nothing left when it ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator

import httpx
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from sluiceway.deployments.direct_or_flow import UP
from sluiceway.deployments.server import address
from tests.deployments.page import PAGE
from tests.deployments.runs import asked_for, client_of, runs_of, scheduled_run
from tests.deployments.upped import Up, upped

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with upped(tmp_path_factory.mktemp("up"), "--no-run") as started:
        yield started


def test_the_first_line_says_where_the_pages_are_and_every_verb_finds_the_server(up: Up) -> None:
    assert up.answer.splitlines()[0] == f"Prefect: {up.url}"
    assert json.loads((up.home / UP).read_text()) == {"api": f"{up.url}/api"}


def test_what_it_says_is_what_the_page_about_deploying_shows(up: Up) -> None:
    *_, shown = re.findall(r"^```\n(Prefect: .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    said = [up.answer.splitlines()[0].replace(up.port, "4200"), *up.remarks.splitlines()[:2]]
    assert said == shown.splitlines()


def test_the_pages_ask_the_port_that_they_came_from(up: Up) -> None:
    assert httpx.get(f"{up.url}/ui-settings").json()["api_url"] == f"{up.url}/api"


def test_registering_again_changes_nothing(up: Up) -> None:
    done = up.sluiceway("register", "--json")
    assert done.returncode == 0, done.stderr
    registered = json.loads(done.stdout)
    assert {each["change"] for each in registered} == {"unchanged"}
    assert {each["kind"] for each in registered} == {"block type", "block", "work pool", "deployment", "automation"}


async def test_whoever_is_to_be_told_is_named_in_automations_that_are_there_already(up: Up) -> None:
    async with client_of(up.url) as client:
        await CustomWebhookNotificationBlock(name="ops", url="http://127.0.0.1:9").asave("ops", client=client)
    for change in ("changed", "unchanged"):
        done = up.sluiceway("register", "--notify", "custom-webhook/ops", "--json")
        assert done.returncode == 0, done.stderr
        tell = [each["change"] for each in json.loads(done.stdout) if each["kind"] == "automation"]
        assert tell == ["unchanged", "unchanged", change, change]


def test_a_port_in_use_is_an_error_that_names_the_process(up: Up) -> None:
    done = up.sluiceway("up", "--port", up.port)
    assert done.returncode == 3
    assert f"is taken by process {up.daemon('server')} (" in done.stderr
    assert done.stdout == ""


def test_a_second_one_in_the_same_home_is_refused(up: Up) -> None:
    done = up.sluiceway("up", "--port", address().rpartition(":")[2])
    assert done.returncode == 2
    assert f"process {up.program.pid} " in done.stderr


async def test_a_scheduled_run_goes_by_itself_from_end_to_end(up: Up) -> None:
    run = await scheduled_run(up.url, "verify/verify")
    assert run.state is not None
    assert (run.state.name, run.auto_scheduled) == ("Completed", True)


async def test_a_refresh_that_crashed_starts_again_by_itself(up: Up) -> None:
    async with client_of(up.url) as client, asyncio.timeout(100):
        crashed = await asked_for(client, "refresh-catalog/refresh")
        await client.set_flow_run_state(crashed.id, Crashed(message="as if its node were gone"), force=True)
        while len(runs := await by_hand(client, "refresh-catalog/refresh")) < 2:
            await asyncio.sleep(0.5)
    assert crashed.id in {each.id for each in runs}


async def by_hand(client: PrefectClient, deployment: str) -> list[FlowRun]:
    return [each for each in await runs_of(client, deployment) if not each.auto_scheduled]


def test_ctrl_c_leaves_no_process(up: Up) -> None:
    """Red on: deployments/up.py: `ending.push_async_callback(worker.stop_with_all, clock)` -> `pass`."""
    before = up.processes()
    assert {up.daemon("server"), up.daemon("worker")} < set(before)
    up.program.send_signal(signal.SIGINT)
    assert up.program.wait(timeout=90) == 0
    assert up.processes() == []
    assert not (up.home / UP).exists()
