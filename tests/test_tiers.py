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


ON_REAL_DATA = """
def test_reads_real_files(real_data):
    assert real_data.is_dir()

def test_reads_none():
    pass
"""


def pytest_run(folder: Path, text: str, ci: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_planted.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    ours = {name: value for name, value in os.environ.items() if name != "SLUICEWAY_TEST_DATA"}
    env = {**ours, "CI": ci, "PYTHONPATH": str(ROOT), **variables}
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


def test_tests_on_real_data_are_left_out_in_one_line_where_there_is_none(tmp_path: Path) -> None:
    done = pytest_run(tmp_path, ON_REAL_DATA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 deselected" in done.stdout
    assert done.stdout.count("1 tests on real data were left out: SLUICEWAY_TEST_DATA is not set") == 1


@pytest.mark.parametrize(("folder", "exit_code", "ending"), [(".", 0, "2 passed"), ("absent", 1, "1 passed, 1 error")])
def test_tests_on_real_data_fail_where_the_folder_that_was_named_is_absent(
    tmp_path: Path, folder: str, exit_code: int, ending: str
) -> None:
    done = pytest_run(tmp_path, ON_REAL_DATA, SLUICEWAY_TEST_DATA=str(tmp_path / folder))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ending in done.stdout
