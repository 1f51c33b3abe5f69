"""A program that puts an object and is killed with SIGKILL: once before each step, each time in a store of its own.

The steps are the calls that touch the disk; they are counted by going on until a put survives.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluiceway.core.store.objects import ObjectStore

KEY = f"sha256:{'ab' * 32}"
OLD, NEW = b"old" * 5, b"new" * 2000
STEPS = [
    *((os, name) for name in ("chmod", "fsync", "ftruncate", "mkdir", "open", "pwrite", "rename", "replace", "rmdir")),
    (os, "unlink"),
    (io, "open"),
    (fcntl, "flock"),
]


class Death:
    """Kills this process before the step of this number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def step(self, name: str) -> None:
        if self.left == 0:
            os.write(1, f"{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **options: Any) -> Any:
            self.step(name)
            return call(*args, **options)

        return stepped

    def payload(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write(NEW[:100])
            file.flush()
            self.step("half a payload")
            file.write(NEW[100:])


def put_until_killed(folder: Path, number: int) -> None:
    store, death = ObjectStore(folder), Death(number)
    for module, name in STEPS:
        setattr(module, name, death.before(name, getattr(module, name)))
    store.put(KEY, death.payload, facts={"n": 1})


def main(folder: Path, there: bytes) -> None:
    for number in itertools.count():
        own = folder / str(number)
        if there:
            ObjectStore(own).put(KEY, lambda path: path.write_bytes(there), facts={"n": 1})
        child = os.fork()
        if child == 0:
            put_until_killed(own, number)
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].encode())
