"""`sluiceway run`, `jobs`, `logs` and `cancel` as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).with_name("sluiceway"))


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "SLUICEWAY_HOME": str(tmp_path / "home"), "COLUMNS": "200"}


def sluiceway(home: dict[str, str], *words: str | bytes) -> subprocess.CompletedProcess[str]:
    folder = Path(home["SLUICEWAY_HOME"]).parent
    return subprocess.run([COMMAND, *words], cwd=folder, env=home, capture_output=True, text=True, check=False)


def script(home: dict[str, str], text: str) -> str:
    (Path(home["SLUICEWAY_HOME"]).parent / "script.sh").write_text(text)
    return "script.sh"


def listed(home: dict[str, str]) -> list[dict[str, Any]]:
    return list(json.loads(sluiceway(home, "jobs", "--json").stdout))


def test_a_script_runs_with_everything_it_was_given_and_then_is_remembered(
    home: dict[str, str], tmp_path: Path
) -> None:
    text = 'echo "$1" "$2" "$COLOUR"; cat ../inputs/in; echo careful >&2; echo made >made.txt; echo x >>"$3"'
    (tmp_path / "in").write_text("input\n")
    words = [script(home, text), "a b", "--setenv", "COLOUR=deep red", "--input", "in", "--output", "*.txt"]
    words += ["--out", "results", "--", "-n", str(tmp_path / "count")]
    first, second = sluiceway(home, "run", *words), sluiceway(home, "run", *words)
    assert (first.returncode, first.stdout) == (0, "a b -n deep red\ninput\n")
    assert "careful\n" in first.stderr
    assert (tmp_path / "results" / "made.txt").read_text() == "made\n"
    assert (second.returncode, second.stdout) == (0, "")
    assert (tmp_path / "count").read_text() == "x\n"
    assert [each["standing"] for each in listed(home)] == ["ok"]


def test_a_failed_script_is_exit_code_1_and_one_paragraph(home: dict[str, str]) -> None:
    done = sluiceway(home, "run", script(home, "echo so far; echo why >&2; exit 7"), "--json")
    assert done.returncode == 1
    assert (json.loads(done.stdout)["ending"], json.loads(done.stdout)["exit_code"]) == ("failed", 7)
    assert "did not succeed: failed: exit code 7" in done.stderr
    assert "Traceback" not in done.stderr
    (only,) = listed(home)
    assert (only["standing"], only["what"], only["place"]) == ("failed", "script.sh", "local")
    assert sluiceway(home, "logs", only["run_id"][:6]).stdout == "so far\n"


def test_a_dry_run_starts_nothing_and_says_what_would_be_done(home: dict[str, str]) -> None:
    words = ["run", script(home, "true"), "x"]
    told = json.loads(sluiceway(home, *words, "--dry-run").stdout)
    assert (told["would"], told["on"], told["request"]["arguments"]) == ("start", "local", ["x"])
    assert listed(home) == []
    assert sluiceway(home, *words).returncode == 0
    assert json.loads(sluiceway(home, *words, "--dry-run").stdout)["would"] == "return"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "absent.sh"], "the script"),
        (["run", "script.sh", "--on", "west"], "nothing can run at 'west'"),
        (["run", "script.sh", "--on", "Local"], "nothing can run at 'Local'"),
        (["run", "script.sh", "--setenv", "COLOUR"], "write NAME=VALUE"),
        (["run", "script.sh", "--output", "/etc/passwd"], "below the run's working directory"),
        (["run", "script.sh", "--cpus", "2", "--mem", "1G"], "--cpus and --mem can be asked of a cluster only"),
        (["run", "script.sh", "--estimate"], "--estimate can be asked of a cluster only"),
        (["run", "script.sh", "--component", "nodes=2"], "--component can be asked of a cluster only"),
        (["run", "script.sh", "--component", "nodes"], "write NAME=VALUE, with commas between"),
        (["logs", "ab"], "no runs here begin so"),
        (["cancel", ""], "no runs here begin so"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_exit_code_2(home: dict[str, str], words: list[str], said: str) -> None:
    script(home, "true")
    done = sluiceway(home, *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_what_was_left_where_it_was_made_is_asked_for(home: dict[str, str]) -> None:
    assert (asked := sluiceway(home, "jobs", "left")).returncode == 0
    assert (asked.stdout, asked.stderr) == ("", "Nothing was left anywhere.\n")
    text = "echo large >a.bin; echo also >b.bin"
    assert sluiceway(home, "run", script(home, text), "--output", "*.bin:left").returncode == 0
    (run,) = listed(home)
    told = json.loads((whole := sluiceway(home, "jobs", "left", run["run_id"][:6], "--json")).stdout)
    assert (whole.returncode, [(each["name"], each["found"]) for each in told]) == (
        0,
        [("a.bin", "ok"), ("b.bin", "ok")],
    )
    Path(told[1]["path"]).unlink()
    harmed = sluiceway(home, "jobs", "left")
    assert (harmed.returncode, "missing" in harmed.stdout, "damaged" in harmed.stdout) == (1, True, False)
    assert sluiceway(home, "jobs", "left", "no-such-run").returncode == 2


def test_bytes_that_are_no_text_reach_the_script(home: dict[str, str]) -> None:
    done = sluiceway(home, "run", script(home, 'printf %s "$1" | od -An -tx1'), b"a\xff'")
    assert (done.returncode, done.stdout.split()) == (0, ["61", "ff", "27"])
    assert sluiceway(home, "jobs").returncode == 0


def test_an_interrupted_command_leaves_its_run_which_can_be_followed_and_cancelled(
    home: dict[str, str], tmp_path: Path
) -> None:
    text = "echo begun; n=0; while [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done"
    command = [COMMAND, "run", script(home, text)]
    with subprocess.Popen(command, cwd=tmp_path, env=home, stdout=subprocess.PIPE, text=True, process_group=0) as begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "begun\n"
        os.killpg(begun.pid, signal.SIGINT)
        assert begun.wait(20) == 130
    (only,) = listed(home)
    assert only["standing"] == "running"
    with subprocess.Popen([COMMAND, "logs", "-f", only["run_id"]], env=home, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "begun\n"
        assert sluiceway(home, "cancel", only["run_id"]).returncode == 0
        assert logs.wait(20) == 0
    assert listed(home)[0]["standing"] == "ended"
