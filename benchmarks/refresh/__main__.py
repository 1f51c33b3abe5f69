"""Measures refreshes of a whole catalogue that is served on this machine: `python -m benchmarks.refresh`."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.refresh import report
from benchmarks.refresh.catalogue import invented
from benchmarks.refresh.page import RESULT
from benchmarks.refresh.run import measure


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refresh", description=__doc__)
    parser.add_argument("--scores", type=int, default=5_300, help="how many scores the catalogue has")
    parser.add_argument("--rows", type=int, default=40, help="how many rows a scoring file has")
    parser.add_argument("--variants", type=int, default=20_000, help="how many variants the panel has")
    parser.add_argument("--people", type=int, default=100, help="how many people the panel has")
    parser.add_argument("--rounds", type=int, default=3, help="how often nothing has changed")
    parser.add_argument("--brief", action="store_true", help="leave out the refresh after one file was revised")
    parser.add_argument("--real", type=Path, help="the folder of real data, to clean their metadata too")
    parser.add_argument("--keep", action="store_true", help="keep the figures as the project's own, for its page")
    given = parser.parse_args()
    if given.real is not None and not (given.real / "metadata").is_dir():
        parser.error(f"{given.real} has no folder metadata")
    said = {"scores": given.scores, "rows": given.rows, "variants": given.variants, "people": given.people}
    with ExitStack() as stack:
        work = tempfile.TemporaryDirectory(prefix="sluiceway-bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(work))
        upstream = stack.enter_context(invented(folder, **said).served())
        outcome = measure(upstream, folder, rounds=given.rounds, brief=given.brief, real=given.real, said=said)
    outcome.write(RESULT if given.keep else Path(tempfile.gettempdir()) / "sluiceway-refresh.json")
    print("\n\n".join(block(outcome) for block in report.BLOCKS.values()))


if __name__ == "__main__":
    main()
