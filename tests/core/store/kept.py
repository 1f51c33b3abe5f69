"""A store of artifacts and results with a stepped clock, and trees to put into it."""

from __future__ import annotations

from pathlib import Path

from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.objects import ObjectStore
from sluiceway.core.store.wanted import Results
from tests.clocks import SteppedClock


def store_in(folder: Path, clock: SteppedClock | None = None) -> ArtifactStore:
    return ArtifactStore(folder / "store", clock=clock or SteppedClock())


def results_in(folder: Path, clock: SteppedClock | None = None) -> Results:
    return Results(store=ObjectStore(folder / "store"), clock=clock or SteppedClock())


def put_result(results: Results, text: str) -> str:
    """Put a result, which is used now by the stepped clock; its key is made of the text."""
    key = digest_of_bytes(text.encode())
    results.store.put(key, lambda path: path.write_text(text), facts={})
    results.touch(key)
    return key


def tree(folder: Path, name: str = "output", text: str = "one") -> Path:
    """Make a folder with a file, a program, an empty folder and a link."""
    root = folder / name
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_text(text)
    (root / "sub" / "run").write_text("#!/bin/sh\n")
    (root / "sub" / "run").chmod(0o755)
    (root / "link").symlink_to("a.txt")
    return root
