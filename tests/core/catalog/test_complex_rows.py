"""Rows about several variants: what can be placed has parts, and the rest stays in the denominators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sluiceway.core.catalog.complex_rows import ComplexRow
from sluiceway.core.genetics.build import X
from sluiceway.core.genetics.model import Model
from tests.core.catalog.files import HARMONISED, HEADER, PLACED, PLAIN, parse

INTERACTION = {
    "rsID": "rs1_x_rs2", "chr_name": "1_x_X", "chr_position": "100_x_200", "effect_allele": "A_x_gt",
    "other_allele": "C_x_G", "effect_weight": "0.5", "is_interaction": "True",
}  # fmt: skip
HAPLOTYPE = {
    "rsID": "rs1;rs2", "chr_name": "6", "chr_position": "100;200", "effect_allele": "A; T", "other_allele": "",
    "effect_weight": "0.5", "is_haplotype": "True",
}  # fmt: skip
DIPLOTYPE = {**HAPLOTYPE, "effect_allele": "A;T/C;T", "is_haplotype": "False", "is_diplotype": "True"}
APOE = {"rsID": "", "effect_allele": "e4", "effect_weight": "1.2", "variant_type": "APOE_allele", "locus_name": "APOE"}


def alleles(row: ComplexRow) -> list[list[tuple[int, int, str]]]:
    return [[(each.chromosome, each.position, each.effect) for each in part] for part in row.parts]


def complex_row(folder: Path, row: Mapping[str, str], header: Mapping[str, str] = HEADER) -> ComplexRow:
    (found,) = parse(folder, row, header=header).complex
    return found


def test_an_interaction_has_a_part_for_each_variant(tmp_path: Path) -> None:
    row = complex_row(tmp_path, INTERACTION)
    assert (row.row_nr, row.model, row.weight) == (0, Model.INTERACTION, 0.5)
    assert alleles(row) == [[(1, 100, "A")], [(X, 200, "GT")]]
    assert [(part[0].other, part[0].rsid) for part in row.parts] == [("C", "rs1"), ("G", "rs2")]


def test_an_interaction_is_known_by_its_joint_too(tmp_path: Path) -> None:
    unflagged = {key: value for key, value in INTERACTION.items() if key != "is_interaction"}
    assert complex_row(tmp_path, unflagged).model is Model.INTERACTION


def test_an_interaction_is_placed_where_it_was_harmonised_to(tmp_path: Path) -> None:
    row = {**INTERACTION, "hm_chr": "1_x_X", "hm_pos": "7_x_8"}
    assert alleles(complex_row(tmp_path, row, HARMONISED)) == [[(1, 7, "A")], [(X, 8, "GT")]]


def test_a_haplotype_has_one_part_and_one_chromosome_said_once(tmp_path: Path) -> None:
    row = complex_row(tmp_path, HAPLOTYPE)
    assert row.model is Model.HAPLOTYPE
    assert alleles(row) == [[(6, 100, "A"), (6, 200, "T")]]


def test_a_diplotype_has_two_parts(tmp_path: Path) -> None:
    row = complex_row(tmp_path, DIPLOTYPE)
    assert row.model is Model.DIPLOTYPE
    assert alleles(row) == [[(6, 100, "A"), (6, 200, "T")], [(6, 100, "C"), (6, 200, "T")]]


def test_a_haplotype_of_one_variant_is_a_plain_row(tmp_path: Path) -> None:
    score = parse(tmp_path, {**PLAIN, "is_haplotype": "True"})
    assert (score.rows["model"].to_list(), score.complex) == ([Model.ADDITIVE], ())


@pytest.mark.parametrize(
    ("effect", "model", "parts"),
    [
        ("e2", Model.HAPLOTYPE, ["TT"]), ("e3", Model.HAPLOTYPE, ["TC"]), ("E4", Model.HAPLOTYPE, ["CC"]),
        ("APOE-ε4", Model.HAPLOTYPE, ["CC"]), ("e3/e4", Model.DIPLOTYPE, ["TC", "CC"]),
        ("APOE e2/APOE e2", Model.DIPLOTYPE, ["TT", "TT"]), ("e2e4", Model.DIPLOTYPE, ["TT", "CC"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("build", "places"), [("GRCh37", (45411941, 45412079)), ("GRCh38", (44908684, 44908822))])
def test_alleles_of_apoe_are_haplotypes_of_two_variants(
    tmp_path: Path, effect: str, model: Model, parts: list[str], build: str, places: tuple[int, int]
) -> None:
    row = complex_row(tmp_path, {**APOE, "effect_allele": effect}, {**HEADER, "genome_build": build})
    assert row.model is model
    assert alleles(row) == [[(19, places[0], part[0]), (19, places[1], part[1])] for part in parts]


@pytest.mark.parametrize(
    "change",
    [
        {"effect_allele": "e5"}, {"effect_allele": "e2/e3/e4"}, {"effect_allele": "e4 or so"},
        {"variant_type": "HLA_allele"}, {"variant_type": "CYP_allele"}, {"variant_type": "HLA_AA"},
        {"variant_type": "HLA_serotype"}, {"effect_weight": ""},
    ],
)  # fmt: skip
def test_alleles_that_cannot_be_read_from_genotypes_stay_unscored(tmp_path: Path, change: Mapping[str, str]) -> None:
    score = parse(tmp_path, {**APOE, **change})
    assert (score.rows["model"].to_list(), score.complex) == ([Model.UNSCORABLE], ())
    assert any("cannot be scored" in note for note in score.notes)


@pytest.mark.parametrize("build", ["NR", "GRCh36"])
def test_apoe_on_a_build_without_its_places_stays_unscored(tmp_path: Path, build: str) -> None:
    score = parse(tmp_path, APOE, header={**HEADER, "genome_build": build})
    assert score.rows["model"].to_list() == [Model.UNSCORABLE]


@pytest.mark.parametrize(
    "row",
    [
        {**INTERACTION, "chr_position": "100"}, {**INTERACTION, "effect_allele": "A_x_P"},
        {**INTERACTION, "chr_name": "1_x_alt"}, {**INTERACTION, "effect_allele": "A"},
        {**HAPLOTYPE, "chr_position": ""}, {**HAPLOTYPE, "effect_allele": "P"},
        {**DIPLOTYPE, "effect_allele": "A;T"}, {**DIPLOTYPE, "effect_allele": "A;T/C"},
        {**DIPLOTYPE, "effect_allele": "A;T/C;T/A;A"},
    ],
)  # fmt: skip
def test_a_complex_row_without_place_stays_in_the_rows_unscored(tmp_path: Path, row: Mapping[str, str]) -> None:
    score = parse(tmp_path, PLAIN, row)
    assert sorted(score.rows["model"].to_list()) == [Model.ADDITIVE, Model.UNSCORABLE]
    assert score.complex == ()


def test_a_complex_row_that_was_not_harmonised_is_not_placed_by_its_old_position(tmp_path: Path) -> None:
    score = parse(tmp_path, PLACED, {**INTERACTION, "hm_chr": "", "hm_pos": ""}, header=HARMONISED)
    assert score.complex == ()


def test_a_complex_row_has_no_key_of_its_own(tmp_path: Path) -> None:
    score = parse(tmp_path, {**APOE, "chr_name": "19", "chr_position": "45411941"}, header=HEADER)
    assert score.rows["key"].to_list() == [0]
