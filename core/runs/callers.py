"""Who waits for which runs: a note for each, so that whoever cancels a caller finds what it has called.

A note is there from before the run is staged until its caller has its answer. A caller that is killed, or told to end,
leaves its notes.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

from sluiceway.core.store.durable import Storing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.runs.run import Runs

_CALLERS = "callers"
_NAME = re.compile(r"[0-9a-f-]{8,64}")


@contextlib.contextmanager
def waiting(runs: Runs, caller: str | None, key: str) -> Iterator[None]:
    """Note that a caller waits for a run while a block lasts; nobody in particular leaves no note."""
    if caller is None:
        yield
        return
    note = _folder(runs, caller) / runs.folder(key).name
    with Storing("note the caller in", note):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    try:
        yield
    except Exception:
        _forget(note)
        raise
    # What is told to end is no Exception, and leaves its note.
    _forget(note)


def waited_for(runs: Runs, caller: str) -> list[str]:
    """Give the names of the runs that a caller waits for, or waited for when it ended."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(each.name for each in _folder(runs, caller).iterdir())
    return []


def forget(runs: Runs, caller: str) -> None:
    """Remove all notes of a caller."""
    shutil.rmtree(_folder(runs, caller), ignore_errors=True)


def _forget(note: Path) -> None:
    with contextlib.suppress(OSError):
        note.unlink()
        # The last one closes the door; others may be waiting yet.
        note.parent.rmdir()


def _folder(runs: Runs, caller: str) -> Path:
    if _NAME.fullmatch(caller) is None:
        raise ValueError(f"{caller!r} is no name of a flow run")
    return runs.home / _CALLERS / caller
