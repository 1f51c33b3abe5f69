"""Writing that survives: a file is whole or not there, is on the disk when we say so, and trouble has a name."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

# What a file system answers when it can hold no more, or no longer works.
_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})

# What numpy says of an array, and polars of a parquet file's end, that could not be written.
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written|Invalid thrift: transport error")


class Storing:
    """Turns trouble of the storage under a block into StorageFailed, which names the file.

    A foreign block is somebody else's code: there, only a full or broken storage counts, for a file that it did not
    find is its own affair.
    """

    def __init__(self, what: str, path: Path, *, foreign: bool = False) -> None:
        """Say what is attempted, on which file."""
        self._what, self._path, self._foreign = what, path, foreign

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give trouble its name; everything else passes."""
        if error is None or isinstance(error, StorageFailed):
            return
        number = _number(error)
        if number in _STORAGE or (isinstance(error, OSError) and not self._foreign):
            raise StorageFailed(what=self._what, path=self._path, reason=str(error)) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole, and on the disk, or as it was before."""
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file of several parts, whole or as it was before."""
    with Storing("write", path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        staged = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
            staged.chmod(0o644)
            flush(staged)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
        flush(path.parent)


def content_of(path: Path) -> bytes | None:
    """Give a file's bytes; none where there is no such file."""
    try:
        # In one go: a buffer takes as long to make as a small file takes to read.
        with path.open("rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None


def flush(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _number(error: BaseException) -> int | None:
    """Give the system's number of an error, which some libraries have in their text only, or replace."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if _CUT_SHORT.search(str(error)):
        return errno.ENOSPC
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
