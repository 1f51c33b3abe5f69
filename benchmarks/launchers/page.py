"""Writes the measured blocks of docs/benchmarks-launchers.md: `python -m benchmarks.launchers.page`."""

from __future__ import annotations

from typing import Final

from benchmarks.launchers.outcome import Outcome
from benchmarks.launchers.report import BLOCKS
from benchmarks.page import DOCS, RESULTS, rewritten

PAGE: Final = DOCS / "benchmarks-launchers.md"
RESULT: Final = RESULTS / "launchers.json"


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return rewritten(page, lambda name: BLOCKS[name](outcome))


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
