"""A deployed sluiceway on real servers and databases: schedules go by themselves, and what is killed recovers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun

from sluiceway.deployments.processes import started_by
from tests.conftest import ROOT
from tests.deployments.runs import asked_for, client_of, has_ended, is_running, runs_of, scheduled_run, until
from tests.deployments.upped import Up
from tests.refreshing import Invented

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]

SCRIPT = """
echo started >>"$1"
sleep 15
echo done >result.txt
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path, "--no-run")
    try:
        yield started.until("Ctrl-C ends it")
    finally:
        started.wipe()


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
    invented = Invented.made(tmp_path / "invented")
    folder = tmp_path / "user"
    folder.mkdir()
    options = ["--no-run", *([] if database is None else ["--database", database])]
    with invented.catalogue().served() as upstream:
        catalogue = {"SLUICEWAY_CATALOG_API": upstream.source.api, "SLUICEWAY_CATALOG_FILES": upstream.source.files}
        up = Up(folder, *options, SLUICEWAY_OFFLINE="0", **catalogue)
        try:
            up.until("Ctrl-C ends it")
            prefect(up, "deploy", "--all")
            wish = {"panel": str(invented.panel), "out": str(folder / "out"), "publish": False}
            async with client_of(up.url) as client:
                known = await client.read_deployment_by_name("refresh-catalog/refresh")
            prefect(up, "deploy", "--name", "refresh", "--param", f"options={json.dumps(wish)}")
            assert known.entrypoint == "flows/refresh_catalog.py:refresh_catalog"
            assert said(await scheduled_run(up.url, "refresh-catalog/refresh")) == ("Completed", True)
        finally:
            up.wipe()
    assert (folder / "out" / "own" / "scores.parquet").is_file()


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


@pytest.mark.parametrize("alone", [True, False], ids=["the worker alone", "the worker and its runs"])
async def test_when_the_worker_is_killed_its_work_is_not_lost_and_no_run_stays_running_in_name_only(
    up: Up, alone: bool
) -> None:
    """Red on: deployments/up.py: `await each.start()` -> `pass`."""
    async with client_of(up.url) as client:
        run = await until(client, await asked_for(client, "run-script/run-script", **run_of_the_script(up)), is_running)
        while not (up.folder / "count").exists():
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
