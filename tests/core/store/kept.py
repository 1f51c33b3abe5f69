"""A store of artifacts with a stepped clock, and trees to put into it."""

from __future__ import annotations

from pathlib import Path

from sluiceway.core.store.artifacts import ArtifactStore
from tests.clocks import SteppedClock


def store_in(folder: Path, clock: SteppedClock | None = None) -> ArtifactStore:
    return ArtifactStore(folder / "store", clock=clock or SteppedClock())


def tree(folder: Path, name: str = "output", text: str = "one") -> Path:
    """Make a folder with a file, a program, an empty folder and a link."""
    root = folder / name
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_text(text)
    (root / "sub" / "run").write_text("#!/bin/sh\n")
    (root / "sub" / "run").chmod(0o755)
    (root / "link").symlink_to("a.txt")
    return root
