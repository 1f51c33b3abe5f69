"""The command line: help, versions, JSON, errors as one paragraph, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest

from sluiceway import cli
from sluiceway.core import errors
from sluiceway.core.errors import SluicewayError
from tests.conftest import User

COMMAND = str(Path(sys.executable).with_name("sluiceway"))


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    env = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=env, cwd=cwd, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["devcluster", "--help"], ["devcluster", "up", "--help"], ["demo", "--help"]]
)
def test_help_is_there(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: sluiceway" in done.stdout


def test_the_help_imports_nothing_that_takes_long() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "sluiceway.cli" in imported
    assert not imported & {"prefect", "asyncssh", "numpy", "polars", "numba", "duckdb", "rich.progress"}


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout.strip() == version("sluiceway")


def test_the_exit_codes_in_the_help_are_those_of_the_error_tree() -> None:
    kinds = (SluicewayError, errors.UsageProblem, errors.DevclusterError, errors.RemoteError)
    shown = run("--help").stdout
    for code in {kind.exit_code for kind in kinds}:
        assert f"{code} " in shown.partition("Exit codes:")[2]


def test_status_where_nothing_is_says_how_to_start(tmp_path: Path) -> None:
    done = run("devcluster", "status", "--folder", str(tmp_path / "none"))
    assert done.returncode == 0
    assert "sluiceway devcluster up" in done.stdout


def test_status_is_json_when_asked_to(tmp_path: Path) -> None:
    done = run("devcluster", "status", "--json", "--folder", str(tmp_path / "none"))
    assert json.loads(done.stdout) == {"folder": str(tmp_path / "none"), "up": False}


def test_an_error_is_one_paragraph_on_stderr_with_its_exit_code(tmp_path: Path) -> None:
    done = run("devcluster", "shell", "--folder", str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: the folder")
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("--debug", "devcluster", "shell", "--folder", str(tmp_path))
    assert "Traceback" in done.stderr
    assert "FolderUnusable" in done.stderr


def test_a_bad_setting_is_an_error_like_any_other() -> None:
    done = run("devcluster", "status", SLUICEWAY_LOG_LEVEL="LOUD")
    assert (done.returncode, "SLUICEWAY_LOG_LEVEL='LOUD'" in done.stderr) == (2, True)


def test_an_error_is_not_wrapped_or_decorated(tmp_path: Path) -> None:
    folder = tmp_path / f":smile:{'x' * 150}"
    done = run("devcluster", "shell", "--folder", str(folder), COLUMNS="40")
    assert str(folder) in done.stderr


@pytest.mark.parametrize("name", ["Bad-Name", "x" * 13])
def test_a_bad_name_is_an_error_like_any_other(tmp_path: Path, name: str) -> None:
    done = run("devcluster", "up", "--folder", str(tmp_path / "none"), "--name", name)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_damaged_plan_is_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    done = run("devcluster", "status", "--folder", str(tmp_path))
    assert (done.returncode, "cluster.json cannot be read" in done.stderr) == (3, True)


def test_a_value_with_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], user: User) -> None:
    user.export("SLUICEWAY_LOG_LEVEL", "[red]LOUD[/red]")
    with pytest.raises(SystemExit) as ended:
        cli.main(["devcluster", "status"])
    assert ended.value.code == 2
    assert "[red]LOUD[/red]" in capsys.readouterr().err


@pytest.mark.parametrize("sql", ["FROM nowhere", "SELECT error('x')"])
def test_a_refused_question_is_one_paragraph_to_the_end_of_the_program(tmp_path: Path, sql: str) -> None:
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "scores.parquet")
    done = run("query", sql, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
