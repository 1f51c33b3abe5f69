"""One writer to a folder: two runs at once on one output folder would mix their results, so the second is refused.

The lock is the kernel's (flock), on a file in the folder: it goes with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from typing import TYPE_CHECKING

from sluiceway.core.errors import OutputBusy
from sluiceway.core.store.durable import Storing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = ".lock"
_LONGEST = 4096


@contextlib.contextmanager
def exclusive(folder: Path, *, purpose: str) -> Iterator[None]:
    """Keep everyone else out of a folder, which is made when needed; raises OutputBusy, with the holder, at once.

    Args:
        folder: Where this process is about to write.
        purpose: What it does there, for whoever is refused.
    """
    path = folder / NAME
    with Storing("lock", path):
        handle = _locked(folder)
    try:
        with Storing("lock", path):
            holder = {"host": platform.node(), "pid": os.getpid(), "purpose": purpose}
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(holder).encode()[:_LONGEST], 0)
        yield
    finally:
        # Removed while it is still held: whoever opened it before sees that it is no longer the folder's.
        if _is_of(handle, path):
            path.unlink(missing_ok=True)
        os.close(handle)


def _locked(folder: Path) -> int:
    path = folder / NAME
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever held the folder may just have removed it, or the file.
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as undo:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            undo.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputBusy(folder=folder, holder=_holder(handle)) from error
            if _is_of(handle, path):
                undo.pop_all()
                return handle


def _is_of(handle: int, path: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """Tell who holds a lock, as far as that can be read: it may be about to be written."""
    try:
        held = json.loads(os.pread(handle, _LONGEST, 0))
        return f"process {held['pid']} on {held['host']} ({held['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
