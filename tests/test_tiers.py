"""A tier whose part is missing says so in one line, and fails under CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD_CALL = """
import warnings

def test_calls_something_old():
    warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module={module!r})
"""
LACKING = """
def test_needs_a_part(missing):
    missing.part("cluster", why="it needs root", get="sudo make test")
"""


def pytest_run(folder: Path, text: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "test_planted.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    env = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("ci", "exit_code", "ending"), [("", 0, "1 skipped"), ("true", 1, "1 failed")])
def test_a_missing_part_is_a_skip_that_is_told_and_a_failure_under_ci(
    tmp_path: Path, ci: str, exit_code: int, ending: str
) -> None:
    done = pytest_run(tmp_path, LACKING, ci)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ending in done.stdout
    assert "tier cluster did not run: it needs root. To run it: sudo make test" in done.stdout


@pytest.mark.parametrize(
    ("module", "ending"), [("sluiceway.core.remote.ssh", "1 failed"), ("distributed.x", "1 passed")]
)
def test_a_deprecation_that_our_code_causes_fails_and_anothers_does_not(
    tmp_path: Path, module: str, ending: str
) -> None:
    assert ending in pytest_run(tmp_path, OLD_CALL.format(module=module)).stdout
