"""A program that scores, and is killed with SIGKILL: once before each step, each time in folders of its own.

The steps are the calls of a few functions and whatever gives a file its name. They are counted by going on until a run
survives; the name of each step is printed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sluiceway.core.genetics import reference as engine
from sluiceway.core.genetics import results
from sluiceway.core.provenance import manifest
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring

STEPS = [
    *((os, name) for name in ("rename", "replace")),
    *((ReferenceScoring, name) for name in ("prepare", "plan", "waiting", "score", "log_matches", "lay_out", "seal")),
    (engine, "stage"),
    (engine, "score_part"),
    (results, "keep"),
    (manifest, "write"),
]


class Death:
    """Kills this process before the step of this number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **options: Any) -> Any:
            if self.left == 0:
                os.write(1, f"{name}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return call(*args, **options)

        return stepped


def score_until_killed(panel: Path, scores: Path, own: Path, number: int) -> None:
    os.environ.update(SLUICEWAY_HOME=str(own / "home"), SLUICEWAY_CACHE_DIR=str(own / "cache"))
    death = Death(number)
    for owner, name in STEPS:
        setattr(owner, name, death.before(name, getattr(owner, name)))
    asked = Asked(panel=panel, scores=(scores,), out=own / "out", workers=1, match_log=True)
    ReferenceScoring(asked, clock=SystemClock(), keep_every=timedelta(0)).run()


def main(panel: Path, scores: Path, folder: Path) -> None:
    for number in itertools.count():
        child = os.fork()
        if child == 0:
            score_until_killed(panel, scores, folder / str(number), number)
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
