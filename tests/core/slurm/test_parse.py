"""Slurm's answers, word for word as it gave them, and what they mean."""

from __future__ import annotations

import base64

import pytest

from sluiceway.core.remote.shell import Command, Completed
from sluiceway.core.slurm import parse
from sluiceway.core.slurm.job import JobId, JobState
from sluiceway.core.slurm.parse import Frames, Refused, Told, Unreachable

CONTROLLER = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
DATABASE = "sacct: error: Problem talking to the database: Connection refused"
ROW = '1_0|77|PENDING|1|0|BeginTime|1795277045|1795277045||{"x": "|"}|'
ACCOUNT = "29|29|FAILED|3:0|0:0|1795277045|1795277045|1795277046|1|00:00.002|1||cpu=1,mem=500M,node=1|node1|None|e3.sh"


def said(text: str, *, exit_code: int = 0, stderr: bytes = b"") -> Completed:
    return Completed(
        machine="login",
        command=Command.of("sh"),
        exit_code=exit_code,
        signal=None,
        stdout=text.encode(errors="surrogateescape"),
        stderr=stderr,
    )


def told(*lines: str, exit_code: int | None = 0, stderr: str = "") -> Told:
    return Told(lines=lines, stderr=stderr, exit_code=exit_code)


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("812", JobId(812)),
        ("79;west", JobId(79, None, "west")),
        ("73_4", JobId(73, 4)),
        ("79+1", JobId(79)),
        ("73_[2-9%2]", JobId(73)),
        ("73_[0-17,19,21-4...", JobId(73)),
        (" 5\n", JobId(5)),
    ],
)
def test_ids_of_every_form_are_read(text: str, job: JobId) -> None:
    assert JobId.parse(text) == job


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("CANCELLED by 20001", JobState.CANCELLED),
        ("CANCELLED+", JobState.CANCELLED),
        ("COMPLETING", JobState.COMPLETING),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY),
    ],
)
def test_states_are_what_they_are(text: str, state: JobState) -> None:
    assert parse.read_state(text) is state


@pytest.mark.parametrize("state", ["COMPLETING", "REQUEUED", "SUSPENDED", "PENDING", "SPECIAL_EXIT", "STOPPED"])
def test_a_job_in_between_has_not_ended(state: str) -> None:
    assert not JobState(state).is_final


def test_every_state_is_one_of_three_kinds() -> None:
    assert all(each.is_final + each.is_waiting + each.is_running == 1 for each in JobState)


def test_a_row_of_the_queue_keeps_separators_in_its_comment() -> None:
    rows = parse.read_queue(told(ROW))
    assert isinstance(rows, tuple)
    (row,) = rows
    assert (row.job, row.raw, row.state, row.restarts, row.comment) == (
        JobId(1, 0), 77, JobState.PENDING, 1, '{"x": "|"}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "meaning"), [("768", (3, 0)), ("9", (0, 9)), ("0", (0, 0)), ("3:0", (3, 0)), ("N/A", (None, None))]
)
def test_the_queues_exit_code_is_a_status_of_wait(status: str, meaning: tuple[int | None, int | None]) -> None:
    rows = parse.read_queue(told(f"29|29|FAILED|0|{status}|None|N/A|N/A||c|"))
    assert isinstance(rows, tuple)
    assert (rows[0].exit_code, rows[0].signal) == meaning


def test_the_header_of_one_cluster_among_several_is_no_row() -> None:
    assert len(parse.read_queue(told("CLUSTER: west", ROW))) == 1  # type: ignore[arg-type]


def test_an_unknown_id_is_absence() -> None:
    assert parse.read_queue(told(exit_code=1, stderr="slurm_load_jobs error: Invalid job id specified")) == ()


@pytest.mark.parametrize(
    "answer",
    [
        told(exit_code=1, stderr=CONTROLLER),
        told(exit_code=1),
        told(exit_code=124),
        told(exit_code=None),
        told("\x1b[2J|||what?|||"),
        told("1|1|NO_SUCH_STATE|0|0|None|N/A|N/A||c|"),
    ],
)
def test_no_clear_answer_of_the_queue_is_no_absence(answer: Told) -> None:
    assert isinstance(parse.read_queue(answer), Unreachable)


