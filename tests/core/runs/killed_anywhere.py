"""A program that runs a script again and again, killed before each of its disk calls in turn, and then once unharmed.

For each it prints the call, and what the unharmed run found: how it ended, which attempt it was, how often it started.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from sluiceway.core.registry.home import identity_of
from tests.core.runs.here import Here
from tests.core.store.killed import STEPS, Death

TEXT = 'echo started >>"$1"; echo made >made.txt'


async def once(folder: Path) -> tuple[bool, int, str]:
    here = Here(folder)
    count = folder / "count"
    request = here.request(TEXT, arguments=(str(count),), outputs=("made.txt",))
    receipt = await here.run(request)
    return receipt.succeeded and receipt.is_whole, receipt.attempt, count.read_text()


def killed_before(number: int, folder: Path) -> int:
    """Run in a child that is killed before its call of this number; give how it ended."""
    child = os.fork()
    if child == 0:
        death = Death(number)
        for module, name in [*STEPS, (os, "symlink")]:
            setattr(module, name, death.before(name, getattr(module, name)))
        asyncio.run(once(folder))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    # Who is killed in the registry is seen by tests of its own; here a run must do without one.
    os.environ["SLUICEWAY_REGISTRY"] = "sqlite:////proc/nowhere/registry.sqlite"
    for number in itertools.count():
        own = folder / str(number)
        own.mkdir()
        identity_of(own / "home")
        ended = killed_before(number, own)
        os.write(1, json.dumps(asyncio.run(once(own))).encode() + b"\n")
        if ended != -signal.SIGKILL:
            sys.exit(ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
