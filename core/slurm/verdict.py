"""How a job ended, weighed from what is known: pure rules, in the order in which witnesses are believed.

First the outcome file that the node wrote, then Slurm's final state, then absence after a deadline. Two witnesses that
disagree are a failure of that name; and nothing that is merely missing is ever taken for success.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.slurm.job import Ending, EndingKind, JobState

if TYPE_CHECKING:
    from sluiceway.core.slurm.job import JobId, JobOutcome

_NOTHING = timedelta()
_DAEMON_SAYS = "Slurm's daemon wrote that it went over its memory"
_KIND_OF_STATE = {
    JobState.CANCELLED: EndingKind.CANCELLED,
    JobState.TIMEOUT: EndingKind.TIMEOUT,
    JobState.DEADLINE: EndingKind.TIMEOUT,
    JobState.OUT_OF_MEMORY: EndingKind.OUT_OF_MEMORY,
    JobState.NODE_FAIL: EndingKind.NODE_FAILURE,
    JobState.BOOT_FAIL: EndingKind.NODE_FAILURE,
    JobState.LAUNCH_FAILED: EndingKind.NODE_FAILURE,
    JobState.PREEMPTED: EndingKind.PREEMPTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long to wait for a witness that is late; only time in which Slurm answered counts, but for the first."""

    # Slurm says nothing of a job whose outcome is here: its daemons are down, or it has forgotten the job.
    outcome_alone: timedelta = timedelta(seconds=10)
    # Slurm still says that it runs: an epilog may take its time.
    outcome_early: timedelta = timedelta(minutes=2)
    # A shared file system may show a new file this late (acdirmax in nfs(5)).
    outcome_missing: timedelta = timedelta(seconds=75)
    outcome_of_failure: timedelta = timedelta(seconds=3)
    return_to_queue: timedelta = timedelta(seconds=10)
    absence: timedelta = timedelta(seconds=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about a job's end at one moment, and for how long it has been so."""

    job: JobId
    outcome: JobOutcome | None = None
    outcome_for: timedelta = _NOTHING
    state: JobState | None = None
    state_for: timedelta = _NOTHING
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    absent_for: timedelta | None = None
    is_over_memory: bool = False
    may_be_requeued: bool = False
    remark: str = ""

    @property
    def has_final_state(self) -> bool:
        """Whether Slurm says that it has ended."""
        return self.state is not None and self.state.is_final


def judge(known: Evidence, deadlines: Deadlines) -> Ending | None:
    """Say how the job ended, or give none while that is open."""
    if known.has_final_state and _may_return(known, deadlines):
        return None
    if known.outcome is not None:
        return _with_outcome(known, known.outcome, deadlines)
    if known.has_final_state:
        return _by_state(known, deadlines)
    if known.absent_for is not None and known.absent_for >= deadlines.absence:
        seconds = known.absent_for.total_seconds()
        return _ending(known, EndingKind.VANISHED, f"for {seconds:g} s neither queue nor outcome file knew of it")
    return None


def _may_return(known: Evidence, deadlines: Deadlines) -> bool:
    returns = known.state is not None and known.state.may_return and known.may_be_requeued
    return returns and known.state_for < deadlines.return_to_queue


def _with_outcome(known: Evidence, outcome: JobOutcome, deadlines: Deadlines) -> Ending | None:
    if known.has_final_state:
        return _compared(known, outcome)
    patience = deadlines.outcome_alone if known.state is None else deadlines.outcome_early
    if known.outcome_for < patience:
        return None
    said = "Slurm no longer tells" if known.state is None else f"Slurm still says {known.state}"
    return _by_outcome(known, outcome, f"the outcome file; {said}")


def _compared(known: Evidence, outcome: JobOutcome) -> Ending:
    """Hold the outcome file beside Slurm's final state."""
    told = f"the outcome file says {_told(outcome)}, Slurm says {_slurm_says(known)}"
    has_worked = outcome.exit_code == 0
    differs = known.signal == 0 and None not in (known.exit_code, outcome.exit_code)
    differs = differs and known.exit_code != outcome.exit_code
    if has_worked is not (known.state is JobState.COMPLETED) and (has_worked or known.state is JobState.COMPLETED):
        return _ending(known, EndingKind.CONTRADICTORY, told)
    if known.state in _KIND_OF_STATE:
        return _ending(known, _KIND_OF_STATE[known.state], told)
    if differs:
        return _ending(known, EndingKind.CONTRADICTORY, told)
    return _by_outcome(known, outcome, told)


def _by_outcome(known: Evidence, outcome: JobOutcome, told: str) -> Ending:
    if outcome.exit_code == 0:
        kind = EndingKind.SUCCEEDED
    elif known.is_over_memory:
        kind, told = EndingKind.OUT_OF_MEMORY, f"{told}; {_DAEMON_SAYS}"
    elif outcome.signal is not None:
        kind = EndingKind.KILLED
    else:
        kind = EndingKind.FAILED
    return _ending(known, kind, told, exit_code=outcome.exit_code, signal_name=outcome.signal)


def _by_state(known: Evidence, deadlines: Deadlines) -> Ending | None:
    """Take Slurm's word, once the outcome file has had its time to appear."""
    has_completed = known.state is JobState.COMPLETED
    if known.state_for < (deadlines.outcome_missing if has_completed else deadlines.outcome_of_failure):
        return None
    told = f"Slurm says {_slurm_says(known)}, and there is no outcome file"
    if has_completed:
        return _ending(known, EndingKind.CONTRADICTORY, told)
    if known.state in _KIND_OF_STATE:
        return _ending(known, _KIND_OF_STATE[known.state], told)
    if known.is_over_memory:
        return _ending(known, EndingKind.OUT_OF_MEMORY, f"{told}; {_DAEMON_SAYS}")
    if known.signal:
        return _ending(known, EndingKind.KILLED, told, signal_name=_signal_name(known.signal))
    return _ending(known, EndingKind.FAILED, told, exit_code=known.exit_code)


def _ending(
    known: Evidence, kind: EndingKind, told: str, *, exit_code: int | None = None, signal_name: str | None = None
) -> Ending:
    return Ending(
        job=known.job,
        kind=kind,
        evidence=f"{told}; {known.remark}" if known.remark else told,
        exit_code=exit_code,
        signal=signal_name,
        state=known.state,
        outcome=known.outcome,
    )


def _told(outcome: JobOutcome) -> str:
    return f"signal {outcome.signal}" if outcome.signal else f"exit code {outcome.exit_code}"


def _slurm_says(known: Evidence) -> str:
    code = "" if known.exit_code is None else f" {known.exit_code}:{known.signal or 0}"
    return f"{known.state}{code}{f' ({known.reason})' if known.reason else ''}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        # Real-time signals have numbers only.
        return str(number)
