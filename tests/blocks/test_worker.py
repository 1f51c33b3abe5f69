"""The slurm worker without a server: its form, what is passed on to a node, and what a job's end means."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Paused, Pending, Running, Scheduled
from pydantic import ValidationError

from sluiceway.blocks import worker_reach
from sluiceway.blocks.worker import SlurmWorker
from sluiceway.blocks.worker_ends import state_after, status_of
from sluiceway.blocks.worker_notes import Note, Notes
from sluiceway.blocks.worker_order import SlurmJobConfiguration, request_for, require_api, submission_of
from sluiceway.blocks.worker_told import Teller
from sluiceway.core.errors import OutputBusy, PlaceUnusable, ResourcesInvalid, SluicewayError
from sluiceway.core.runs.host import Waiting
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.run import Line
from sluiceway.core.slurm.job import EndingKind
from tests.clocks import SteppedClock
from tests.conftest import ROOT

FLOW_RUN = FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-owl")
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def configured(**variables: Any) -> SlurmJobConfiguration:
    return SlurmJobConfiguration(**{"cluster": "west", **variables})


def test_every_field_of_the_form_says_what_it_is_and_reaches_the_job() -> None:
    template = SlurmWorker.get_default_base_job_template()
    variables = template["variables"]
    assert [name for name, each in variables["properties"].items() if not each.get("description")] == []
    assert set(template["job_configuration"]) == set(variables["properties"])
    assert variables["required"] == ["cluster"]
    grace = variables["properties"]["cancel_grace_seconds"]
    assert (grace["minimum"], grace["maximum"]) == (0, 3600)
    assert {"labels", "name"} & set(variables["properties"]) == set()
    assert json.loads(json.dumps(template)) == template


def test_the_page_names_every_job_variable() -> None:
    page = (ROOT / "docs" / "slurm-worker.md").read_text()
    variables = SlurmWorker.get_default_base_job_template()["variables"]["properties"]
    assert [each for each in variables if f"| `{each}` |" not in page] == []


async def test_what_a_deployment_says_becomes_the_order() -> None:
    values = {"cluster": "west", "resources": {"memory": "4G", "time": "2h"}, "env": {"A": 1}, "working_dir": "/data"}
    template = SlurmWorker.get_default_base_job_template()
    # It is asked for blocks that job variables refer to, and these refer to none.
    nobody: Any = object()
    found: SlurmJobConfiguration = await SlurmJobConfiguration.from_template_and_values(template, values, client=nobody)
    assert found.resources.options == ("--mem=4096M", "--time=0-02:00:00")
    assert (found.env, found.working_dir, found.check_api) == ({"A": "1"}, "/data", True)


@pytest.mark.parametrize(
    ("variables", "error", "said"),
    [
        ({"cluster": ""}, ValidationError, "at least 1 character"),
        ({"cluster": "no such name!"}, PlaceUnusable, "no place's name"),
        ({"cluster": "dask"}, PlaceUnusable, "Dask has none of"),
        ({"resources": {"memroy": "4G"}}, ResourcesInvalid, "did you mean 'memory'"),
        ({"resources": {"time": 12}}, ResourcesInvalid, "with its units"),
        ({"resources": {"cpus": 0}}, ValidationError, "greater than or equal to 1"),
        ({"working_dir": "data"}, ValidationError, "should match pattern"),
        ({"api_url": "head:4200"}, ValidationError, "should match pattern"),
        ({"cancel_grace_seconds": -1}, ValidationError, "greater than or equal to 0"),
        ({"env": {"A-B": "x"}}, SluicewayError, "no shell can set it"),
    ],
)
def test_a_job_variable_that_makes_no_sense_is_refused(
    variables: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        configured(**variables)


async def carried(configuration: SlurmJobConfiguration) -> str:
    request = await request_for(configuration, FLOW_RUN.id, uuid4())
    return request.carried["variables.sh"].decode()


async def test_a_node_gets_what_a_client_needs_and_nothing_of_this_machine(tmp_path: Path) -> None:
    ours = {PREFECT_API_URL: "http://head/api", PREFECT_API_KEY: "it's secret", PREFECT_HOME: tmp_path}
    with temporary_settings(ours):
        configuration = configured(env={"WORD": "a b"})
        configuration.prepare_for_flow_run(FLOW_RUN)
    text = await carried(configuration)
    assert "export PREFECT_API_URL=http://head/api\n" in text
    assert f"export PREFECT__FLOW_RUN_ID={FLOW_RUN.id}\n" in text
    assert "export WORD='a b'\n" in text
    assert str(tmp_path) not in text
    assert "PREFECT_SERVER" not in text


async def test_a_secret_is_no_part_of_what_names_or_tells_of_a_run() -> None:
    with temporary_settings({PREFECT_API_URL: "http://head/api", PREFECT_API_KEY: "sesame"}):
        configuration = configured()
        configuration.prepare_for_flow_run(FLOW_RUN)
    submission = uuid4()
    request = await request_for(configuration, FLOW_RUN.id, submission)
    assert "sesame" in request.carried["variables.sh"].decode()
    assert "sesame" not in repr(request) + request.order(attempt=1).decode() + request.what
    plain = await request_for(configured(command="true"), FLOW_RUN.id, submission)
    assert request.key == plain.key


async def test_the_url_for_nodes_is_the_one_that_was_given() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        configuration = configured(api_url="http://head:4200/api")
        configuration.prepare_for_flow_run(FLOW_RUN)
    assert require_api(configuration) == "http://head:4200/api"
    with pytest.raises(PlaceUnusable, match="set the job variable api_url"):
        require_api(configured())


def at(second: int, kind: StateType) -> State[Any]:
    return State(type=kind, timestamp=NOW + timedelta(seconds=second))


def test_a_submission_is_known_by_the_state_with_which_a_worker_got_the_flow_run() -> None:
    kinds = [StateType.SCHEDULED, StateType.PENDING, StateType.PENDING, StateType.RUNNING]
    states = [at(number, kind) for number, kind in enumerate(kinds)]
    assert submission_of(states) == states[1].id
    # A retry inside of the flow's own process is no new submission; one that a worker gets is.
    inside = [*states, at(4, StateType.SCHEDULED), at(5, StateType.RUNNING)]
    assert submission_of(inside[::-1]) == states[1].id
    again = [*inside, at(6, StateType.SCHEDULED), at(7, StateType.PENDING)]
    assert submission_of(again) == again[-1].id


def receipt(ending: EndingKind, exit_code: int | None = None) -> RunReceipt:
    here = Path("/here")
    return RunReceipt(
        key="sha256:ab", run_id="ab", attempt=1, place="west", job_id="12", ending=ending, why=f"{ending}: seen",
        exit_code=exit_code, signal=None, folder=here, stdout=here, stderr=here, work=here, outputs=(), started=None,
        ended=None, host="n1", peak_memory=None, cpu_seconds=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "exit_code", "said"),
    [
        (EndingKind.NODE_FAILURE, None, "job 12 on west: its node failed"),
        (EndingKind.TIMEOUT, None, "its time limit was over"),
        (EndingKind.OUT_OF_MEMORY, None, "it went over its memory"),
        (EndingKind.PREEMPTED, None, "it was preempted"),
        (EndingKind.CANCELLED, None, "it was cancelled on the cluster, not in Prefect"),
        (EndingKind.VANISHED, None, "it vanished"),
        (EndingKind.CONTRADICTORY, None, "it is not known how it ended"),
        (EndingKind.KILLED, None, "it was killed"),
        (EndingKind.FAILED, 3, "it failed"),
        (EndingKind.FAILED, 69, r"its node \(n1\) cannot reach the Prefect API; see the job variable api_url"),
        (EndingKind.FAILED, 127, "its command was not found; see the job variable environment"),
        (EndingKind.SUCCEEDED, 0, "never told Prefect how the flow run ended"),
    ],
)
@pytest.mark.parametrize("state", [Pending(), Running(), None])
def test_a_flow_run_whose_job_is_gone_is_crashed_and_told_why(
    ending: EndingKind, exit_code: int | None, said: str, state: State[Any] | None
) -> None:
    found = state_after(receipt(ending, exit_code), state)
    assert found is not None
    assert found.is_crashed()
    with pytest.raises(ValueError, match=said):
        raise ValueError(found.message)


FINAL: list[State[Any]] = [Completed(), Failed(), Cancelled(), Scheduled()]


@pytest.mark.parametrize("ending", list(EndingKind))
@pytest.mark.parametrize("state", FINAL, ids=lambda each: str(each.name))
def test_a_state_that_the_flow_run_gave_itself_stays(ending: EndingKind, state: State[Any]) -> None:
    assert state_after(receipt(ending), state) is None


@pytest.mark.parametrize("ending", list(EndingKind))
def test_a_flow_run_that_is_cancelling_is_cancelled_when_its_job_is_gone(ending: EndingKind) -> None:
    found = state_after(receipt(ending), Cancelling())
    assert (found is not None, found and found.type) == (True, StateType.CANCELLED)


@pytest.mark.parametrize("ending", list(EndingKind))
def test_a_crash_is_told_by_the_name_that_the_cluster_has_for_it(ending: EndingKind) -> None:
    found = state_after(receipt(ending), Crashed(message="aborted by SIGTERM"))
    is_named = ending in {
        EndingKind.NODE_FAILURE,
        EndingKind.TIMEOUT,
        EndingKind.OUT_OF_MEMORY,
        EndingKind.PREEMPTED,
        EndingKind.CANCELLED,
    }
    assert (found is not None) == is_named
    # Told once, it is not told again.
    assert found is None or state_after(receipt(ending), found) is None


def test_a_flow_run_that_goes_on_later_has_not_crashed() -> None:
    assert state_after(receipt(EndingKind.SUCCEEDED), Paused()) is None
    assert state_after(receipt(EndingKind.NODE_FAILURE), Paused()) is not None
    assert status_of(receipt(EndingKind.FAILED, 1), Scheduled()) == 0
    assert [status_of(receipt(each), Running()) for each in (EndingKind.OUT_OF_MEMORY, EndingKind.TIMEOUT)] == [137, 1]


def note(pool: str = "hpc", key: str = "sha256:ab") -> Note:
    return Note(flow_run=FLOW_RUN.id, submission=UUID(int=1), key=key, pool=pool, place="west")


def test_a_note_is_there_for_workers_of_its_pool_until_it_is_forgotten(tmp_path: Path) -> None:
    """Red on: blocks/worker_notes.py: `return note if note.pool == self.pool else None` -> `return note`."""
    notes, others = Notes(home=tmp_path, pool="hpc"), Notes(home=tmp_path, pool="other")
    assert notes.all() == []
    with notes.alone(FLOW_RUN.id):
        notes.write(note())
        with pytest.raises(OutputBusy), Notes(home=tmp_path, pool="hpc").alone(FLOW_RUN.id):
            pass
    assert (notes.all(), others.all()) == ([note()], [])
    notes.forget(FLOW_RUN.id)
    assert notes.all() == []


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, form: str, *given: Any) -> None:
        self.lines.append(form % given)

    warning = info


async def told(notes: Notes, clock: SteppedClock, *texts: str) -> list[str]:
    log: Any = Log()
    with Teller(log, notes, FLOW_RUN.id, clock=clock) as teller:
        for text in texts:
            await teller(Line(stream="stdout", text=text))
        await teller(Line(stream="stderr", text="oh"))
        await teller(Waiting(reason="PENDING (Resources)"))
    return list(log.lines)


async def test_a_line_is_told_once_whichever_worker_hears_it(tmp_path: Path) -> None:
    """Red on: blocks/worker_told.py: `self._told = notes.told(flow_run)` -> `self._told = {}`."""
    notes, clock = Notes(home=tmp_path, pool="hpc"), SteppedClock()
    notes.write(note())
    waiting = "waiting: PENDING (Resources)"
    assert await told(notes, clock, "1", "2") == ["1", "2", "stderr: oh", waiting]
    assert await told(notes, clock, "1", "2", "3") == ["3", waiting]
    # Another submission begins anew.
    notes.write(note(key="sha256:cd"))
    assert await told(notes, clock, "1") == ["1", "stderr: oh", waiting]


async def test_a_job_that_prints_too_much_is_told_in_part(tmp_path: Path) -> None:
    lines = await told(Notes(home=tmp_path, pool="hpc"), SteppedClock(), *map(str, range(600)))
    assert len(lines) == 502
    assert lines[-1] == "101 lines were left out here; the job's own files have all"


@pytest.fixture(params=[200, 401])
def api(request: pytest.FixtureRequest) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def reached(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", worker_reach.__file__, url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_api_that_answers_anything_is_reached(api: str) -> None:
    assert reached(api).returncode == 0


def test_an_api_that_does_not_answer_is_told_with_its_url() -> None:
    done = reached("http://127.0.0.1:9/api")
    assert done.returncode == worker_reach.UNREACHED
    assert "nothing answers at the Prefect API's URL http://127.0.0.1:9/api" in done.stderr
