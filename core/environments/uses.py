"""Finds which environments something at this place may need yet: runs, sessions, engines that are held.

Whoever uses an environment leaves `activation.json` there, which names the seals of all that it is made of. Folders
of sessions, of engines, of Dask's workers and of what these read are told apart by their names. It stands before
keeper.py in the one text that is sent, so it needs Python 3.6 and nothing else.
"""

import contextlib
import fcntl
import json
import os
import time
from typing import Collection, Iterator, List, Optional

_ACTIVATION, _OVER, _LOCK = "activation.json", "over", ".lock"
_ENDED = ("outcome.json", "cancelled.json", "receipt.json")
# A session may have no job for a while: before its first, and where it renews, between two.
SILENT_SECONDS = 86400.0

DASK = "dask"
BATCHES = "dask-batches"
"""Folders below the base: of schedulers of Dask with workers as jobs, and of what these workers read."""


def needed_by_runs(runs: str) -> Iterator[str]:
    """Give the keys that attempts name which have not ended, as far as their folders tell."""
    for run in names_in(runs):
        for attempt in names_in(os.path.join(runs, run)):
            place = os.path.join(runs, run, attempt)
            if not any(os.path.exists(os.path.join(place, each)) for each in _ENDED):
                yield from _named(place)


def needed_by_others(folder: str, jobs: Optional[Collection[str]]) -> Iterator[str]:
    """Give the keys that sessions and engines name which may be alive; `jobs` are those that Slurm has, by folder."""
    for each in names_in(folder):
        place = os.path.join(folder, each)
        keys = list(_named(place)) + list(_named(os.path.join(place, "environment")))
        if keys and may_be_alive(place, jobs):
            yield from keys


def may_be_alive(place: str, jobs: Optional[Collection[str]]) -> bool:
    """Whether whoever has this folder may work yet: a process here holds its lock, or there may be a job of its."""
    is_held = _is_held(os.path.join(place, _LOCK))
    if is_held is not None:
        return is_held
    if jobs is not None and os.path.basename(place) in jobs:
        return True
    if os.path.exists(os.path.join(place, _OVER)):
        return False
    # Nobody here knows of the jobs of another user, or of another Slurm that has the same files.
    return jobs is None or _is_anothers(place) or time.time() - last_sign(place) < SILENT_SECONDS


def is_over(place: str, jobs: Optional[Collection[str]]) -> bool:
    """Whether nobody needs this folder any more: whoever has it is of this user, and is known to have ended."""
    if jobs is None and not os.path.exists(os.path.join(place, _LOCK)):
        return False
    if _is_anothers(place) or may_be_alive(place, jobs):
        return False
    base, kind = os.path.split(os.path.dirname(place))
    # Workers read a batch for as long as it takes, and write nothing there.
    readers = os.path.join(base, DASK)
    return kind != BATCHES or not any(may_be_alive(os.path.join(readers, each), jobs) for each in names_in(readers))


def names_in(folder: str) -> List[str]:
    """List a folder; nothing where there is none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def last_sign(place: str) -> float:
    """Give when anything below a folder was last written or touched."""
    last = 0.0
    for folder, _, names in os.walk(place):
        for each in [folder] + [os.path.join(folder, name) for name in names]:
            with contextlib.suppress(OSError):
                last = max(last, os.lstat(each).st_mtime)
    return last


def _named(place: str) -> Iterator[str]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open(os.path.join(place, _ACTIVATION), "rb") as file:
            sealed = json.loads(file.read().decode("ascii"))["sealed"]
        for each in sealed:
            yield os.path.basename(each).rpartition(".")[0]


def _is_held(lock: str) -> Optional[bool]:
    """Say whether a process holds a lock; none where there is no such lock."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _is_anothers(place: str) -> bool:
    with contextlib.suppress(OSError):
        return os.lstat(place).st_uid != os.getuid()
    return False
