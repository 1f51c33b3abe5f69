"""Plain files are read in a quick way, which gives what the careful one gives, or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sluiceway.core.catalog import text_table
from sluiceway.core.catalog.plain_fields import MANY, Kind, read_fields
from sluiceway.core.catalog.plain_rows import read_plain
from sluiceway.core.catalog.score_rows import Layout, ScoreRows, read_rows
from sluiceway.core.catalog.score_table import with_text
from sluiceway.core.catalog.scoring_file import read_packed, read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from tests.core.catalog.files import HARMONISED, PLACED, PLAIN, text_of, write

IDS = st.sampled_from(["rs1", "rs4294967295", "rs9999999999", "", ".", "NA"])
ODD_IDS = st.sampled_from(["rs01", "rs", "1:2:A:G", "RS7", "rs12345678901234567890", "ré"])
CHROMOSOMES = st.sampled_from(["1", "22", "X", "chr3", "MT", "23", "", "NA", "HLA*A", "01", "300"])
POSITIONS = st.sampled_from(["1", "1000", "248956422", "999999999", "0", "", ".", "007"])
ODD_POSITIONS = st.sampled_from(["1e6", "12.0", "-5", "9999999999", "x", " 5"])
ALLELES = st.sampled_from(["A", "C", "g", "T", "ACGT", "A" * 40])
OTHERS = st.sampled_from(["A", "C", "", "NA", "A/T", "-", "GT", "T,C", "/"])
WEIGHTS = st.floats(-5, 5, allow_nan=False).map(lambda value: f"{value:.6f}") | st.sampled_from(["-0", "1E-5", "12e3"])
ODD_WEIGHTS = st.floats().map(repr) | st.sampled_from(["", "NA", "1.", ".5", "+1", "1e", "--1", " 1", "1e99"])
USUAL = {
    "rsID": IDS, "chr_name": CHROMOSOMES, "chr_position": POSITIONS, "effect_allele": ALLELES,
    "other_allele": OTHERS, "effect_weight": WEIGHTS, "allelefrequency_effect": st.sampled_from(["0.25", "", "1e-3"]),
    "hm_source": st.sampled_from(["ENSEMBL", "Unknown", ""]), "hm_rsID": IDS, "hm_chr": CHROMOSOMES,
    "hm_pos": POSITIONS, "hm_inferOtherAllele": OTHERS,
}  # fmt: skip
ODD = {
    "rsID": ODD_IDS, "chr_position": ODD_POSITIONS, "effect_weight": ODD_WEIGHTS, "hm_pos": ODD_POSITIONS,
    "effect_allele": st.sampled_from(["", "APOE2", "A x B", "N"]), "chr_name": st.sampled_from(["é", "1 ", "1\t2"]),
}  # fmt: skip


def quick_and_careful(text: str) -> tuple[ScoreRows | None, ScoreRows | None]:
    """What both ways say about the same text; none where the one leaves it, or the other refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score.txt"
        path.write_text(text, newline="")
        lines = text_table.lines_of(path)
    harmonised = "hm_pos" in lines.columns
    layout = Layout.of(lines.columns, weight="effect_weight", harmonised=harmonised, build=None)
    quick = read_plain(lines, layout)
    try:
        return quick, read_rows(text_table.read(lines), layout)
    except ScoringFileBroken:
        return quick, None


def require_same(quick: ScoreRows, careful: ScoreRows | None) -> None:
    """Both ways say the same, to the last bit."""
    assert careful is not None
    assert_frame_equal(with_text(quick.rows), careful.rows, check_exact=True)
    assert (quick.complex, quick.notes) == (careful.complex, careful.notes)


@st.composite
def rows(draw: st.DrawFn, fields: Mapping[str, st.SearchStrategy[str]]) -> Sequence[Mapping[str, str]]:
    columns = draw(st.sets(st.sampled_from(sorted(fields))))
    columns |= {"effect_allele", "effect_weight", "chr_name", "chr_position"}
    if {"hm_chr", "hm_pos"} & columns:
        columns |= {"hm_chr", "hm_pos"}
    return draw(st.lists(st.fixed_dictionaries({name: fields[name] for name in sorted(columns)}), min_size=1))


@settings(max_examples=60, deadline=None)
@given(rows(USUAL))
def test_a_usual_file_says_the_same_in_both_ways(given: Sequence[Mapping[str, str]]) -> None:
    quick, careful = quick_and_careful(text_of(given, HARMONISED))
    if quick is None:
        unclear = {"/"} & {row.get(name) for row in given for name in ("other_allele", "hm_inferOtherAllele")}
        assert unclear or careful is None or not careful.rows["key"].to_numpy().any()
    else:
        require_same(quick, careful)


@settings(max_examples=60, deadline=None)
@given(rows({name: USUAL[name] | ODD.get(name, USUAL[name]) for name in USUAL}))
@example([{**PLAIN, "effect_weight": "0.12345678901234567"}])
@example([{**PLAIN, "chr_name": "1\t2"}])
def test_an_odd_file_is_left_to_the_careful_way_or_says_the_same(given: Sequence[Mapping[str, str]]) -> None:
    quick, careful = quick_and_careful(text_of(given, HARMONISED))
    if quick is not None:
        require_same(quick, careful)


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\r\n"])
def test_the_end_of_the_text_changes_nothing(ending: str) -> None:
    text = text_of([PLACED, PLACED], HARMONISED).rstrip("\n") + ending
    quick, careful = quick_and_careful(text)
    assert careful is not None
    assert careful.rows.height == 2
    if quick is None:
        assert ending == "\n\n"
    else:
        require_same(quick, careful)


@pytest.mark.parametrize("line", ["1\t5\tA\tG", "1\t5\tA\tG\t1\t1", "\n", "1\t5\tA\tG\t"])
def test_a_line_with_other_fields_is_left_to_the_careful_way(tmp_path: Path, line: str) -> None:
    path = tmp_path / "score.txt"
    path.write_text(text_of([PLAIN], HARMONISED) + line + "\n")
    lines = text_table.lines_of(path)
    assert read_plain(lines, Layout.of(lines.columns, weight="effect_weight", harmonised=False, build=None)) is None


@settings(max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**16), 10**16), st.sampled_from("gef"))
def test_a_number_is_rounded_as_python_rounds_it_or_left_to_others(value: float, form: str) -> None:
    text = f"{value:.12{form}}"
    fields = read_fields(f"A\t{text}\n".encode(), 0, [Kind.WORD, Kind.NUMBER])
    assert fields is not None
    if not fields.is_odd[1]:
        assert repr(fields.numbers[0, 0].item()) == repr(float(text))


def test_many_different_words_are_no_column_of_words() -> None:
    text = "".join(f"w{number}\n" for number in range(MANY + 1)).encode()
    fields, few = read_fields(text, 0, [Kind.WORD]), read_fields(text[: text.rindex(b"w")], 0, [Kind.WORD])
    assert fields is not None
    assert few is not None
    assert (fields.is_odd.tolist(), few.is_odd.tolist()) == ([True], [False])
    assert np.array_equal(few.words[0], np.arange(MANY))


def test_what_is_kept_as_numbers_reads_as_text(tmp_path: Path) -> None:
    path = write(tmp_path / "score.txt", {**PLACED, "hm_rsID": "rs7"}, header=HARMONISED)
    (packed,), (score,) = read_packed(path), read_scoring_file(path)
    assert packed.rows.schema["rsid"] == pl.UInt64
    assert isinstance(packed.rows.schema["effect_allele"], pl.Enum)
    assert score.rows.select("rsid", "effect_allele").row(0) == ("rs7", "A")
