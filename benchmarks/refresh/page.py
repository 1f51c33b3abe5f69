"""Writes the measured blocks of docs/benchmarks-refresh.md: `python -m benchmarks.refresh.page`."""

from __future__ import annotations

from typing import Final

from benchmarks.page import DOCS, RESULTS, rewritten
from benchmarks.refresh.outcome import Outcome
from benchmarks.refresh.report import BLOCKS

PAGE: Final = DOCS / "benchmarks-refresh.md"
RESULT: Final = RESULTS / "refresh.json"


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return rewritten(page, lambda name: BLOCKS[name](outcome))


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
