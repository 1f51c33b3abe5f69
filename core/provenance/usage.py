"""What a piece of work uses: processor time, time on the wall, memory, bytes read and written."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sluiceway.core.provenance.manifest import Resources, Times

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from sluiceway.core.remote.clock import Clock

_STATM, _IO = Path("/proc/self/statm"), Path("/proc/self/io")
_SAMPLE_SECONDS = 0.05
_KIBIBYTE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    at: datetime
    cpu_seconds: float
    lifetime_peak: int
    bytes_read: int | None
    bytes_written: int | None


class Usage:
    """Measures the block it surrounds, with all threads of this process and the children that were waited for.

    The kernel knows only the peak memory of the process's whole life. Where that grew in the block, it is the block's
    peak; else the peak is the largest of the samples that a thread takes twenty times a second, and a shorter one is
    missed. Memory of children does not count. Bytes are those that system calls moved, cached or not; what is read
    through a memory map is not among them.
    """

    def __init__(self, clock: Clock) -> None:
        """Measure time by this clock."""
        self._clock = clock
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="memory samples", daemon=True)
        self._largest = 0
        self._before = self._after = self._now()

    def __enter__(self) -> Self:
        """Begin; a Usage measures one block."""
        self._before = self._after = self._now()
        self._largest = _resident_bytes()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, however the block ended."""
        self._ended.set()
        self._sampler.join()
        self._largest = max(self._largest, _resident_bytes())
        self._after = self._now()

    @property
    def times(self) -> Times:
        """When the block began and ended."""
        return Times(started=self._before.at, finished=self._after.at)

    @property
    def resources(self) -> Resources:
        """What the block used."""
        before, after = self._before, self._after
        grew = after.lifetime_peak > before.lifetime_peak
        return Resources(
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            wall_seconds=(after.at - before.at).total_seconds(),
            peak_memory_bytes=after.lifetime_peak if grew else self._largest or None,
            bytes_read=_moved(before.bytes_read, after.bytes_read),
            bytes_written=_moved(before.bytes_written, after.bytes_written),
            cores=len(os.sched_getaffinity(0)),
        )

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._largest = max(self._largest, _resident_bytes())

    def _now(self) -> _Reading:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        moved = _bytes_moved()
        return _Reading(
            at=self._clock.now(),
            cpu_seconds=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
            lifetime_peak=own.ru_maxrss * _KIBIBYTE,
            bytes_read=moved.get("rchar"),
            bytes_written=moved.get("wchar"),
        )


def _resident_bytes() -> int:
    """Give this process's memory now; zero where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return 0


def _bytes_moved() -> dict[str, int]:
    with contextlib.suppress(OSError):
        lines = (line.partition(": ") for line in _IO.read_text().splitlines())
        return {name: int(value) for name, _, value in lines}
    return {}


def _moved(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
