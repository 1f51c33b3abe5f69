"""A run happens once, whoever dies on the way: joined, collected, or returned as it is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.errors import InputMissing, RunElsewhere, RunFailed, StorageFailed
from sluiceway.core.provenance import manifest
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.folder import AttemptFolder
from sluiceway.core.runs.jobside import REFUSED
from sluiceway.core.runs.local_job import is_alive
from sluiceway.core.runs.messages import Metric, Result, Unreadable
from sluiceway.core.runs.place import Cluster, Local
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.remains import lay_out
from sluiceway.core.runs.request import inputs_of
from sluiceway.core.runs.run import Line, Step, await_end, cancel, collect, run, stage, submit
from sluiceway.core.slurm.job import EndingKind, JobId
from tests.conftest import ROOT
from tests.core.runs.here import Here, until
from tests.core.runs.killed import SPAWNED

# Each start leaves a line, so a job that was started twice is seen.
COUNTED = 'echo started >>"{count}"; sleep 0.3; echo made >made.txt; echo said'
STEPS = [
    "attempt chosen",
    "attempt staged",
    "attempt intended",
    "job submitted",
    "job ended",
    "outputs collected",
    "receipt written",
]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def killed(here: Here, step: str) -> int:
    command = [sys.executable, "-m", "tests.core.runs.killed", str(here.folder), str(here.folder / "script.sh"), step]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_the_steps_of_a_run_are_those_that_are_tested() -> None:
    assert list(Step) == STEPS


@pytest.mark.parametrize("step", [*STEPS, SPAWNED])
async def test_a_run_that_is_killed_at_any_step_is_one_job_with_the_right_result(here: Here, step: str) -> None:
    """Red on: core/runs/run.py: `if is_over else last` -> `if True else last`."""
    count = here.folder / "count"
    request = here.request(COUNTED.format(count=count), outputs=("made.txt",))
    assert killed(here, step) == -signal.SIGKILL
    receipt = await here.run(request)
    assert (receipt.succeeded, receipt.attempt, here.attempts(request)) == (True, 1, [1])
    assert count.read_text() == "started\n"
    assert (receipt.stdout.read_text(), receipt.path(receipt.outputs[0]).read_text()) == ("said\n", "made\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_is_killed_before_any_disk_call_is_one_job_with_the_right_result(tmp_path: Path) -> None:
    """Red on: core/runs/local_job.py: `shutil.rmtree(folder, ignore_errors=True)` -> `pass`."""
    command = [sys.executable, "-m", "tests.core.runs.killed_anywhere", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    calls, found = [each for each in said if each[0] != "["], [json.loads(each) for each in said if each[0] == "["]
    assert {"fsync", "replace", "mkdir", "flock", "chmod", "open"} <= set(calls)
    assert len(found) == len(calls) + 1
    assert [(calls[number], each) for number, each in enumerate(found[:-1]) if each != [True, 1, "started\n"]] == []


async def test_two_who_ask_at_once_share_one_job(here: Here) -> None:
    """Red on: core/runs/local_job.py: `if job is not None:` -> `if False:`."""
    count = here.folder / "count"
    request = here.request(COUNTED.format(count=count))
    async with asyncio.timeout(20):
        both = await asyncio.gather(here.run(request), Here(here.folder).run(request))
    assert [each.succeeded for each in both] == [True, True]
    assert (count.read_text(), here.attempts(request)) == ("started\n", [1])


async def test_what_a_script_prints_makes_and_tells_is_in_its_receipt(here: Here) -> None:
    text = (
        'echo "$1" "$COLOUR"; echo careful >&2; mkdir -p d/e; echo 1 >d/e/f; echo 2 >b.txt; cat "$3" >copy; '
        """printf '{"kind":"metric","name":"loss","value":0.5}\\n{"kind":"result","value":[7]}\\noops\\n' """
        '>>"$SLUICEWAY_MESSAGES"'
    )
    (here.folder / "in").write_text("input")
    request = here.request(
        text,
        arguments=("a b", "", "../inputs/in"),
        environment={"COLOUR": "red"},
        inputs=inputs_of([here.folder / "in"]),
        outputs=("d", "*.txt", "copy"),
    )
    receipt = await here.run(request)
    assert (receipt.stdout.read_text(), receipt.stderr.read_text()) == ("a b red\n", "careful\n")
    made = {each.name: receipt.path(each).read_text() for each in receipt.outputs}
    assert made == {"d/e/f": "1\n", "b.txt": "2\n", "copy": "input"}
    assert receipt.value == [7]
    assert receipt.messages == (
        Metric(name="loss", value=0.5),
        Result(value=[7]),
        Unreadable(text="oops", reason="it is not JSON"),
    )
    assert {Line(stream="stdout", text="a b red"), Line(stream="stderr", text="careful")} <= {
        each for each in here.heard if isinstance(each, Line)
    }
    assert [each for each in here.heard if not isinstance(each, Line)] == list(receipt.messages)


async def test_a_receipt_survives_its_file(here: Here) -> None:
    receipt = await here.run(here.request("echo x >\"$(printf 'odd\\377')\"", outputs=("*",)))
    assert [each.name for each in receipt.outputs] == ["odd\udcff"]
    assert RunReceipt.of(receipt.to_bytes()) == receipt
    assert here.runs.receipt(here.runs.folder(receipt.key)) == receipt


async def test_the_manifest_of_a_failed_run_with_odd_texts_is_one(here: Here) -> None:
    request = here.request("exit 7", arguments=("odd\udcff",), parameters={"é": [1.5, None]})
    sealed = manifest.read((await here.run(request)).manifest)
    assert (sealed.ending.status, sealed.ending.exit_code) == ("failed", 7)
    assert sealed.parameters is not None
    assert sealed.parameters["arguments"] == ["odd\\udcff"]


async def test_a_run_that_succeeded_is_not_run_again_unless_it_is_to_be_fresh(here: Here) -> None:
    count = here.folder / "count"
    request = here.request(COUNTED.format(count=count))
    first = await here.run(request)
    assert await here.run(request) == first
    assert (await here.run(request, fresh=True)).attempt == 2
    assert count.read_text() == "started\n" * 2


@pytest.mark.parametrize("damage", [lambda path: path.write_text("other"), Path.unlink], ids=["changed", "gone"])
async def test_a_run_whose_output_was_damaged_runs_again(here: Here, damage: object) -> None:
    """Red on: core/runs/run.py: `if await asyncio.to_thread(lambda: receipt.is_whole):` -> `if True:`."""
    request = here.request("echo made >made.txt", outputs=("made.txt",))
    first = await here.run(request)
    damage(first.path(first.outputs[0]))  # type: ignore[operator]
    assert (await here.run(request)).attempt == 2


async def test_a_damaged_receipt_is_written_again_from_what_is_left(here: Here) -> None:
    count = here.folder / "count"
    request = here.request(COUNTED.format(count=count))
    first = await here.run(request)
    Path(here.runs.folder(request.key).receipt).write_text("{")
    assert await here.run(request) == first
    assert count.read_text() == "started\n"


@pytest.mark.parametrize(
    ("text", "outputs", "ending", "why"),
    [
        ("exit 7", (), EndingKind.FAILED, "exit code 7"),
        ("kill -9 $$", (), EndingKind.KILLED, "signal KILL"),
        ("true", ("made.txt",), EndingKind.FAILED, "the declared output 'made.txt' was not made"),
        ("mkfifo made.txt", ("made.txt",), EndingKind.FAILED, "it is not a regular file"),
        ("ln -s nowhere made.txt", ("made.*",), EndingKind.FAILED, "cannot be read: No such file"),
    ],
)
async def test_a_failed_run_has_a_receipt_and_then_a_new_attempt(
    here: Here, text: str, outputs: tuple[str, ...], ending: EndingKind, why: str
) -> None:
    request = here.request(f"echo so far; {text}", outputs=outputs)
    receipt = await here.run(request)
    assert (receipt.ending, receipt.stdout.read_text()) == (ending, "so far\n")
    with pytest.raises(RunFailed, match=why):
        receipt.require_success()
    assert (await here.run(request)).attempt == 2


async def test_an_input_that_changes_under_a_run_fails_it(here: Here) -> None:
    (here.folder / "in").write_text("before")
    request = here.request("echo after >../inputs/in", inputs=inputs_of([here.folder / "in"]))
    assert "was changed before the run had ended" in (await here.run(request)).why


async def test_a_script_that_changed_since_it_was_asked_for_is_not_run(here: Here) -> None:
    request = here.request("true")
    here.request("false")
    with pytest.raises(InputMissing, match="has changed"):
        await here.run(request)


async def test_a_run_on_its_way_is_not_started_at_another_place(here: Here) -> None:
    request = here.request("true")
    await stage(request, runs=here.runs, host=here.host, place=Local())
    with pytest.raises(RunElsewhere, match="on its way at 'local'"):
        await run(request, runs=here.runs, host=here.host, place=Cluster("west"))


async def test_the_steps_can_be_taken_one_by_one(here: Here) -> None:
    staged = await stage(here.request("sleep 1; echo said"), runs=here.runs, host=here.host, place=Local())
    assert not isinstance(staged, RunReceipt)
    job = await submit(staged, runs=here.runs, host=here.host)
    assert await submit(staged, runs=here.runs, host=here.host) == job
    # Submitting does not wait for the job.
    assert is_alive(staged.folder)
    ending = await await_end(staged, job, host=here.host)
    receipt = await collect(staged, ending, runs=here.runs, host=here.host)
    assert (ending.kind, receipt.job_id) == (EndingKind.SUCCEEDED, str(job))


async def test_a_run_is_laid_out_in_a_folder_with_its_outputs_checked(here: Here) -> None:
    request = here.request("echo said; mkdir d; echo made >d/made.txt", outputs=("d",))
    receipt = await here.run(request)
    lay_out(receipt, here.folder / "out")
    found = {path.relative_to(here.folder / "out").as_posix() for path in (here.folder / "out").rglob("*.txt")}
    assert found == {"stdout.txt", "stderr.txt", "d/made.txt"}
    sealed = manifest.read(here.folder / "out" / "manifest.json")
    assert (sealed.content_key, sealed.ending.status) == (request.key, "ok")
    assert [each.name for each in sealed.outputs or ()] == ["d/made.txt"]
    receipt.path(receipt.outputs[0]).write_text("other")
    with pytest.raises(StorageFailed, match="is not what the run made"):
        lay_out(receipt, here.folder / "other")
    assert not (here.folder / "other" / "d" / "made.txt").exists()


async def running(here: Here, text: str) -> tuple[asyncio.Task[RunReceipt], AttemptFolder, JobId]:
    """A run of a script that writes `on` when it has begun."""
    request = here.request(text)
    attempt, waiting = here.attempt(request), asyncio.create_task(here.run(request))
    await until(Path(attempt.output("on")))
    job = await here.host.find(attempt)
    assert job is not None
    return waiting, attempt, job


FOREVER = "echo on >on; n=0; while [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done"


async def test_a_cancelled_run_ends_with_its_own_handler_and_says_so(here: Here) -> None:
    waiting, attempt, job = await running(here, f'trap "echo tidy; exit 3" TERM; {FOREVER}')
    await cancel(attempt, job, runs=here.runs, host=here.host)
    receipt = await waiting
    assert (receipt.ending, receipt.exit_code, receipt.stdout.read_text()) == (EndingKind.CANCELLED, 3, "tidy\n")


async def test_a_run_that_was_cancelled_while_nobody_waited_gets_a_new_attempt(here: Here) -> None:
    request = here.request("test -e ../../on || { >../../on; sleep 20; }")
    staged = await stage(request, runs=here.runs, host=here.host, place=Local())
    assert not isinstance(staged, RunReceipt)
    job = await submit(staged, runs=here.runs, host=here.host)
    while not Path(staged.folder.run.path / "on").exists():
        await asyncio.sleep(0.01)
    await cancel(staged.folder, job, runs=here.runs, host=here.host)
    receipt = await here.run(request)
    assert (receipt.succeeded, receipt.attempt) == (True, 2)


async def test_a_payload_that_will_not_end_is_killed_after_its_grace(here: Here) -> None:
    waiting, attempt, job = await running(here, f'trap "" TERM; {FOREVER}')
    await cancel(attempt, job, runs=here.runs, host=here.host)
    receipt = await waiting
    assert (receipt.ending, receipt.signal) == (EndingKind.CANCELLED, "KILL")


async def test_a_payload_whose_jobside_was_killed_is_known_to_run_and_can_be_cancelled(here: Here) -> None:
    """Red on: core/runs/jobside.py: `os.set_inheritable(lock, True)` -> `pass`."""
    waiting, attempt, job = await running(here, FOREVER)
    os.kill(job.number, signal.SIGKILL)
    # Long enough for two looks.
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await cancel(attempt, job, runs=here.runs, host=here.host)
    assert (await waiting).ending is EndingKind.CANCELLED
    assert not is_alive(attempt)


async def test_a_payload_that_ended_without_its_jobside_has_vanished(here: Here) -> None:
    """Red on: core/runs/local_job.py: `else EndingKind.VANISHED` -> `else EndingKind.SUCCEEDED`."""
    waiting, _attempt, job = await running(here, "echo on >on; sleep 0.5")
    os.kill(job.number, signal.SIGKILL)
    assert (await waiting).ending is EndingKind.VANISHED


async def test_a_daemon_that_a_payload_left_behind_is_not_waited_for(here: Here) -> None:
    request = here.request("setsid sleep 3 >/dev/null 2>&1 & sleep 0.2")
    async with asyncio.timeout(2.5):
        assert (await here.run(request)).succeeded


async def test_half_a_record_of_a_start_is_of_no_start(here: Here) -> None:
    """Red on: core/runs/jobside.py: `# The payload starts when all of the record is on the disk, so half of one is of
    no start. return False` -> `return True`.
    """
    staged = await stage(here.request("echo said"), runs=here.runs, host=here.host, place=Local())
    assert not isinstance(staged, RunReceipt)
    Path(staged.folder.started).write_text('{"job_id": 1, "bor')
    async with asyncio.timeout(20):
        assert (await here.run(staged.request)).succeeded


async def test_an_attempt_that_was_started_is_never_started_again(here: Here) -> None:
    count = here.folder / "count"
    request = here.request(COUNTED.format(count=count))
    receipt = await here.run(request)
    again = await here.host._shell.run(
        Command.of(sys.executable, "-I", str(receipt.folder / "jobside.py"), "--detach=1", str(receipt.folder))
    )
    assert (again.exit_code, b"has run already" in again.stderr) == (REFUSED, True)
    assert count.read_text() == "started\n"
