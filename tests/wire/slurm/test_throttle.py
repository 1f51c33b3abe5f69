"""Several processes of one home share a cluster's bounds, whoever of them dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fake_slurm.slurm import FakeSlurm

Submit = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def submit(slurm: FakeSlurm, tmp_path: Path) -> Iterator[Submit]:
    """Starts processes that run scripts, from a home of this test's."""
    processes = []

    def start(*names: str, most: int = 0, rate: float = 0, home: str = "home") -> subprocess.Popen[bytes]:
        places = (str(tmp_path / home), str(tmp_path / "base"))
        command = [sys.executable, "-m", "tests.wire.slurm.submitting", *places, str(most), str(rate), *names]
        processes.append(subprocess.Popen(command, cwd=ROOT))
        return processes[-1]

    yield start
    for each in processes:
        each.kill()
        each.wait()


def alive(slurm: FakeSlurm) -> list[dict[str, Any]]:
    return [job for job in slurm.jobs if job["state"] in {"PENDING", "RUNNING"}]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_more_jobs_are_in_flight_than_may_be(slurm: FakeSlurm, submit: Submit) -> None:
    # Until there are as many as may be, none goes.
    slurm.set_starts(on=False)
    processes = [submit(f"{number}a", f"{number}b", most=2) for number in range(3)]
    until(lambda: len(alive(slurm)) >= 2)
    most = len(alive(slurm))
    slurm.set_starts(on=True)
    while any(each.poll() is None for each in processes):
        most = max(most, len(alive(slurm)))
        time.sleep(0.02)
    assert [each.returncode for each in processes] == [0, 0, 0]
    assert (most, len(slurm.jobs)) == (2, 6)


def looked_again(slurm: FakeSlurm) -> None:
    """Wait until whoever waits for a turn has looked several times how many jobs there are."""
    asked = len(slurm.asked("squeue"))
    until(lambda: len(slurm.asked("squeue")) >= asked + 4)


def test_a_process_that_was_killed_holds_no_turn_and_its_jobs_still_count(slurm: FakeSlurm, submit: Submit) -> None:
    """Red on: core/runs/throttle.py: `there + jobs <= self.most` -> `there + jobs <= self.most + 1`."""
    slurm.set_starts(on=False)
    first = submit("a", "b", "c", most=2)
    until(lambda: len(slurm.jobs) >= 2)
    looked_again(slurm)
    first.send_signal(signal.SIGKILL)
    second = submit("d", most=2)
    looked_again(slurm)
    assert len(slurm.jobs) == 2
    slurm.set_starts(on=True)
    assert second.wait(timeout=60) == 0
    assert len(slurm.jobs) == 3


def test_jobs_of_another_home_do_not_count(slurm: FakeSlurm, submit: Submit) -> None:
    slurm.set_starts(on=False)
    submit("a", most=1)
    until(lambda: len(slurm.jobs) == 1)
    submit("b", most=1, home="other home")
    until(lambda: len(slurm.jobs) == 2)


def test_submits_of_several_processes_keep_their_distance(slurm: FakeSlurm, submit: Submit) -> None:
    began = time.monotonic()
    processes = [submit(name, rate=40) for name in "abc"]
    assert [each.wait(timeout=60) for each in processes] == [0, 0, 0]
    assert time.monotonic() - began >= 3
    assert len(slurm.jobs) == 3
