"""Writes the measured blocks of docs/benchmarks-provenance.md: `python -m benchmarks.provenance.page`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.provenance.outcome import Outcome
from benchmarks.provenance.report import BLOCKS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "benchmarks-provenance.md"
RESULT: Final = ROOT / "benchmarks" / "results" / "provenance.json"
_BLOCK: Final = re.compile(r"(?<=<!-- measured: )([\w ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2]}\n{BLOCKS[found[1]](outcome)}\n\n", page)


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
