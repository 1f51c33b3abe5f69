"""A program that seals an output and is killed with SIGKILL: once before each step, each time in a project of its own.

The steps are the calls that touch the disk; they are counted by going on until a seal survives. Half a line is a write
of the ledger's line of which only the beginning came to the disk.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.core.provenance.sealed import Project
from tests.core.store.killed import STEPS, Death


def seal_until_killed(folder: Path, number: int) -> None:
    death = Death(number)
    pwrite = os.pwrite
    for module, name in STEPS:
        setattr(module, name, death.before(name, getattr(module, name)))

    def half(handle: int, content: bytes, offset: int) -> Any:
        death.step("pwrite")
        if death.left == 0:
            pwrite(handle, content[: len(content) // 2], offset)
        death.step("half a line")
        return pwrite(handle, content, offset)

    os.pwrite = half  # type: ignore[assignment]
    Project(folder).seal("killed.txt", "content")


def main(folder: Path, there: int) -> None:
    for number in itertools.count():
        own = folder / str(number)
        own.mkdir()
        for before in range(there):
            Project(own).seal(f"{before}.txt", "content")
        child = os.fork()
        if child == 0:
            seal_until_killed(own, number)
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
