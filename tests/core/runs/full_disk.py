"""A program that scores on a disk that is too small, prints what came of it, makes room, and scores again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sluiceway.core.errors import StorageFailed
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring


def mount(folder: Path, size: int, *, again: bool = False) -> None:
    option = f"remount,size={size}" if again else f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", folder], check=True)


def score(panel: Path, scores: Path, folder: Path) -> str:
    asked = Asked(panel=panel, scores=(scores,), out=folder / "out", match_log=True)
    try:
        ReferenceScoring(asked, clock=SystemClock()).run()
    except StorageFailed as error:
        return str(error)
    return "done"


def main(panel: Path, scores: Path, folder: Path, size: int) -> None:
    os.environ.update(SLUICEWAY_HOME=str(folder / "home"), SLUICEWAY_CACHE_DIR=str(folder / "cache"))
    mount(folder, size)
    first = score(panel, scores, folder)
    half = sorted(each.name for each in (folder / "out").glob(".*") if each.name != ".lock")
    mount(folder, 1 << 28, again=True)
    second = score(panel, scores, folder)
    tables = {each.name: each.read_bytes().hex() for each in sorted((folder / "out").glob("*.parquet"))}
    left = [str(each) for name in ("scratch", "panels/making") for each in (folder / "cache" / name).glob("*")]
    sys.stdout.write(json.dumps({"first": first, "half": half, "second": second, "tables": tables, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
