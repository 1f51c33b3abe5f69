"""Writes the measured blocks of docs/benchmarks-provenance.md: `python -m benchmarks.provenance.page`."""

from __future__ import annotations

from typing import Final

from benchmarks.page import DOCS, RESULTS, rewritten
from benchmarks.provenance.outcome import Outcome
from benchmarks.provenance.report import BLOCKS

PAGE: Final = DOCS / "benchmarks-provenance.md"
RESULT: Final = RESULTS / "provenance.json"


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return rewritten(page, lambda name: BLOCKS[name](outcome))


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
