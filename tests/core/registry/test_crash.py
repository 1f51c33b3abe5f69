"""Killed at any point, a run comes back as done or clean: one job, its outputs, no claim that nobody holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.registry.coalesce import Point
from sluiceway.core.runs.run import Step
from tests.conftest import ROOT
from tests.core.registry.crash import POINTS

LISTED = [
    "attempt chosen",
    "attempt staged",
    "attempt intended",
    "job submitted",
    "job ended",
    "outputs collected",
    "receipt written",
    "claim taken",
    "intent registered",
    "job registered",
    "end registered",
    "outputs about to be registered",
    "outputs registered",
    "claim settled",
    "process started, answer lost",
]
# Before these nothing runs that could be collected.
NOT_STARTED = {"claim taken", "attempt chosen", "attempt staged", "attempt intended", "intent registered"}


def test_the_points_at_which_a_run_may_be_killed_are_those_that_are_tested() -> None:
    assert list(POINTS) == LISTED
    assert {*Step, *Point} < set(LISTED)


# Each point is a process that is killed and one that reconciles: a minute for each database.
@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.nightly])], indirect=True
)
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean(url: str, tmp_path: Path) -> None:
    """Red on: core/registry/unwatched.py: `runs=runs, host=self.unwatched.host)` -> `runs=runs, host=None)`."""
    command = [sys.executable, "-m", "tests.core.registry.crash", str(tmp_path)]
    env = {**os.environ, "SLUICEWAY_REGISTRY": url}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["point"] for each in found] == LISTED, done.stderr[-2000:]
    for each in found:
        point = each["point"]
        assert each["ended"] == -signal.SIGKILL, point
        assert (each["second"], each["claimed"]) == ([], 0), (point, each)
        assert point in NOT_STARTED or each["states"] == ["succeeded"], (point, each)
        assert "succeeded" not in each["states"] or point not in NOT_STARTED, (point, each)
        assert (each["whole"], each["attempts"], each["started"]) == (True, [1], "started\n"), (point, each)
        assert (each["artifacts"], each["differences"]) == (2, []), (point, each)
