"""How fast files are digested, beside what the machine can do: copy memory, read the file, compute SHA-256 alone."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Stopwatch
from sluiceway.core.provenance.tree import digest_of_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COPY: Final = "memory copied"
DISK: Final = "file read from the disk"
MEMORY: Final = "file read from the page cache"
SHA: Final = "SHA-256 of memory, one thread"
ONE: Final = "digest of one file"
MANY: Final = "digest of 16 files"
COLD: Final = "digest of 16 files from the disk"
FILES: Final = 16
_BLOCK: Final = 1 << 20


def rates(folder: Path, size: int, rounds: int) -> dict[str, list[float]]:
    """Give bytes per second of each, in every round, for so many bytes in one file and in many."""
    content = os.urandom(size)
    one, many = folder / "one", folder / "many"
    many.mkdir(parents=True)
    one.write_bytes(content)
    for number in range(FILES):
        part = size // FILES
        (many / f"{number:02}").write_bytes(content[number * part : (number + 1) * part])
    os.sync()
    work: dict[str, Callable[[], object]] = {
        COPY: lambda: bytearray(content),
        DISK: lambda: _read(_cold(one)),
        MEMORY: lambda: _read(one),
        SHA: lambda: hashlib.sha256(content).digest(),
        ONE: lambda: digest_of_tree(one),
        MANY: lambda: digest_of_tree(many),
    }
    found: dict[str, list[float]] = {name: [] for name in (*work, COLD)}
    for _ in range(rounds):
        for name, do in work.items():
            found[name].append(size / _seconds(do))
        for each in many.iterdir():
            _cold(each)
        found[COLD].append(size / _seconds(lambda: digest_of_tree(many)))
    return found


def _seconds(do: Callable[[], object]) -> float:
    with Stopwatch() as watch:
        do()
    return watch.seconds


def _read(file: Path) -> None:
    block = bytearray(_BLOCK)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(block):
            pass


def _cold(file: Path) -> Path:
    """Have the kernel forget what it keeps of a file."""
    handle = os.open(file, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    return file
