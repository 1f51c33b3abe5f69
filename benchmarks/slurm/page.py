"""Writes the measured blocks of docs/benchmarks-slurm.md: `python -m benchmarks.slurm.page`."""

from __future__ import annotations

from typing import Final

from benchmarks.page import DOCS, RESULTS, rewritten
from benchmarks.slurm.outcome import Outcome
from benchmarks.slurm.report import BLOCKS

PAGE: Final = DOCS / "benchmarks-slurm.md"
RESULT: Final = RESULTS / "slurm.json"


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return rewritten(page, lambda name: BLOCKS[name](outcome))


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
