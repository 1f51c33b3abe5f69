"""The page about launchers' speed shows what was measured."""

from __future__ import annotations

import re

from benchmarks.launchers.outcome import Outcome
from benchmarks.launchers.page import PAGE, RESULT, renewed
from benchmarks.launchers.report import BLOCKS


def test_the_page_is_made_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert renewed(page, Outcome.read(RESULT)) == page
    assert set(re.findall(r"<!-- measured: ([\w ]+) -->", page)) == BLOCKS.keys()
