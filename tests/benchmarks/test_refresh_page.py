"""The page about refreshes shows what was measured."""

from __future__ import annotations

import re

from benchmarks.refresh.outcome import Outcome
from benchmarks.refresh.page import PAGE, RESULT, renewed
from benchmarks.refresh.report import BLOCKS


def test_the_page_is_made_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert renewed(page, Outcome.read(RESULT)) == page
    assert set(re.findall(r"<!-- measured: ([\w ]+) -->", page)) == BLOCKS.keys()
