"""`sluiceway demo` as a user runs it: address first, report last, nothing left running."""

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
    return {
        **own,
        "SLUICEWAY_HOME": str(home),
        "SLUICEWAY_CACHE_DIR": str(home / "cache"),
        "PREFECT_HOME": str(home / "client"),
    }


def servers(home: Path) -> list[int]:
    """The processes that serve from this folder: zombies have no environment any more."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PREFECT_HOME={home}/prefect\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def demo(tmp_path: Path, *options: str, **environment: str) -> str:
    done = subprocess.run(
        [COMMAND, "demo", *options],
        cwd=tmp_path,
        env=environment,
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(said: str) -> Path:
    found = re.search(r"^Report: (.+)$", said, re.MULTILINE)
    assert found is not None
    return Path(found[1])


def test_the_demo_runs_and_says_first_where_prefect_is_and_last_where_the_report_is(tmp_path: Path) -> None:
    said = demo(tmp_path, **environment(tmp_path / "home"))
    assert said.startswith("Prefect: http://127.0.0.1:")
    assert "The data are synthetic" in said
    assert report(said) == tmp_path / "data" / "output" / "demo" / "results" / "report.html"
    assert report(said).is_file()
    assert servers(tmp_path / "home") == []


def test_the_headless_demo_needs_no_prefect_and_its_second_run_finds_everything_cached(tmp_path: Path) -> None:
    own = environment(tmp_path / "home")
    first = demo(tmp_path, "--headless", "--out", "here", **own)
    assert "40 scored now, 0 cached." in first
    assert report(first) == tmp_path / "here" / "results" / "report.html"
    tables = {each: each.read_bytes() for each in report(first).parent.glob("*.parquet")}
    assert len(tables) == 4
    assert "Everything was cached: all 40 results" in demo(tmp_path, "--headless", "--out", "here", **own)
    assert tables == {each: each.read_bytes() for each in tables}
    assert not (tmp_path / "home" / "prefect").exists()
    assert not (tmp_path / "home" / "client").exists()


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_server_and_says_130(tmp_path: Path, told: signal.Signals) -> None:
    """Red on: deployments/direct_or_flow.py: `signal.default_int_handler` -> `signal.SIG_DFL`."""
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
