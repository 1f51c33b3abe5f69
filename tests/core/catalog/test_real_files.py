"""Real files of the catalogue and of programs that use it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.score_table import ParsedScore
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.build import MT, Build, X
from sluiceway.core.genetics.model import Model

REFUSED = {
    "multiscore.txt": "neither the column rsID nor both",
    "test.scorefile": "neither the column rsID nor both",
    "bad_harmonised.txt": "no row says which variant",
    "invalid_scorefile.txt": "no row says which variant",
}


def only(path: Path) -> ParsedScore:
    (score,) = read_scoring_file(path)
    return score


def in_file_order(score: ParsedScore) -> pl.DataFrame:
    return score.rows.sort("row_nr")


def test_every_real_file_is_read_or_refused_for_its_reason(real_data: Path) -> None:
    refused = {}
    for path in sorted(each for each in (real_data / "scoring").rglob("*") if each.is_file()):
        try:
            assert all(score.rows.height for score in read_scoring_file(path))
        except ScoringFileBroken as broken:
            refused[path.name] = broken.reason
    assert refused.keys() == REFUSED.keys()
    assert all(REFUSED[name] in reason for name, reason in refused.items())


@pytest.mark.parametrize("name", ["_format1.0.txt.gz", "_hmPOS_GRCh37.txt.gz", "_hmPOS_GRCh38.txt.gz"])
def test_one_score_is_equal_in_all_its_versions(real_data: Path, name: str) -> None:
    folder = real_data / "scoring" / "PGS000001"
    compared = ["row_nr", "effect", "other", "weight", "model", "effect_allele", "other_allele", "rsid", "OR"]
    first = in_file_order(only(folder / "PGS000001.txt.gz")).select(compared)
    assert in_file_order(only(folder / f"PGS000001{name}")).select(compared).equals(first)


@pytest.mark.parametrize("build", list(Build)[1:])
def test_a_copy_that_went_through_a_spreadsheet_has_the_same_places(real_data: Path, build: Build) -> None:
    name = f"PGS000001_hmPOS_{build}"
    mangled, sound = (only(real_data / "scoring" / "PGS000001" / f"{name}{end}") for end in (".txt", ".txt.gz"))
    assert mangled.build == sound.build == build
    assert mangled.rows["key"].equals(sound.rows["key"])
    assert mangled.header.matched_position == sound.header.matched_position


def test_a_score_of_format_1_has_its_chromosomes_and_its_hla_row(real_data: Path) -> None:
    score = only(real_data / "scoring" / "PGS000958.txt.gz")
    on = score.rows["key"].to_numpy() >> 59
    assert {X, MT} <= {int(each) for each in on}
    assert (score.rows.height, score.header.variants_number, score.build) == (9400, 9400, Build.GRCH37)
    unscorable = score.rows.filter(pl.col("model") == Model.UNSCORABLE)
    assert unscorable["effect_allele"].to_list() == ["P"]
    assert unscorable["weight"].to_list() == [1.002758e-03]


def test_hla_haplotypes_and_diplotypes_stay_in_the_rows_unscored(real_data: Path) -> None:
    score = only(real_data / "scoring" / "pygscatalog" / "complex_variants_PGS000021.txt")
    unscorable = score.rows.filter(pl.col("model") == Model.UNSCORABLE)
    assert (score.rows.height, unscorable.height, score.complex) == (33, 8, ())
    assert unscorable["effect_allele"].str.starts_with("HLA-").all()
    assert score.rows["weight"].is_nan().sum() == 0


def test_dominant_and_recessive_rows_are_told_apart(real_data: Path) -> None:
    score = only(real_data / "scoring" / "pygscatalog" / "PGS000802_hmPOS_GRCh37.txt")
    assert {*score.rows["model"]} >= {Model.DOMINANT, Model.RECESSIVE}
    assert score.rows["frequency"].null_count() == 0


def test_weights_by_dosage_are_read(real_data: Path) -> None:
    score = only(real_data / "scoring" / "pygscatalog" / "PGS004255_hmPOS_GRCh38.txt.gz")
    assert {*score.rows["model"]} == {Model.DOSAGE}
    assert in_file_order(score).select("weight_0", "weight_1", "weight_2").row(0) == (
        -0.09833810000000001,
        0.08934160000000001,
        0.4437184,
    )


def test_inferred_other_alleles_are_taken(real_data: Path) -> None:
    score = only(real_data / "scoring" / "pgscatalog_utils" / "test_scoring_file_hmpos_37_2.txt.gz")
    assert in_file_order(score)["other_allele"][0] == "C"


def test_a_table_of_two_scores_is_two_scores(real_data: Path) -> None:
    scores = read_scoring_file(real_data / "scoring" / "pygscatalog" / "combined.txt.gz")
    assert [(score.name, score.rows.height) for score in scores] == [("PGS000001", 77), ("PGS000002", 77)]


def test_the_same_weights_have_the_same_places_after_lifting(real_data: Path) -> None:
    old, new = (only(real_data / "scoring" / "pygscatalog" / f"lift_to_grch{build}.txt") for build in (38, 37))
    assert (old.build, new.build) == (Build.GRCH37, Build.GRCH38)
    assert in_file_order(old)["weight"].equals(in_file_order(new)["weight"])
