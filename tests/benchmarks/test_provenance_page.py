"""The page about the cost of provenance shows what was measured, and the benchmark measures all of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.provenance.outcome import Outcome
from benchmarks.provenance.page import PAGE, RESULT, renewed
from benchmarks.provenance.report import BLOCKS
from tests.conftest import ROOT

SMALL = """
import sys
from pathlib import Path
from benchmarks.provenance.run import Extent, measure

extent = Extent(rounds=1, size=1 << 20, outputs=20, clients=8, keys=40, read=1 << 16)
measure(Path(sys.argv[1]), extent).write(Path(sys.argv[1]) / "outcome.json")
"""


def test_the_page_is_made_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert renewed(page, Outcome.read(RESULT)) == page
    assert set(re.findall(r"<!-- measured: ([\w ]+) -->", page)) == BLOCKS.keys()


def test_the_kept_figures_have_as_many_winners_as_keys() -> None:
    claims = Outcome.read(RESULT).claims
    assert set(claims) == {"SQLite", "PostgreSQL"}
    assert all(each.winners == each.keys for rounds in claims.values() for each in rounds)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_it_measures_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SMALL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = Outcome.read(tmp_path / "outcome.json")
    assert all(block(outcome) for block in BLOCKS.values())
    assert outcome.outputs == 20
