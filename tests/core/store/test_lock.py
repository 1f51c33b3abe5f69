"""One writer to a folder: the second is refused with the first's name, and a dead one is no hindrance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway.core.errors import OutputBusy, StorageFailed
from sluiceway.core.store.lock import NAME, exclusive
from tests.conftest import ROOT

HOLDING = """
import sys
from pathlib import Path
from sluiceway.core.store.lock import exclusive
with exclusive(Path(sys.argv[1]), purpose="score"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder `out`."""
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with (
        pytest.raises(OutputBusy, match=rf"process {holder.pid} on .+ \(score\)"),
        exclusive(tmp_path / "out", purpose="score"),
    ):
        pytest.fail("two at once")


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    """Red on: core/store/lock.py: `os.O_RDWR | os.O_CREAT,` -> `os.O_RDWR | os.O_CREAT | os.O_EXCL,`."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / NAME).exists()
    with exclusive(tmp_path / "out", purpose="score"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_holder_that_ended_leaves_the_folder_to_the_next(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.communicate(b"")
    with exclusive(tmp_path / "out", purpose="score"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_thread_of_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    with exclusive(tmp_path, purpose="one"):
        with pytest.raises(OutputBusy, match=rf"process {os.getpid()} on"), exclusive(tmp_path, purpose="two"):
            pytest.fail("two at once")
        assert (tmp_path / NAME).exists()


def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    with exclusive(tmp_path, purpose="one"):
        (tmp_path / NAME).write_bytes(b"\xff")
        with pytest.raises(OutputBusy, match="another process"), exclusive(tmp_path, purpose="two"):
            pytest.fail("two at once")


def test_a_lock_that_was_taken_away_does_not_let_its_holder_remove_the_next_one(tmp_path: Path) -> None:
    with exclusive(tmp_path, purpose="one"):
        (tmp_path / NAME).unlink()
        (tmp_path / NAME).write_text("another's")
    assert (tmp_path / NAME).exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StorageFailed, match="could not lock"), exclusive(tmp_path / "out", purpose="score"):
        pytest.fail("a file is no folder")
