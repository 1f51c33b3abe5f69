"""What the benchmark generates is the same everywhere, and is what it says it is."""

from __future__ import annotations

import gzip
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl
import pytest

from benchmarks.scoring.data import extent, row_counts
from benchmarks.scoring.layout import Size, file_name
from tests.benchmarks.conftest import SIZE, generated

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.scoring.layout import Work

pytestmark = pytest.mark.plink2


def digests(work: Work) -> dict[str, str]:
    files = [*work.scores.iterdir(), *(work.panel.with_suffix(end) for end in (".pgen", ".psam", ".pvar.zst"))]
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(work: Work, tmp_path: Path) -> None:
    assert digests(generated(tmp_path)) == digests(work)


def test_another_seed_gives_other_bytes(work: Work, tmp_path: Path) -> None:
    again = digests(generated(tmp_path, replace(SIZE, seed=2)))
    assert all(digest != again[name] for name, digest in digests(work).items())


@pytest.mark.parametrize("scores", [3, SIZE.scores])
def test_what_is_there_is_not_made_again(work: Work, scores: int) -> None:
    before = work.truth.stat().st_mtime_ns
    generated(work.root, replace(SIZE, scores=scores))
    assert work.truth.stat().st_mtime_ns == before


def test_the_extent_is_what_the_files_hold(work: Work) -> None:
    texts = [gzip.decompress((work.scores / file_name(number)).read_bytes()).decode() for number in (1, 2, 3)]
    # The first line that is no remark names the columns.
    rows = sum(sum(not line.startswith("#") for line in text.splitlines()) - 1 for text in texts)
    told = extent(work, 3)
    assert told["rows"] == rows == sum(row_counts(SIZE)[:3])
    assert told["certain_pairs"] < told["pairs"] < rows
    assert told["needed_variants"] <= told["panel_variants"] == SIZE.variants
    assert told["people"] == pl.read_csv(work.panel.with_suffix(".psam"), separator="\t").height


def test_beyond_two_hundred_the_sizes_come_again() -> None:
    counts = row_counts(Size(scores=500, scale=4))
    assert counts[:200] == counts[200:400] == row_counts(Size())
