"""What is known of files that were read before, so that an unchanged file is not read again.

A file is known by device, inode, size, and the times of its last changes. A program cannot set the one called ctime:
whoever writes other bytes of the same size and puts mtime back is seen all the same. But a clock has ticks, and a file
that is changed twice in one tick has the same times twice. So a file is only remembered when it was read well after its
last change; until then it is read again each time.

The cache is one SQLite file, safe with several processes. It can be deleted at any time; one that cannot be used, or is
damaged, is as good as none.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from sluiceway.core import settings
from sluiceway.core.events import tell
from sluiceway.core.provenance.tree import FileDigests, identity

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

NAME: Final = "digests.sqlite"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000_000
# Kernels stamp files by a clock that ticks every ten milliseconds at most.
_FINE: Final = _SECOND // 10
# FAT keeps times in steps of two seconds, ext3 and old NFS in steps of one.
_COARSE: Final = 2 * _SECOND
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    file TEXT PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, leaf TEXT NOT NULL, content TEXT
) WITHOUT ROWID
"""


class StatCache:
    """Digests of files by what `stat` tells of them; to be used by one thread at a time, as a context or for good."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        """Keep what is known in this folder, which is made when needed."""
        self._path = folder / NAME
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def now(self) -> int:
        """Tell the time in nanoseconds."""
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1) * 1000

    def find(self, status: os.stat_result) -> FileDigests | None:
        """Give a file's digests, where it is certain that it was not changed since."""
        try:
            row = self._opened().execute(
                "SELECT size, modified, changed, leaf, content FROM files WHERE file = ?", (_file(status),)
            ).fetchone()  # fmt: skip
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return None
        if row is None or tuple(row[:3]) != identity(status)[2:]:
            return None
        if not all(each is None or _DIGEST.fullmatch(str(each)) for each in row[3:]):
            # A byte of the database was changed.
            return None
        return FileDigests(leaf=row[3], content=row[4])

    def keep(self, read: Iterable[tuple[os.stat_result, FileDigests, int]]) -> None:
        """Remember files, with their digests and when each was about to be read; not those that were just changed."""
        rows = [
            (_file(status), *identity(status)[2:], digests.leaf, digests.content)
            for status, digests, seen in read
            if not is_racy(status, seen)
        ]
        try:
            with self._opened() as connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        """Go on without what is known; a file that is no database any more makes room for a new one."""
        tell(log, "stat cache not used", level=logging.DEBUG, file=str(self._path), reason=str(error))
        with contextlib.suppress(sqlite3.Error):
            self.close()
        # A file that another process keeps locked, or that we may not write, is not damaged.
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def cache_here(clock: Clock) -> StatCache:
    """Give the cache of this machine's user."""
    return StatCache(settings.load().cache_dir, clock=clock)


def is_racy(status: os.stat_result, seen: int) -> bool:
    """Tell whether a file could be changed after it was looked at and still have the same times."""
    # Where the file system keeps parts of a second, its clock ticks faster than that.
    granule = _FINE if status.st_ctime_ns % _SECOND else _COARSE
    return max(status.st_mtime_ns, status.st_ctime_ns) >= seen - granule


def _file(status: os.stat_result) -> str:
    # Text: the number of an inode may be larger than SQLite's integers.
    return f"{status.st_dev}:{status.st_ino}"
