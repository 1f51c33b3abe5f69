"""Writes the measured blocks of docs/benchmarks-refresh.md from the kept file: `python -m benchmarks.refresh.page`.

A block stands between `<!-- measured: NAME -->` and `<!-- end -->`; what is around the blocks is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.refresh.outcome import Outcome
from benchmarks.refresh.report import BLOCKS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "benchmarks-refresh.md"
RESULT: Final = ROOT / "benchmarks" / "results" / "refresh.json"
_BLOCK: Final = re.compile(r"(?<=<!-- measured: )([\w ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def renewed(page: str, outcome: Outcome) -> str:
    """Give the page with every measured block written anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2]}\n{BLOCKS[found[1]](outcome)}\n\n", page)


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(), Outcome.read(RESULT)))


if __name__ == "__main__":
    main()
