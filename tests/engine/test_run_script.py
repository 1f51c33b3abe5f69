"""The flow run_script in a real Prefect engine: receipt, failure, cancellation, and what the run's page shows."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from prefect.utilities.callables import parameter_schema

from sluiceway.core.errors import MixedInstall, RunFailed
from sluiceway.core.events import ROOT as EVENTS
from sluiceway.flows.run_script import cancel_its_job, run_script
from tests.conftest import ROOT
from tests.core.runs.here import until

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    asked = script(tmp_path, 'echo "$1"; echo "$COLOUR" >made.txt; cat ../inputs/in')
    (tmp_path / "in").write_text("input")
    receipt = await run_script(
        asked,
        ["a b"],
        inputs=[tmp_path / "in"],
        outputs=["*.txt"],
        environment={"COLOUR": "red"},
        out=tmp_path / "out",
    )
    assert receipt.stdout.read_text() == "a b\ninput"
    assert (tmp_path / "out" / "stdout.txt").read_text() == "a b\ninput"
    assert (tmp_path / "out" / "made.txt").read_text() == "red\n"


async def test_a_failed_script_fails_its_flow_with_our_error(tmp_path: Path) -> None:
    text = "echo so far; echo why >&2; exit 7"
    state = await run_script(script(tmp_path, text), out=tmp_path / "out", return_state=True)
    assert state.is_failed()
    with pytest.raises(RunFailed, match=r"(?s)exit code 7.*why"):
        await state.aresult()
    assert (tmp_path / "out" / "stdout.txt").read_text() == "so far\n"


TELLING = """
say() { printf "$1\\n" >>"$SLUICEWAY_MESSAGES"; }
echo heard; echo careful >&2
say '{"kind":"metric","name":"loss","value":0.5,"step":2}'
say '{"kind":"progress","done":3,"of":12,"what":"Big chunks"}'
say '{"kind":"progress","done":12,"of":12,"what":"Big chunks"}'
say '{"kind":"artifact","name":"My page","markdown":"# Hello"}'
say '{"kind":"artifact","name":"rows","table":[{"a":1}]}'
say '{"kind":"link","name":"dask dashboard","url":"http://127.0.0.1:8787/status"}'
say '{"kind":"result","value":{"n":7}}'
say '{"kind":"log","text":"told","level":"warning"}'
say 'oops'
"""


async def artifacts(flow_run_id: UUID) -> dict[str, Any]:
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client:
        return {str(each.key): each.data for each in await client.read_artifacts(artifact_filter=only)}


async def test_what_a_job_says_is_on_its_runs_page(tmp_path: Path) -> None:
    state = await run_script(script(tmp_path, TELLING), out=tmp_path / "out", return_state=True)
    assert (await state.aresult()).value == {"n": 7}
    assert state.state_details.flow_run_id is not None
    messages = await logged(state.state_details.flow_run_id, wanted="receipt written")
    for each in ("heard", "stderr: careful", "loss = 0.5 (step 2)", "result: {'n': 7}", "told"):
        assert messages.count(each) == 1, each
    assert sum("cannot be read, it is not JSON: oops" in message for message in messages) == 1
    shown = await artifacts(state.state_details.flow_run_id)
    assert (shown["run-my-page"], json.loads(shown["run-rows"])) == ("# Hello", [{"a": 1}])
    assert shown["run-progress-big-chunks"] == 100
    assert shown["run-dask-dashboard"] == "[http://127.0.0.1:8787/status](http://127.0.0.1:8787/status)"
    assert "| ending | `succeeded: exit code 0` |" in shown["run-receipt"]


async def test_a_job_that_prints_a_lot_leaves_lines_out_of_the_log_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await run_script(script(tmp_path, "seq 3000"), out=tmp_path / "out")
    shown = sum(message.isdecimal() for message in caplog.messages)
    assert shown < 3000
    assert any(f"{3000 - shown} lines were left out here; all are in" in message for message in caplog.messages)
    assert (tmp_path / "out" / "stdout.txt").read_text().splitlines()[-1] == "3000"


async def test_a_second_run_is_the_first_ones_receipt(tmp_path: Path) -> None:
    asked = script(tmp_path, f"echo once >>{tmp_path}/count")
    first, second = [await run_script(asked, out=tmp_path / "out") for _ in range(2)]
    assert (first == second, (tmp_path / "count").read_text()) == (True, "once\n")


async def test_a_flow_run_that_is_cancelled_ends_its_job(tmp_path: Path) -> None:
    asked = script(tmp_path, f"echo on >{tmp_path}/on; sleep 20")
    running = asyncio.ensure_future(run_script(asked, out=tmp_path / "out", return_state=True))
    await until(tmp_path / "on")
    cancelled = FlowRun(flow_id=uuid4(), parameters={"script": str(asked), "arguments": None})
    async with asyncio.timeout(15):
        await cancel_its_job(run_script, cancelled, Cancelled())
        state = await running
    with pytest.raises(RunFailed, match="cancelled"):
        await state.aresult()


def test_the_form_describes_every_field() -> None:
    schema = parameter_schema(run_script).model_dump()
    assert all(each.get("description") for each in schema["properties"].values())
    assert schema["required"] == ["script"]


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


async def deployments() -> set[str]:
    async with get_client() as client:
        return {each.name for each in await client.read_deployments()}


@pytest.mark.slow
async def test_prefect_deploys_everything_that_prefect_yaml_declares() -> None:
    assert prefect("work-pool", "create", "sluiceway", "--type", "process").returncode == 0
    # Other tests deploy to this server, too.
    others = await deployments()
    done = await asyncio.to_thread(prefect, "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert await deployments() - others == {each["name"] for each in DEPLOYMENTS}


async def test_a_flow_file_of_another_tree_refuses_to_run(tmp_path: Path) -> None:
    flow = tmp_path / "flows" / "run_script.py"
    flow.parent.mkdir()
    flow.write_text((ROOT / "flows" / "run_script.py").read_text())
    loaded: Any = load_flow_from_entrypoint(f"{flow}:run_script", use_placeholder_flow=False)
    with pytest.raises(MixedInstall):
        await loaded(script(tmp_path, "true"))
