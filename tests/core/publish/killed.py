"""A program that publishes a version, killed with SIGKILL before each of its disk calls in turn, and then unharmed.

For each it prints what a reader found after the death: the number of the version, and whether all of it was there; and
what the next, unharmed writer published.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from sluiceway.core.publish.dataset import Draft, bytes_piece
from sluiceway.core.publish.snapshot import CURRENT, SEAL, Snapshots, Version
from sluiceway.core.remote.clock import SystemClock
from tests.core.store.killed import STEPS, Death


def draft(word: str) -> Draft:
    pieces = {f"data/{name}": bytes_piece(f"{word} {name}".encode() * 50) for name in ("a", "b")}
    return Draft(
        dataset="toy", pieces=pieces, replaces=lambda _: True, facts={}, card=lambda _: f"# {word}\n"
    )  # fmt: skip


def read(folder: Path) -> tuple[int, bool, str]:
    """What a reader finds by the one name that he knows."""
    version = Version.read((folder / "toy" / CURRENT).resolve())
    assert version is not None
    words = {(version.folder / path).read_text().strip("# ")[:3] for path in version.files}
    names = {str(each.relative_to(version.folder)) for each in version.folder.rglob("*") if each.is_file()}
    whole = all(map(version.is_whole, version.files)) and names == {*version.files, SEAL} and len(words) == 1
    return version.number, whole, words.pop()


def publish(folder: Path, word: str) -> None:
    Snapshots(folder, "toy").publish(draft(word), clock=SystemClock())


def killed_before(number: int, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        death = Death(number)
        for module, name in [*STEPS, (os, "link"), (os, "symlink")]:
            setattr(module, name, death.before(name, getattr(module, name)))
        publish(folder, "new")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    for number in itertools.count():
        own = folder / str(number)
        publish(own, "old")
        ended = killed_before(number, own)
        found = read(own)
        publish(own, "new")
        os.write(1, json.dumps([found, read(own)]).encode() + b"\n")
        if ended != -signal.SIGKILL:
            sys.exit(ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
