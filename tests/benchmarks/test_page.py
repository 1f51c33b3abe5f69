"""The page about benchmarks shows what was measured."""

from __future__ import annotations

from benchmarks.scoring.page import BLOCKS, PAGE, renewed


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page
    assert all(f"<!-- measured: {name} -->" in page for name in BLOCKS)