def test_accounts_tell_jobs_and_their_steps() -> None:
    """Red on: core/slurm/parse.py: `step=step or None,` -> `step=None,`."""
    step = ACCOUNT.replace("29|29|", "29.batch|29.batch|", 1).replace("|1||cpu", "|1|3356K|cpu")
    rows = parse.read_accounts(told(ACCOUNT, step))
    assert isinstance(rows, tuple)
    assert [(row.step, row.exit_code, row.peak_memory) for row in rows] == [(None, 3, None), ("batch", 3, 3436544)]


def test_a_row_that_accounting_has_not_filled_yet_is_unknown() -> None:
    assert parse.read_accounts(told(ACCOUNT.replace("e3.sh", "allocation"))) == ()


def test_a_cluster_without_accounting_knows_no_job() -> None:
    assert parse.read_accounts(told(exit_code=1, stderr="Slurm accounting storage is disabled")) == ()


@pytest.mark.parametrize("answer", [told(exit_code=1, stderr=DATABASE), told(exit_code=0, stderr=DATABASE)])
def test_a_database_out_of_reach_is_no_absence(answer: Told) -> None:
    assert isinstance(parse.read_accounts(answer), Unreachable)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (told("812"), JobId(812)),
        (told("812;west"), JobId(812, None, "west")),
        (told("welcome!", "812", stderr="sbatch: warning: x"), JobId(812)),
        (told(""), Unreachable),
        (told("what?"), Unreachable),
        (told(exit_code=1, stderr="sbatch: error: Batch job submission failed: Invalid partition name"), Refused),
        (told(exit_code=255, stderr="sbatch: unrecognized option '--foo'"), Refused),
        (told(exit_code=127, stderr="timeout: failed to run command 'sbatch': not found"), Refused),
        (told(exit_code=1, stderr="sbatch: error: Batch job submission failed: Socket timed out on send"), Unreachable),
        (told(exit_code=1, stderr=f"sbatch: error: {CONTROLLER}"), Unreachable),
        (told(exit_code=124), Unreachable),
        (told(exit_code=137), Unreachable),
        (told(exit_code=1, stderr="sbatch: error: Munge encode failed: Invalid credential"), Unreachable),
    ],
)
def test_an_answer_of_sbatch_is_an_id_a_refusal_or_neither(answer: Told, meaning: object) -> None:
    found = parse.read_submission(answer)
    assert found == meaning or (isinstance(meaning, type) and isinstance(found, meaning))


@pytest.mark.parametrize(
    "line",
    [
        b"slurmstepd-node1: error: StepId=64.batch exceeded memory limit (422174720 > 314572800), being killed",
        b"slurmstepd: error: Detected 1 oom-kill event(s) in StepId=64.batch.",
        b"slurmstepd: error: Detected 1 oom_kill event in StepId=64.batch..",
    ],
)
def test_the_daemons_word_of_a_kill_for_memory_is_known(line: bytes) -> None:
    assert parse.was_over_memory(b"before\n" + line)
    assert not parse.was_over_memory(b"the program printed: exceeded memory limit")


def test_a_greeting_before_the_answer_does_not_matter() -> None:
    frames = parse.read_frames(said("Welcome to the cluster!\n@queue 1\n@queue! oh\n@queue= 0\n@end\n"))
    assert isinstance(frames, Frames)
    assert frames.of("queue") == Told(lines=("1",), stderr="oh\n", exit_code=0)


@pytest.mark.parametrize(
    "answer",
    ["", "@queue= 0\n", "@queue= 0\n@en", "@queue= x\n@end\n", "@file 1:o 0 no-base64!\n@end\n", "@file\n@end"],
)
def test_an_answer_cut_short_or_garbled_counts_for_nothing(answer: str) -> None:
    assert isinstance(parse.read_frames(said(answer)), Unreachable)


def test_pieces_of_files_hold_any_bytes() -> None:
    content = bytes(range(256)) + b"\n@end\n"
    encoded = base64.b64encode(content).decode()
    frames = parse.read_frames(said(f"@file 7:1 12 {encoded}\n@end\n"))
    assert isinstance(frames, Frames)
    assert (frames.pieces[0].key, frames.pieces[0].offset, frames.pieces[0].content) == ("7:1", 12, content)
