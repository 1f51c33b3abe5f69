"""A deployed sluiceway on real servers and databases: schedules go by themselves, and what is killed recovers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from sluiceway.deployments.automations import automations, changed
from sluiceway.deployments.declared import declared
from sluiceway.deployments.processes import started_by
from sluiceway.deployments.server import asynchronous
from tests.conftest import ROOT
from tests.deployments.refreshed import DEPLOYMENT as REFRESH
from tests.deployments.refreshed import refreshed
from tests.deployments.runs import PATIENCE, asked_for, client_of, has_ended, is_running, runs_of, scheduled_run, until
from tests.deployments.upped import Up, upped

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]

SCRIPT = """
echo $$ >"$1.process"
echo started >>"$1"
sleep 15
echo done >result.txt
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with upped(tmp_path, "--no-run") as started:
        yield started


def prefect(up: Up, *words: str) -> None:
    variables = {**up.variables, "PREFECT_API_URL": f"{up.url}/api"}
    command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def said(run: FlowRun) -> tuple[str | None, bool]:
    assert run.state is not None
    return run.state.name, run.auto_scheduled


async def test_a_refresh_that_prefect_deployed_and_a_schedule_started_goes_by_itself_from_end_to_end(
    tmp_path: Path, database: str | None
) -> None:
    with refreshed(tmp_path, *([] if database is None else ["--database", database])) as site:
        prefect(site.up, "deploy", "--all")
        prefect(site.up, "deploy", "--name", "refresh", "--param", f"options={json.dumps(site.wish)}")
        async with client_of(site.up.url) as client:
            known = await client.read_deployment_by_name(REFRESH)
        assert known.entrypoint == "flows/refresh_catalog.py:refresh_catalog"
        assert said(await scheduled_run(site.up.url, REFRESH)) == ("Completed", True)
        assert site.scores.is_file()


@pytest.mark.postgres
def test_a_database_that_the_environment_names_is_the_server_s_and_no_file_is(tmp_path: Path, postgres: str) -> None:
    """As the service gets it, from a file of secrets."""
    up = Up(tmp_path, "--no-run", PREFECT_SERVER_DATABASE_CONNECTION_URL=asynchronous(postgres))
    try:
        up.until("Ctrl-C ends it")
        counted = ["psql", "-At", "-c", "SELECT count(*) FROM deployment", postgres]
        assert subprocess.run(counted, check=True, capture_output=True, text=True).stdout == f"{len(declared())}\n"
        assert list((up.home / "prefect").glob("*.db")) == []
    finally:
        up.wipe()


async def test_a_refresh_goes_on_when_the_server_is_killed_in_its_middle(tmp_path: Path) -> None:
    """Red on: deployments/up.py: `await each.start()` -> `pass`."""
    with refreshed(tmp_path) as site:
        async with client_of(site.up.url) as client:
            run = await site.in_its_middle(client)
            os.killpg(site.up.daemon("server"), signal.SIGKILL)
            site.up.until("the Prefect server has died")
            site.upstream.released.set()
            ended = await until(client, run, has_ended)
        assert said(ended)[0] == "Completed"
        assert site.scores.is_file()


async def let_silence_be_short(client: PrefectClient) -> None:
    """Wait for signs of life not as long as the automation does that `up` has made, and change nothing else of it."""
    (known,) = await client.read_automations_by_name(automations(None)[0].name)
    trigger = known.trigger.model_copy(update={"within": timedelta(seconds=80)})
    await client.update_automation(known.id, changed(known, trigger=trigger))


async def test_a_refresh_that_was_killed_with_its_worker_is_known_as_crashed_and_done_again_by_automations_alone(
    tmp_path: Path,
) -> None:
    """Red on: deployments/automations.py: `state=StateType.CRASHED,` -> `state=StateType.FAILED,`."""
    # Prefect takes nothing below half a minute.
    with refreshed(tmp_path, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as site:
        async with client_of(site.up.url) as client:
            await let_silence_be_short(client)
            lived = await until(client, await asked_for(client, "reconcile/reconcile"), has_ended)
            run = await site.in_its_middle(client)
            family = started_by(site.up.daemon("worker"))
            os.killpg(site.up.daemon("worker"), signal.SIGKILL)
            for each in family:
                each.end(signal.SIGKILL)
            site.upstream.released.set()
            crashed = await until(client, run, has_ended)
            assert crashed.state is not None
            assert crashed.state.is_crashed()
            assert "has given no sign of life" in str(crashed.state.message)
            again = await until(client, await the_next(client, run), has_ended)
            lived = await client.read_flow_run(lived.id)
        assert [said(each)[0] for each in (again, lived)] == ["Completed", "Completed"]
        assert site.scores.is_file()


async def the_next(client: PrefectClient, before: FlowRun) -> FlowRun:
    """Give the run of a refresh that no schedule has started, once there is another than this one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for each in await runs_of(client, REFRESH):
                if each.id != before.id and not each.auto_scheduled:
                    return each
            await asyncio.sleep(0.5)


def run_of_the_script(up: Up) -> dict[str, Any]:
    (up.folder / "script.sh").write_text(SCRIPT)
    return {
        "script": str(up.folder / "script.sh"),
        "arguments": [str(up.folder / "count")],
        "outputs": ["result.txt"],
        "out": str(up.folder / "out"),
    }


async def test_a_run_lives_on_when_the_server_is_killed_in_its_middle(up: Up) -> None:
    """Red on: deployments/up.py: `await each.start()` -> `pass`."""
    async with client_of(up.url) as client:
        run = await until(client, await asked_for(client, "run-script/run-script", **run_of_the_script(up)), is_running)
        os.killpg(up.daemon("server"), signal.SIGKILL)
        up.until("the Prefect server has died")
        ended = await until(client, run, has_ended)
    assert said(ended)[0] == "Completed"
    assert (up.folder / "count").read_text() == "started\n"


def is_on_its_own(up: Up) -> bool:
    """Whether the script runs and hangs on nobody any more: what has started it comes back a moment later."""
    if not (up.folder / "count").exists():
        return False
    process = int((up.folder / "count.process").read_text())
    return process not in {each.id for each in started_by(up.daemon("worker"))}


@pytest.mark.parametrize("alone", [True, False], ids=["the worker alone", "the worker and its runs"])
async def test_when_the_worker_is_killed_its_work_is_not_lost_and_no_run_stays_running_in_name_only(
    up: Up, alone: bool
) -> None:
    """Red on: deployments/up.py: `await each.start()` -> `pass`."""
    async with client_of(up.url) as client:
        run = await until(client, await asked_for(client, "run-script/run-script", **run_of_the_script(up)), is_running)
        while not is_on_its_own(up):
            await asyncio.sleep(0.1)
        family = [] if alone else started_by(up.daemon("worker"))
        os.killpg(up.daemon("worker"), signal.SIGKILL)
        for each in family:
            each.end(signal.SIGKILL)
        up.until("the worker has died")
        again = await until(
            client, await asked_for(client, "run-script/run-script", **run_of_the_script(up)), has_ended
        )
        mended = await until(client, await asked_for(client, "reconcile/reconcile", zombie_minutes=0), has_ended)
        ended = await until(client, run, has_ended)
        assert len(await runs_of(client, "run-script/run-script")) == 2
    assert [said(each)[0] for each in (again, mended)] == ["Completed", "Completed"]
    # Without its worker, a run's process may get through to its end.
    assert said(ended)[0] in ({"Completed", "Crashed"} if alone else {"Crashed"})
    assert (up.folder / "count").read_text() == "started\n"
    assert (up.folder / "out" / "result.txt").read_text() == "done\n"
