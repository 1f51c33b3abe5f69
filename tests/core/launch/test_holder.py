"""A part's folder on its node has a short path, what it says is kept, and what is left there is removed, no more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.launch import holder
from tests.conftest import Missing


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for temporary files, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="held-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def held(place: Path, *argv: str, ports: int = 0, **variables: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start a holder, and wait until it has begun."""
    order = {"argv": argv or ("true",), "env": {}, "node": "n1", "log": str(place / "log"), "ports": ports, "share": 1}
    order |= {"sync": "", "only": (), "grace": 1}
    words = [sys.executable, "-I", holder.__file__, json.dumps(order)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    own |= {"TMPDIR": str(place), **variables}
    begun = subprocess.Popen(words, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert begun.stdout is not None
    return begun, json.loads(begun.stdout.readline())


def over(begun: subprocess.Popen[bytes]) -> None:
    begun.communicate(timeout=20)


def killed(begun: subprocess.Popen[bytes], facts: dict[str, Any]) -> Path:
    """Kill a holder and what it holds, as Slurm does where a node fails; gives what is left."""
    os.kill(begun.pid, signal.SIGKILL)
    os.kill(facts["pid"], signal.SIGKILL)
    over(begun)
    return Path(facts["tmp"])


def test_a_folder_whose_holder_was_killed_is_removed_by_the_next_one_and_that_of_a_live_one_is_not(place: Path) -> None:
    """Red on: core/launch/holder.py: `os.uname().nodename.encode(): _remove(folder)` ->
    `os.uname().nodename.encode(): pass`.
    """
    left = killed(*held(place, "sleep", "600"))
    assert left.parent == place
    assert left.exists()
    live, facts = held(place, "sleep", "600")
    assert not left.exists()
    over(held(place)[0])
    assert Path(facts["tmp"]).exists()
    over(live)
    assert [*place.glob("sw-*")] == []


def test_a_folder_in_which_something_works_yet_stays_though_its_holder_was_killed(place: Path) -> None:
    """Red on: core/launch/holder.py: `os.set_inheritable(mark, True)` -> `pass`."""
    begun, facts = held(place, "sleep", "600")
    # Until then it is a copy of its holder, and holds what that does.
    while not Path(f"/proc/{facts['pid']}/cmdline").read_bytes().startswith(b"sleep\0"):
        time.sleep(0.01)
    os.kill(begun.pid, signal.SIGKILL)
    over(held(place)[0])
    assert Path(facts["tmp"]).exists()
    os.kill(facts["pid"], signal.SIGKILL)
    over(begun)


@pytest.mark.parametrize("whose", ["without a mark", "of another node", "of another user", "a link"])
def test_a_folder_that_is_not_ours_stays(place: Path, whose: str, missing: Missing) -> None:
    other = place / "sw-other"
    (place / "there").mkdir()
    other.symlink_to(place / "there") if whose == "a link" else other.mkdir()
    if whose != "without a mark":
        (other / ".sluiceway").write_text("elsewhere" if whose == "of another node" else os.uname().nodename)
    if whose == "of another user":
        if os.getuid() != 0:
            missing.part("core", why="only root may give a folder away", get="sudo make test")
        os.chown(other, 65534, 65534)
    over(held(place)[0])
    assert other.exists()


@pytest.mark.parametrize("length", [30, 40, 150])
def test_the_longest_name_of_a_socket_fits_however_long_the_folder_for_temporary_files_is(
    place: Path, length: int
) -> None:
    """Red on: core/launch/holder.py: `if each and len(each) <= _LONGEST_FOLDER` -> `if each`."""
    long = place / ("x" * (length - len(str(place)) - 1))
    long.mkdir()
    begun, facts = held(place, "sleep", "600", TMPDIR=str(long), SLURM_TMPDIR=str(long))
    deep = Path(facts["tmp"]) / "r/session_2026-11-22_06-00-00_123456_4194304/sockets/plasma_store"
    deep.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(deep))
    over(begun)
    assert not Path(facts["tmp"]).exists()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        # As the log is each time that somebody looks.
        (["one", "onetwo"], "onetwo"),
        (["a long one", "new", "new and more"], "a long onenew and more"),
        (["one", "", "two"], "onetwo"),
    ],
)
def test_what_a_log_says_is_copied_once_also_when_it_begins_anew(tmp_path: Path, written: list[str], kept: str) -> None:
    """Red on: core/launch/holder.py: `0 if found.st_size < begin else begin` -> `begin`."""
    (tmp_path / "a").mkdir()
    copied: dict[str, int] = {}
    for text in written:
        (tmp_path / "a/log").write_text(text)
        holder.copy_growth(str(tmp_path / "a"), str(tmp_path / "b"), copied)
    assert (tmp_path / "b/log").read_text() == kept
