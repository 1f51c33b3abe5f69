"""What a block used: its own time, memory and bytes, and not what came before."""

from __future__ import annotations

import hashlib
import mmap
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.provenance.usage import Usage
from sluiceway.core.remote.clock import SystemClock
from tests.clocks import SteppedClock

MIB = 1 << 20


def test_the_time_on_the_wall_is_the_clocks() -> None:
    clock = SteppedClock()
    with Usage(clock) as usage:
        clock.time += timedelta(seconds=90)
    assert usage.resources.wall_seconds == 90
    assert (usage.times.finished, usage.times.started) == (clock.time, clock.time - timedelta(seconds=90))


def test_the_processors_time_is_that_of_the_block_and_its_children() -> None:
    with Usage(SystemClock()) as idle:
        pass
    with Usage(SystemClock()) as own:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000)
    with Usage(SystemClock()) as childs:
        work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 300_000)"
        subprocess.run([sys.executable, "-c", work], check=True)
    assert (idle.resources.cpu_seconds or 0) < 0.05
    assert (own.resources.cpu_seconds or 0) > 0.05
    assert (childs.resources.cpu_seconds or 0) > 0.05


def test_a_peak_below_that_of_the_process_is_seen_too() -> None:
    # Mapped memory is new and goes back at once; what malloc gives may have been the process's all along.
    with Usage(SystemClock()) as large, mmap.mmap(-1, 128 * MIB) as taken:
        taken.write(b"x" * (128 * MIB))
        hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000)
    with Usage(SystemClock()) as small:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
    assert (large.resources.peak_memory_bytes or 0) > (small.resources.peak_memory_bytes or 0) + 64 * MIB


def test_bytes_are_those_that_were_read_and_written(tmp_path: Path) -> None:
    with Usage(SystemClock()) as usage:
        (tmp_path / "file").write_bytes(bytes(3 * MIB))
        (tmp_path / "file").read_bytes()
    assert 3 * MIB <= (usage.resources.bytes_written or 0) < 4 * MIB
    assert 3 * MIB <= (usage.resources.bytes_read or 0) < 4 * MIB


def test_a_block_that_fails_is_measured_as_well() -> None:
    usage = Usage(SteppedClock())
    with pytest.raises(KeyError), usage:
        raise KeyError
    assert usage.times.finished is not None
    assert (usage.resources.cores or 0) >= 1
