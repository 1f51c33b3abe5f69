"""Which of a place's variants a row takes, and what the match log says of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.genetics.match import MATCH_TYPES, match
from sluiceway.core.genetics.match_log import COLUMNS, match_log
from sluiceway.core.genetics.policy import Policy
from tests.core.genetics.scored import opened, scored
from tests.core.genetics.test_score import entries_of, row, rows_of, site
from tests.panels import Row, write_pgen

# For each type a row and the two alleles that fit it so, and no better.
FITS: list[tuple[tuple[str, str | None], dict[str, tuple[str, str]]]] = [
    (("A", "G"), {"refalt": ("A", "G"), "altref": ("G", "A"), "refalt_flip": ("T", "C"), "altref_flip": ("C", "T")}),
    (
        ("A", None),
        {"no_oa_ref": ("A", "C"), "no_oa_alt": ("G", "A"), "no_oa_ref_flip": ("T", "C"), "no_oa_alt_flip": ("C", "T")},
    ),
]
PAIRS = [
    (alleles, worse, better, types) for alleles, types in FITS for at, better in enumerate(types)
    for worse in list(types)[at + 1 :]
]  # fmt: skip


@pytest.mark.parametrize(("alleles", "types"), FITS)
def test_a_row_fits_a_variant_in_one_way(alleles: tuple[str, str | None], types: dict[str, tuple[str, str]]) -> None:
    for name, (ref, alt) in types.items():
        found = match(rows_of([[row(*alleles)]]), entries_of([site(5, ref, alt)]), Policy(ambiguous="keep"))
        assert MATCH_TYPES[found.type[0]] == name


@pytest.mark.parametrize(
    ("alleles", "worse", "better", "types"), PAIRS, ids=[f"{each[2]} before {each[1]}" for each in PAIRS]
)
def test_a_row_takes_the_variant_that_it_fits_best_wherever_that_stands(
    alleles: tuple[str, str | None], worse: str, better: str, types: dict[str, tuple[str, str]]
) -> None:
    for order in (1, -1):
        sites = [site(5, *types[name]) for name in (worse, better)][::order]
        entries = entries_of(sites)
        found = match(rows_of([[row(*alleles)]]), entries, Policy(ambiguous="keep"))
        assert MATCH_TYPES[found.type[0]] == better
        assert entries.variant[found.entry[0]] == (1 if order == 1 else 0)


def test_of_two_records_alike_a_row_takes_the_first() -> None:
    entries = entries_of([site(5, "A", "G"), site(5, "A", "G")])
    found = match(rows_of([[row("G", "A")]]), entries, Policy())
    assert entries.variant[found.entry[0]] == 0


def test_a_palindromic_row_that_fits_as_written_is_not_turned() -> None:
    found = match(rows_of([[row("A", "T")]]), entries_of([site(5, "T", "A")]), Policy(ambiguous="keep"))
    assert MATCH_TYPES[found.type[0]] == "altref"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    rows = [
        Row(place="1:100", ref="A", alt="G", calls="0/1 1/1 0/0"),
        Row(place="1:200", ref="A", alt="T", calls="0/1 1/1 0/0"),
        Row(place="2:100", ref="A", alt="G", calls="0/1 1/1 0/0"),
        Row(place="X:5000000", ref="C", alt="T,G", calls="0/1 1/2 0/0"),
    ]
    return write_pgen(tmp_path / "toy", "#IID SEX\na 2\nb 2\nc 2", rows)


@pytest.mark.parametrize("multiallelic", ["drop", "keep"])
def test_the_log_has_a_line_for_each_row_in_the_files_order(
    prefix: Path, tmp_path: Path, multiallelic: Literal["drop", "keep"]
) -> None:
    file = tmp_path / "P.txt"
    head = "chr_name chr_position effect_allele other_allele effect_weight"
    rows = ["X 5000000 t c 1", "1 200 A T 2", "1 100 C T 3", "2 100 T . 4", "9 9 A C 5", "6 1 HLA . 6"]
    lines = ["\t".join("" if each == "." else each for each in line.split()) for line in (head, *rows)]
    file.write_text("\n".join(lines))
    (score,) = read_scoring_file(file)
    log = match_log(opened(prefix, tmp_path), score, Policy(multiallelic=multiallelic))
    assert tuple(log.columns) == COLUMNS
    several = ("excluded", "multiallelic") if multiallelic == "drop" else ("matched", "exact")
    told = ("row_nr", "matched_effect_allele", "match_type", "match_status", "reason", "is_ambiguous", "match_flipped")
    assert log.select(told).rows() == [
        (0, "T", "altref", *several, False, False),
        (1, "A", "refalt", "excluded", "ambiguous", True, False),
        (2, "G", "altref_flip", "matched", "flipped", False, True),
        (3, "A", "no_oa_ref_flip", "matched", "one_allele", False, True),
        (4, None, None, "unmatched", "not_in_panel", None, False),
        (5, None, None, "unmatched", "bad_allele", None, False),
    ]
    assert log["is_multiallelic"].to_list() == [True, False, False, False, None, None]


@pytest.mark.parametrize(("odds_ratios", "sums"), [("refuse", [0, 0, 0]), ("log", [1, 2, 0])])
def test_an_odds_ratio_counts_as_its_logarithm_where_that_is_asked_for_and_never_as_it_is(
    prefix: Path, tmp_path: Path, odds_ratios: str, sums: list[float]
) -> None:
    file = tmp_path / "P.txt"
    lines = ("chr_name chr_position effect_allele other_allele effect_weight OR", f"1 100 G A . {math.e}")
    file.write_text("\n".join("\t".join("" if each == "." else each for each in line.split()) for line in lines))
    policy = Policy.model_validate({"odds_ratios": odds_ratios})
    (result,) = scored(opened(prefix, tmp_path), [file], policy, tmp_path)
    np.testing.assert_allclose(result.people["sum_2"], sums, atol=1e-12)
