"""A program that does its share of numbered work: each piece leaves a line, and takes a little while."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from pathlib import Path

from sluiceway.core.registry.shares import Settle, share_out


def main(folder: Path, pieces: int, name: str) -> None:
    done = folder / "done"

    def work(mine: set[str], settle: Settle) -> None:
        sys.stdout.write(f"took {len(mine)}\n")
        sys.stdout.flush()
        for each in sorted(mine):
            if name == "dying" and (done / min(mine)).exists():
                os._exit(9)
            time.sleep(0.01)
            with (done / each).open("a") as file:
                file.write(f"{name}\n")
            settle({each}, set())

    def has(keys: Collection[str]) -> set[str]:
        return {each for each in keys if (done / each).exists()}

    share_out(folder / "home", [f"piece{number}" for number in range(pieces)], work, has=has, waits=lambda _left: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
