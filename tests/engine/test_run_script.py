"""The flow run_script in a real Prefect engine: result, failure, events in the run's log."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL

from sluiceway.core.errors import CommandFailed, MixedInstall
from sluiceway.core.events import ROOT as EVENTS
from sluiceway.flows.run_script import run_script
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


def script(tmp_path: Path, text: str) -> Path:
    written = tmp_path / "script.sh"
    written.write_text(text)
    return written


async def logged(flow_run_id: UUID, *, wanted: str) -> list[str]:
    """The messages of a flow run's log, once one of them is there; the engine sends them a little later."""
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client, asyncio.timeout(30):
        while True:
            messages = [each.message for each in await client.read_logs(only)]
            if any(wanted in message for message in messages):
                return messages
            await asyncio.sleep(0.1)


async def test_a_script_runs_as_a_flow_and_its_output_is_kept(tmp_path: Path) -> None:
    result = await run_script(script(tmp_path, 'echo "$1"'), ["a b"], tmp_path / "out")
    assert result.read_text() == "a b\n"


async def test_a_failed_script_fails_its_flow_with_our_error(tmp_path: Path) -> None:
    state = await run_script(script(tmp_path, "exit 7"), [], tmp_path / "out", return_state=True)
    assert state.is_failed()
    with pytest.raises(CommandFailed, match="exit code 7"):
        await state.aresult()


async def test_what_core_tells_is_in_the_runs_log(tmp_path: Path) -> None:
    state = await run_script(script(tmp_path, "true"), [], tmp_path / "out", return_state=True)
    assert state.state_details.flow_run_id is not None
    messages = await logged(state.state_details.flow_run_id, wanted="script ended")
    assert sum("script ended exit_code=0" in message for message in messages) == 1


DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_every_deployments_entrypoint_loads(deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loaded: Flow[..., object] = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert loaded.fn.__doc__


def prefect(*arguments: str) -> subprocess.CompletedProcess[str]:
    api = PREFECT_API_URL.value()
    assert api
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    env = {**os.environ, "PREFECT_API_URL": api}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
async def test_prefect_deploys_everything_that_prefect_yaml_declares() -> None:
    assert prefect("work-pool", "create", "sluiceway", "--type", "process").returncode == 0
    done = await asyncio.to_thread(prefect, "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    async with get_client() as client:
        deployed = {each.name for each in await client.read_deployments()}
    assert deployed == {each["name"] for each in DEPLOYMENTS}


async def test_a_flow_file_of_another_tree_refuses_to_run(tmp_path: Path) -> None:
    flow = tmp_path / "flows" / "run_script.py"
    flow.parent.mkdir()
    flow.write_text((ROOT / "flows" / "run_script.py").read_text())
    loaded: Any = load_flow_from_entrypoint(f"{flow}:run_script", use_placeholder_flow=False)
    with pytest.raises(MixedInstall):
        await loaded(script(tmp_path, "true"), [], tmp_path / "out")
