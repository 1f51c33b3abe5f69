"""`sluiceway demo` as a user runs it: address first, then result, nothing left running."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("sluiceway"))

pytestmark = pytest.mark.slow


def environment(home: Path) -> dict[str, str]:
    """What a new user has: no server anywhere."""
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    return {**own, "SLUICEWAY_HOME": str(home), "PREFECT_HOME": str(home / "client")}


def servers(home: Path) -> list[int]:
    """The processes that serve from this folder: zombies have no environment any more."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PREFECT_HOME={home}/prefect\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("options", [[], ["--headless"]], ids=["with pages", "headless"])
def test_the_demo_runs_and_says_where_its_result_is(tmp_path: Path, options: list[str]) -> None:
    own = environment(tmp_path / "home")
    done = subprocess.run(
        [COMMAND, "demo", *options], cwd=tmp_path, env=own, input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Prefect: http://127.0.0.1:")
    result = re.search(r"^Result: (.+)$", done.stdout, re.MULTILINE)
    assert result is not None
    assert Path(result[1]) == tmp_path / "data" / "output" / "demo" / "stdout.txt"
    assert "sum: 42" in Path(result[1]).read_text()
    assert servers(tmp_path / "home") == []


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_server_and_says_130(tmp_path: Path, told: signal.Signals) -> None:
    """Red on: deployments/demo.py: `_end_well_when_told_to_end() chosen` -> `chosen`."""
    own, pipe, null = environment(tmp_path / "home"), subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        [COMMAND, "demo"], cwd=tmp_path, env=own, stdin=null, stdout=pipe, stderr=null, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("Prefect: ")
        while not servers(tmp_path / "home"):
            pass
        running.send_signal(told)
        exit_code = running.wait(timeout=60)
    left = servers(tmp_path / "home")
    # Where the promise is broken, the machine is still left as it was.
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert (exit_code, left) == (130, [])
