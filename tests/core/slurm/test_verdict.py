"""How a job ended, by what is known: the outcome file, then Slurm's state, then absence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluiceway.core.slurm.job import EndingKind, JobId, JobOutcome, JobState
from sluiceway.core.slurm.verdict import Deadlines, Evidence, judge

LONG = timedelta(hours=1)


def outcome(exit_code: int | None = 0, signal: str | None = None) -> JobOutcome:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return JobOutcome(
        job_id=1,
        task=None,
        restart=0,
        exit_code=exit_code,
        signal=signal,
        started=moment,
        ended=moment,
        host="node1",
        peak_memory=None,
    )


def kind(**known: Any) -> EndingKind | None:
    ended = judge(Evidence(job=JobId(1), **known), Deadlines())
    return None if ended is None else ended.kind


FINAL = [state for state in JobState if state.is_final]


@pytest.mark.parametrize("state", FINAL)
def test_only_an_outcome_of_zero_and_completed_together_are_success(state: JobState) -> None:
    for written in (None, outcome(0), outcome(1), outcome(None, "KILL")):
        is_success = written is not None and written.exit_code == 0 and state is JobState.COMPLETED
        found = kind(state=state, state_for=LONG, outcome=written, outcome_for=LONG)
        assert (found is EndingKind.SUCCEEDED) is is_success


@pytest.mark.parametrize("state", [state for state in JobState if not state.is_final])
def test_no_job_ends_in_a_state_that_is_not_final(state: JobState) -> None:
    assert kind(state=state, state_for=LONG) is None


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"state": JobState.FAILED, "outcome": outcome(3)}, EndingKind.FAILED),
        ({"state": JobState.FAILED, "outcome": outcome(3), "exit_code": 3, "signal": 0}, EndingKind.FAILED),
        ({"state": JobState.FAILED, "outcome": outcome(3), "exit_code": 5, "signal": 0}, EndingKind.CONTRADICTORY),
        ({"state": JobState.FAILED, "outcome": outcome(0), "exit_code": 1, "signal": 0}, EndingKind.CONTRADICTORY),
        ({"state": JobState.FAILED, "outcome": outcome(None, "SEGV")}, EndingKind.KILLED),
        (
            {"state": JobState.FAILED, "outcome": outcome(None, "KILL"), "is_over_memory": True},
            EndingKind.OUT_OF_MEMORY,
        ),
        ({"state": JobState.TIMEOUT, "outcome": outcome(143)}, EndingKind.TIMEOUT),
        ({"state": JobState.CANCELLED, "outcome": outcome(None, "TERM")}, EndingKind.CANCELLED),
        ({"state": JobState.FAILED, "exit_code": 0, "signal": 9}, EndingKind.KILLED),
        ({"state": JobState.FAILED, "exit_code": 0, "signal": 9, "is_over_memory": True}, EndingKind.OUT_OF_MEMORY),
        ({"state": JobState.FAILED, "exit_code": 4, "signal": 0}, EndingKind.FAILED),
        ({"state": JobState.BOOT_FAIL}, EndingKind.NODE_FAILURE),
        ({"state": JobState.DEADLINE}, EndingKind.TIMEOUT),
        ({"state": JobState.COMPLETED}, EndingKind.CONTRADICTORY),
        ({"state": None, "absent_for": LONG}, EndingKind.VANISHED),
        ({"state": None, "absent_for": LONG, "outcome": outcome(0)}, EndingKind.SUCCEEDED),
        ({"state": JobState.RUNNING, "outcome": outcome(0)}, EndingKind.SUCCEEDED),
    ],
)
def test_the_witnesses_are_weighed_in_their_order(known: dict[str, Any], expected: EndingKind) -> None:
    assert kind(**{"state_for": LONG, "outcome_for": LONG, **known}) is expected


@pytest.mark.parametrize(
    ("known", "seconds"),
    [
        ({"outcome": outcome(0), "for": "outcome_for"}, 10),
        ({"outcome": outcome(0), "state": JobState.RUNNING, "for": "outcome_for"}, 120),
        ({"state": JobState.COMPLETED, "for": "state_for"}, 75),
        ({"state": JobState.FAILED, "for": "state_for"}, 3),
        ({"state": JobState.NODE_FAIL, "may_be_requeued": True, "for": "state_for"}, 10),
        ({"for": "absent_for"}, 90),
    ],
)
def test_a_witness_that_is_late_is_waited_for_so_long(known: dict[str, Any], seconds: int) -> None:
    known = dict(known)
    waits = known.pop("for")
    assert kind(**known, **{waits: timedelta(seconds=seconds - 0.1)}) is None
    assert kind(**known, **{waits: timedelta(seconds=seconds)}) is not None


def test_a_verdict_names_its_evidence() -> None:
    known = Evidence(job=JobId(1), state=JobState.TIMEOUT, state_for=LONG, exit_code=0, signal=0, reason="TimeLimit")
    ended = judge(known, Deadlines())
    assert ended is not None
    assert ended.evidence == "Slurm says TIMEOUT 0:0 (TimeLimit), and there is no outcome file"
