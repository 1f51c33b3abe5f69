"""The page about jobs on Slurm shows what was measured."""

from __future__ import annotations

import re

from benchmarks.slurm.outcome import Outcome
from benchmarks.slurm.page import PAGE, RESULT, renewed
from benchmarks.slurm.report import BLOCKS


def test_the_page_is_made_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert renewed(page, Outcome.read(RESULT)) == page
    assert set(re.findall(r"<!-- measured: ([\w ]+) -->", page)) == BLOCKS.keys()
