"""The table of a score: what was written is read, in the same bytes each time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.score_table import ParsedScore, content_digest, read_table, write_table
from sluiceway.core.errors import ScoringFileBroken
from tests.core.catalog.files import HARMONISED, HEADER, PLACED, PLAIN, parse
from tests.core.catalog.test_complex_rows import APOE, INTERACTION


@pytest.fixture
def score(tmp_path: Path) -> ParsedScore:
    return parse(tmp_path, PLAIN, INTERACTION, APOE, {**PLAIN, "chr_name": "é"}, header={**HEADER, "note": "naïve"})


BESIDES_ROWS = [each.name for each in fields(ParsedScore) if each.name != "rows"]


def test_a_table_gives_back_the_score(score: ParsedScore, tmp_path: Path) -> None:
    write_table(score, tmp_path / "score.parquet")
    for back in (read_table(tmp_path / "score.parquet"), read_table((tmp_path / "score.parquet").read_bytes())):
        assert back.rows.equals(score.rows)
        assert all(getattr(back, name) == getattr(score, name) for name in BESIDES_ROWS)
        assert content_digest(back) == content_digest(score)


def test_a_table_gives_only_the_columns_that_are_asked_for(score: ParsedScore, tmp_path: Path) -> None:
    write_table(score, tmp_path / "score.parquet")
    back = read_table(tmp_path / "score.parquet", ["key", "weight"])
    assert back.rows.equals(score.rows.select("key", "weight"))
    assert back.header == score.header


def test_the_same_score_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(parse(tmp_path, PLACED, PLAIN, header=HARMONISED), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {**PLAIN, "effect_weight": "0.50000000000000011"},
        {**PLAIN, "effect_allele": "C"},
        {**PLAIN, "other_allele": ""},
        {**PLAIN, "chr_position": "1001"},
        {**PLAIN, "is_dominant": "1"},
        {**PLAIN, "allelefrequency_effect": "0.1"},
        APOE,
    ],
)
def test_a_changed_row_changes_the_digest(tmp_path: Path, changed: dict[str, str]) -> None:
    assert content_digest(parse(tmp_path, PLAIN, changed)) != content_digest(parse(tmp_path, PLAIN, PLAIN))


def test_a_changed_header_changes_the_digest_and_a_comment_column_does_not(tmp_path: Path) -> None:
    plain = content_digest(parse(tmp_path, PLAIN))
    assert plain.startswith("sha256:")
    assert content_digest(parse(tmp_path, PLAIN, header={**HEADER, "license": "CC0"})) != plain
    assert content_digest(parse(tmp_path, {**PLAIN, "locus_name": "x"})) == plain


def test_what_is_no_table_of_a_score_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    for source in (path, path.read_bytes(), b"nonsense", tmp_path / "absent"):
        with pytest.raises(ScoringFileBroken, match="it is no table of a score"):
            read_table(source)
