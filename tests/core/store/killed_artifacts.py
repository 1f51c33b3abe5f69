"""A program that puts, names, shows, collects or restores, and is killed with SIGKILL before each step that touches
the disk: each time in a store of its own."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.gc import Garbage
from sluiceway.core.store.links import Links
from sluiceway.core.store.tags import Tags
from tests.clocks import SteppedClock
from tests.core.store.kept import put_result, results_in, store_in, tree
from tests.core.store.killed import STEPS, Death

NOW = timedelta()


def prepared(own: Path) -> tuple[ArtifactStore, str]:
    """A store with an old artifact that nothing names, and another in the trash; and a result of two that is needed."""
    store = store_in(own, SteppedClock())
    first, second = (store.put(tree(own, name, name)).digest for name in ("first", "second"))
    garbage = Garbage(store=store, grace=NOW)
    garbage.collect([first], do=True)
    assert garbage.in_trash() == [second]
    needed, *_ = (put_result(results_in(own), text) for text in "ab")
    results_in(own).want(own, [needed], also=False)
    return store, first


def put(own: Path) -> None:
    store_in(own).put(own / "third")


def name(own: Path) -> None:
    store = store_in(own)
    Tags(store).tag("best", next(store.every()))


def show(own: Path) -> None:
    store = store_in(own)
    Links(store).link(store.require(next(store.every())), own / "shown")


def collect(own: Path) -> None:
    Garbage(store=store_in(own), grace=NOW, keep_trash=NOW).collect([], do=True)


def restore(own: Path) -> None:
    garbage = Garbage(store=store_in(own))
    garbage.restore(garbage.in_trash()[0])


def results(own: Path) -> None:
    results_in(own).collect(grace=NOW, keep_trash=NOW, do=True)


WORK: dict[str, Callable[[Path], None]] = {
    "put": put, "name": name, "show": show, "collect": collect, "restore": restore, "results": results,
}  # fmt: skip


def main(folder: Path, what: str) -> None:
    for number in itertools.count():
        own = folder / str(number)
        own.mkdir()
        prepared(own)
        tree(own, "third", "third")
        child = os.fork()
        if child == 0:
            death = Death(number)
            for module, step in STEPS:
                setattr(module, step, death.before(step, getattr(module, step)))
            WORK[what](own)
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
