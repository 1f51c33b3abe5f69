"""A program that refreshes, and is killed with SIGKILL, each time in folders of its own.

`phases` kills before the first call of each step and of what it is made of. `every` kills before each of these calls,
and before each rename, until a refresh survives. The name of each place of death is printed with its folder.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sluiceway.core.catalog.fetch import Fetcher
from sluiceway.core.catalog.history import History
from sluiceway.core.catalog.kept import Kept
from sluiceway.core.catalog.refreshed import Account
from sluiceway.core.genetics import reference as engine
from sluiceway.core.genetics import results
from sluiceway.core.provenance import manifest
from sluiceway.core.runs.reference_scoring import ReferenceScoring
from sluiceway.core.runs.refresh import CatalogRefresh
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import Site

Step = tuple[Any, str]
PHASES: list[Step] = [
    *((CatalogRefresh, each) for each in ("look", "prepare", "plan", "note", "bring", "score", "lay_out", "summary")),
    (History, "keep"),
    (Fetcher, "_keep"),
    (Kept, "write"),
    (engine, "score_part"),
    (results, "keep"),
    (ReferenceScoring, "lay_out"),
    (manifest, "write"),
    (Account, "write"),
]
EVERYTHING: list[Step] = [*PHASES, *((os, name) for name in ("rename", "replace"))]


def dies_at(steps: list[Step], number: int) -> None:
    """Kill this process before so many calls of these steps."""
    left = itertools.count(-number)

    def before(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **options: Any) -> Any:
            if next(left) == 0:
                os.write(1, f"{name}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return stepped

    for owner, name in steps:
        setattr(owner, name, before(name, getattr(owner, name)))


def deaths(how: str) -> Iterator[tuple[list[Step], int]]:
    if how == "phases":
        yield from (([step], 0) for step in PHASES)
    else:
        yield from ((EVERYTHING, number) for number in itertools.count())


def main(how: str, base: str, panel: Path, folder: Path) -> None:
    upstream = LoopbackCatalog(scores={}, sheets={}, base=base)
    for number, (steps, calls) in enumerate(deaths(how)):
        own = folder / str(number)
        site = Site(upstream=upstream, home=own / "home", cache=own / "cache", out=own / "out", panel=panel)
        os.write(1, f"{number}\t".encode())
        child = os.fork()
        if child == 0:
            os.environ.update(SLUICEWAY_HOME=str(site.home), SLUICEWAY_CACHE_DIR=str(site.cache))
            dies_at(steps, calls)
            site.run(workers=1, chunk=2)
            os.write(1, b"survived\n")
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
