"""Measures what provenance costs: `python -m benchmarks.provenance`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.provenance.page import RESULT
from benchmarks.provenance.report import BLOCKS
from benchmarks.provenance.run import Extent, measure


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.provenance", description=__doc__)
    usual = Extent()
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="how often each is measured")
    parser.add_argument("--outputs", type=int, default=usual.outputs, help="how many outputs there are")
    parser.add_argument("--work", type=Path, help="a folder on the disk that is meant, else a temporary one")
    parser.add_argument("--keep", action="store_true", help="keep the figures as the project's own, for its page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-", dir=given.work) as work:
        outcome = measure(Path(work), Extent(rounds=given.rounds, outputs=given.outputs))
    outcome.write(RESULT if given.keep else Path(tempfile.gettempdir()) / "sluiceway-provenance.json")
    print("\n\n".join(block(outcome) for block in BLOCKS.values()))


if __name__ == "__main__":
    main()
