"""What one job under watch makes of what it hears."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest

from sluiceway.core.slurm.job import Array, EndingKind, JobId, JobSpec, JobState
from sluiceway.core.slurm.parse import Told, Unreachable, read_accounts
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.verdict import Deadlines
from sluiceway.core.slurm.watched import Spell, Watched

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = PurePosixPath("/r")


def watched(job: JobId, *, count: int | None = None) -> Watched:
    spec = JobSpec(
        token="sw-1-a1",
        comment="",
        resources=Resources(),
        command=("true",),
        folder=FOLDER,
        stdout=FOLDER / "o-%a",
        stderr=FOLDER / "e-%a",
        outcome=FOLDER / "r-%a",
        array=None if count is None else Array(count=count),
    )
    return Watched.of(spec, job, asyncio.Queue(), (0, 0))


def test_time_in_which_nobody_answered_does_not_count() -> None:
    spell = Spell()
    spell.hear("absent", NOW)
    spell.hear("absent", NOW + timedelta(seconds=5))
    spell.hear_nothing()
    spell.hear("absent", NOW + timedelta(hours=5))
    spell.hear("absent", NOW + timedelta(hours=5, seconds=2))
    assert spell.lasted == timedelta(seconds=7)
    spell.hear(JobState.RUNNING, NOW + timedelta(hours=6))
    assert spell.lasted == timedelta()


def test_an_element_that_never_started_ends_with_its_array() -> None:
    line = "73_[2-9]|73|CANCELLED by 7|0:0|0:0|1|Unknown|1|0||0|||None assigned||job"
    accounts = read_accounts(Told(lines=(line,), exit_code=0))
    element = watched(JobId(73, 4), count=10)
    for second in range(10):
        element.hear({}, accounts, NOW + timedelta(seconds=second))
    ended = element.verdict(Deadlines(), NOW + timedelta(seconds=10))
    assert ended is not None
    assert (ended.kind, ended.job) == (EndingKind.CANCELLED, JobId(73, 4))


@pytest.mark.parametrize("accounts", [Unreachable("down"), None])
def test_a_job_that_only_the_queue_has_forgotten_is_not_absent_yet(accounts: Unreachable | None) -> None:
    job = watched(JobId(5))
    for hour in range(10):
        job.hear({}, accounts, NOW + timedelta(hours=hour))
    assert job.verdict(Deadlines(), NOW + timedelta(hours=10)) is None


def test_elements_have_files_of_their_own_names() -> None:
    assert list(watched(JobId(73, 4), count=10).files("9")) == [
        "f\t9:o\t0\t/r/r-4",
        "f\t9:1\t0\t/r/o-4",
        "f\t9:2\t0\t/r/e-4",
    ]
