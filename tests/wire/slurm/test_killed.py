"""Whoever runs a script on a cluster may be killed at every step: there is one job, and its result is right."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.runs.run import Step
from tests.conftest import ROOT, User
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.killed import LOST, live

# Each start leaves a line, so a job that was started twice is seen.
SCRIPT = 'echo started >>"{count}"; sleep 0.5; wc -c <../inputs/large.bin >made.txt; echo said'
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
def folder(user: User, slurm: FakeSlurm) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    base = user.folder / "base"
    user.write("home/clusters.toml", f'[clusters.west]\nbase = "{base}"\npython = "{sys.executable}"\n')
    user.write("script.sh", SCRIPT.format(count=user.folder / "count"))
    user.write("large.bin", "x" * 500_000)
    return user.folder


def killed(folder: Path, step: str, work: str = "script") -> int:
    command = [sys.executable, "-m", "tests.wire.slurm.killed", str(folder), step, work]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_the_steps_of_a_run_are_those_that_are_tested() -> None:
    assert list(Step) == STEPS


@pytest.mark.parametrize("step", [*STEPS, *LOST])
async def test_a_run_that_is_killed_at_any_step_is_one_job_with_the_right_result(
    folder: Path, step: str, slurm: FakeSlurm
) -> None:
    """Red on: core/runs/run.py: `return folder.attempt(last.number + 1) if is_over else last` ->
    `return folder.attempt(last.number + 1)`.
    """
    assert killed(folder, step) == -signal.SIGKILL
    receipt = await live(folder)
    assert (receipt.succeeded, receipt.attempt, receipt.job_id) == (True, 1, str(slurm.only_job()["number"]))
    assert (folder / "count").read_text() == "started\n"
    assert (receipt.stdout.read_text(), receipt.path(receipt.outputs[0]).read_text()) == ("said\n", "500000\n")
