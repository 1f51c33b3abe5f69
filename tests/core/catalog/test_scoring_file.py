"""The rules of the catalogue's scoring files, one by one."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.genetics.alleles import ANY_PAIR, INVALID, NONE, allele_code
from sluiceway.core.genetics.build import MT, Build, X, Y
from sluiceway.core.genetics.model import Model
from tests.core.catalog.files import HARMONISED, HEADER, PLACED, PLAIN, parse, places, text_of, write

DOSAGES = {"dosage_0_weight": "0", "dosage_1_weight": "0.1", "dosage_2_weight": "0.3"}
WITHOUT_WEIGHT = {key: value for key, value in PLAIN.items() if key != "effect_weight"}


def test_the_columns_come_in_their_order(tmp_path: Path) -> None:
    row = {
        **WITHOUT_WEIGHT, **DOSAGES, "OR": "1.2", "allelefrequency_effect": "0.3", "hm_source": "ENSEMBL",
        "hm_rsID": "rs2", "hm_chr": "1", "hm_pos": "7", "locus_name": "here",
    }  # fmt: skip
    unweighed = {key: value for key, value in row.items() if key not in DOSAGES}
    assert parse(tmp_path, row, unweighed, header=HARMONISED).rows.schema == pl.Schema(
        {
            "row_nr": pl.UInt32, "key": pl.UInt64, "effect": pl.UInt64, "other": pl.UInt64,
            "weight": pl.Float64, "model": pl.UInt8, "weight_0": pl.Float64, "weight_1": pl.Float64,
            "weight_2": pl.Float64, "frequency": pl.Float32, "ratio": pl.Float64, "effect_allele": pl.String,
            "other_allele": pl.String, "rsid": pl.String, "hm_source": pl.String, "chr_name": pl.String,
            "chr_position": pl.UInt32, "OR": pl.String, "locus_name": pl.String,
        }
    )  # fmt: skip


def test_a_plain_file_has_the_plain_columns(tmp_path: Path) -> None:
    assert parse(tmp_path, PLAIN).rows.columns == [
        "row_nr", "key", "effect", "other", "weight", "model", "effect_allele", "other_allele", "rsid",
    ]  # fmt: skip


def test_rows_are_sorted_by_place_and_know_their_line(tmp_path: Path) -> None:
    rows = [{**PLAIN, "chr_name": chromosome} for chromosome in ("10", "2", "contig", "2")]
    score = parse(tmp_path, *rows)
    assert score.rows["row_nr"].to_list() == [2, 1, 3, 0]
    assert score.rows["key"].is_sorted()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (HEADER, "PGS000001"),
        ({"omicspred_id": "OPGS1"}, "OPGS1"),
        ({"score_id": "S1"}, "S1"),
        ({"pgs_name": "mine"}, "score"),
        ({}, "score"),
    ],
)
def test_a_score_is_called_by_its_id_or_its_file(tmp_path: Path, header: Mapping[str, str], name: str) -> None:
    assert parse(tmp_path, PLAIN, header=header).name == name


@pytest.mark.parametrize("name", ["mine.txt", "mine.txt.gz", "mine.tsv", "mine.gz", "mine"])
def test_a_custom_file_is_called_by_its_stem_however_it_is_packed(tmp_path: Path, name: str) -> None:
    (score,) = read_scoring_file(write(tmp_path / name, PLAIN, header={}))
    assert (score.name, score.rows.height) == ("mine", 1)


def test_each_column_of_weights_is_a_score(tmp_path: Path) -> None:
    row = {**WITHOUT_WEIGHT, "effect_weight_height": "0.1", "effect_weight_weight": "-2"}
    scores = read_scoring_file(write(tmp_path / "two.txt", row, header={}))
    assert [(score.name, score.rows["weight"].to_list()) for score in scores] == [("height", [0.1]), ("weight", [-2])]


def test_scores_that_were_put_into_one_table_are_told_apart(tmp_path: Path) -> None:
    rows = [{**PLAIN, "accession": name, "row_nr": "0"} for name in ("PGS2", "PGS1", "PGS2")]
    scores = read_scoring_file(write(tmp_path / "combined.txt", *rows, header={}))
    assert [(score.name, score.rows["row_nr"].to_list()) for score in scores] == [("PGS1", [1]), ("PGS2", [0, 2])]
    assert "row_nr_in_file" in scores[0].rows.columns


@pytest.mark.parametrize(("alias", "name"), [("rsid", "rsID"), ("reference_allele", "other_allele")])
def test_old_names_of_columns_are_known(tmp_path: Path, alias: str, name: str) -> None:
    row = {"rsID": "rs1", **PLAIN}
    renamed = {alias if key == name else key: value for key, value in row.items()}
    assert parse(tmp_path, renamed).rows.equals(parse(tmp_path, row).rows)


# Weights and models.


@pytest.mark.parametrize(
    "text", ["0.1", "1e-05", "-2.76E-02", "+.5", "7", "5e-324", "0.16220387987485377", "123456789.123456789123456789"]
)
def test_a_weight_is_the_nearest_number_to_its_digits(tmp_path: Path, text: str) -> None:
    assert parse(tmp_path, {**PLAIN, "effect_weight": text}).rows["weight"].to_list() == [float(text)]


@pytest.mark.parametrize("text", ["", ".", "NA", "nan"])
def test_a_row_without_weight_stays_and_counts_in_denominators_alone(tmp_path: Path, text: str) -> None:
    score = parse(tmp_path, PLAIN, {**PLAIN, "effect_weight": text})
    assert score.rows["model"].to_list() == [Model.ADDITIVE, Model.UNSCORABLE]
    assert math.isnan(score.rows["weight"][1])
    assert "1 rows have no weight" in score.notes


def test_weights_by_dosage_are_kept_as_three(tmp_path: Path) -> None:
    rows = parse(tmp_path, {**WITHOUT_WEIGHT, **DOSAGES}).rows
    assert rows["model"].to_list() == [Model.DOSAGE]
    assert rows.select("weight_0", "weight_1", "weight_2").row(0) == (0.0, 0.1, 0.3)
    assert math.isnan(rows["weight"][0])


def test_an_effect_weight_wins_over_dosage_weights_row_by_row(tmp_path: Path) -> None:
    score = parse(tmp_path, {**PLAIN, **DOSAGES}, {**WITHOUT_WEIGHT, **DOSAGES})
    assert score.rows["model"].to_list() == [Model.ADDITIVE, Model.DOSAGE]
    assert "1 rows have an effect weight and dosage weights: the effect weight counts" in score.notes
    assert "weight_0" not in parse(tmp_path, {**PLAIN, **DOSAGES}).rows.columns


def test_a_row_with_two_of_three_dosage_weights_has_none(tmp_path: Path) -> None:
    partial = {**WITHOUT_WEIGHT, **DOSAGES, "dosage_1_weight": ""}
    assert parse(tmp_path, {**WITHOUT_WEIGHT, **DOSAGES}, partial).rows["model"].to_list() == [
        Model.DOSAGE,
        Model.UNSCORABLE,
    ]


@pytest.mark.parametrize("column", ["OR", "HR"])
def test_a_ratio_alone_is_told_and_never_taken_for_a_weight(tmp_path: Path, column: str) -> None:
    score = parse(tmp_path, {**PLAIN, column: "9"}, {**WITHOUT_WEIGHT, column: "1.5"}, {**WITHOUT_WEIGHT, column: "0"})
    assert score.rows["model"].to_list() == [Model.ADDITIVE, Model.ADDITIVE, Model.UNSCORABLE]
    assert score.rows["ratio"][1] == 1.5
    assert math.isnan(score.rows["weight"][1])
    assert "1 rows have an odds or hazard ratio alone" in score.notes
    assert "ratio" not in parse(tmp_path, {**PLAIN, column: "9"}).rows.columns


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        ({"is_dominant": "True"}, Model.DOMINANT),
        ({"is_dominant": "true", "is_recessive": "false"}, Model.DOMINANT),
        ({"is_recessive": "TRUE", "is_dominant": "FALSE"}, Model.RECESSIVE),
        ({"is_recessive": "1", "is_dominant": "0"}, Model.RECESSIVE),
        ({"is_recessive": "", "is_dominant": "False"}, Model.ADDITIVE),
        ({"effect_type": "dominant"}, Model.DOMINANT),
        ({"effect_type": "recessive"}, Model.RECESSIVE),
        ({"effect_type": "additive"}, Model.ADDITIVE),
    ],
)
def test_flags_tell_the_model(tmp_path: Path, flags: Mapping[str, str], model: Model) -> None:
    assert parse(tmp_path, {**PLAIN, **flags}).rows["model"].to_list() == [model]


def test_an_allele_frequency_is_a_number_or_nothing(tmp_path: Path) -> None:
    rows = [{**PLAIN, "allelefrequency_effect": text} for text in ("0.25", "", "about 0.3")]
    frequency = parse(tmp_path, *rows).rows["frequency"].to_list()
    assert frequency[0] == 0.25
    assert all(map(math.isnan, frequency[1:]))


# Places.


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1), ("01", 1), ("chr22", 22), ("X", X), ("23", X), ("XY", X), ("Y", Y), ("24", Y), ("MT", MT),
        ("chrM", MT),
        ("8_KI270821v1_alt", 0), ("99", 0), ("", 0),
    ],
)  # fmt: skip
def test_chromosomes_have_one_number_however_they_are_spelled(tmp_path: Path, name: str, number: int) -> None:
    score = parse(tmp_path, {**PLAIN, "rsID": "rs1", "chr_name": name})
    assert places(score) == [(number, 1000 if number else 0)]


@pytest.mark.parametrize(("text", "position"), [("7", 7), ("7.0", 7), (" 7", 7), ("", 0), ("12:7", 0), ("-1", 0)])
def test_a_position_that_is_no_number_is_no_place(tmp_path: Path, text: str, position: int) -> None:
    score = parse(tmp_path, PLAIN, {**PLAIN, "chr_position": text})
    assert places(score)[1] == (1 if position else 0, position)


def test_harmonised_places_are_always_taken_even_where_they_are_empty(tmp_path: Path) -> None:
    score = parse(tmp_path, PLACED, {**PLACED, "hm_pos": ""}, {**PLACED, "hm_chr": ""}, header=HARMONISED)
    assert places(score) == [(2, 2000), (0, 0), (0, 0)]
    assert (score.build, score.accession) == (Build.GRCH38, "PGS000001_hmPOS_GRCh38")
    assert "2 rows have no place" in score.notes


def test_a_file_that_was_not_harmonised_is_on_its_own_build(tmp_path: Path) -> None:
    score = parse(tmp_path, PLAIN)
    assert (score.build, score.accession, score.is_harmonised) == (Build.GRCH37, "PGS000001", False)


def test_a_harmonised_rsid_goes_first(tmp_path: Path) -> None:
    old = {**PLACED, "rsID": "rs1"}
    score = parse(tmp_path, {**old, "hm_rsID": "rs2"}, {**old, "hm_rsID": ""}, header=HARMONISED)
    assert score.rows.sort("row_nr")["rsid"].to_list() == ["rs2", "rs1"]


# Alleles.


@pytest.mark.parametrize(
    ("other", "inferred", "code"),
    [
        ("G", "", allele_code("G")), ("", "C", allele_code("C")), ("G", "C", allele_code("G")), ("", "", NONE),
        ("C/G", "", NONE), ("C,G", "", NONE), ("", "C/G", NONE), ("g", "", allele_code("G")), ("-", "", INVALID),
        ("NA", "T", allele_code("T")), ("GA", "", allele_code("GA")),
    ],
)  # fmt: skip
def test_the_other_allele_is_the_authors_then_the_inferred_one(
    tmp_path: Path, other: str, inferred: str, code: int
) -> None:
    row = {**PLACED, "other_allele": other, "hm_inferOtherAllele": inferred}
    rows = parse(tmp_path, {**PLACED, "chr_name": "0"}, row, header=HARMONISED).rows.sort("row_nr")
    assert rows["other"][1] == code
    assert (rows["key"][1] & ANY_PAIR == ANY_PAIR) == (code == NONE)


def test_a_file_without_other_alleles_matches_by_place_alone(tmp_path: Path) -> None:
    rows = parse(tmp_path, {key: value for key, value in PLAIN.items() if key != "other_allele"}).rows
    assert (rows["other"][0], rows["other_allele"][0]) == (NONE, None)


@pytest.mark.parametrize(
    ("effect", "code"),
    [("A", allele_code("A")), ("a", allele_code("A")), ("ACGT", allele_code("ACGT")),
     ("A" * 1200, allele_code("A" * 1200)),
     ("-", INVALID), ("N", INVALID), ("P", INVALID), ("D", INVALID), ("I", INVALID), ("é", INVALID), ("", INVALID)],
)  # fmt: skip
def test_an_effect_allele_that_is_no_sequence_stays_and_matches_nothing(tmp_path: Path, effect: str, code: int) -> None:
    rows = parse(tmp_path, PLAIN, {**PLAIN, "effect_allele": effect}).rows.sort("row_nr")
    assert rows["effect"].to_list() == [allele_code("A"), code]


# What is odd, and what is kept.


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([PLAIN, PLAIN], "1 rows repeat the variant and the effect allele of another row"),
        ([PLAIN, {**PLAIN, "effect_allele": "G", "other_allele": "A"}, PLAIN, PLAIN], "2 rows repeat the variant"),
        ([{**PLAIN, "other_allele": "A"}], "1 rows have the same effect and other allele"),
        ([{**PLAIN, "colour": "red"}], "columns that the format does not know are kept: colour"),
        ([PLAIN, {**PLAIN, "chr_position": "x"}], "1 rows have a position that is no number"),
        ([PLAIN, {**PLAIN, "effect_allele": ""}], "1 rows have no effect allele"),
    ],
)
def test_what_is_odd_is_noted(tmp_path: Path, rows: list[dict[str, str]], note: str) -> None:
    assert any(each.startswith(note) for each in parse(tmp_path, *rows).notes)


def test_a_plain_file_has_no_notes(tmp_path: Path) -> None:
    assert parse(tmp_path, PLAIN, {**PLAIN, "effect_allele": "G", "other_allele": "A"}).notes == ()


def test_a_wrong_number_of_variants_is_noted(tmp_path: Path) -> None:
    header = {**HEADER, "variants_number": "3"}
    assert parse(tmp_path, PLAIN, header=header).notes == ("its header says 3 variants, but it has 1 rows",)


def test_other_columns_are_kept_as_text_unless_they_are_empty(tmp_path: Path) -> None:
    rows = parse(tmp_path, {**PLAIN, "colour": "007", "empty": "", "key": "mine"}).rows
    assert rows.row(0, named=True)["colour"] == "007"
    assert rows.row(0, named=True)["key_in_file"] == "mine"
    assert "empty" not in rows.columns


# How the text is written.


def rows_of(folder: Path, text: str | bytes) -> pl.DataFrame:
    path = folder / "written.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_scoring_file(path)[0].rows


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace("\n1\t", "\n\n1\t", 1),
        lambda text: "\ufeff" + text,
        lambda text: text + "\t\t\t\n",
        lambda text: text.replace("effect_weight\n", "effect_weight\t\t\n"),
        lambda text: text.replace("=GRCh37\n", "=GRCh37\t\t\t\n"),
    ],
    ids=["dos", "mac", "no-last-newline", "blank-end", "blank-line", "bom", "tabs", "tabs-in-names", "tabs-in-header"],
)
def test_the_same_file_written_otherwise_is_the_same(tmp_path: Path, change: object) -> None:
    text = text_of([PLAIN, {**PLAIN, "chr_position": "1001"}], HEADER)
    assert rows_of(tmp_path, change(text)).equals(rows_of(tmp_path, text))  # type: ignore[operator]


def test_quotes_are_part_of_the_text(tmp_path: Path) -> None:
    assert parse(tmp_path, {**PLAIN, "locus_name": '"A, B'}, PLAIN).rows["locus_name"].to_list() == ['"A, B', None]


def test_a_line_may_end_before_its_empty_columns(tmp_path: Path) -> None:
    text = text_of([{**PLAIN, "locus_name": "x"}, PLAIN], HEADER)
    assert rows_of(tmp_path, text.replace("\t\n", "\n"))["locus_name"].to_list() == ["x", None]


alleles = st.text("ACGT", min_size=1, max_size=40)
weights = st.floats(allow_nan=False, allow_infinity=False)
written_rows = st.lists(
    st.tuples(st.integers(0, 22), st.integers(1, (1 << 28) - 1), alleles, st.none() | alleles, weights), min_size=1
)


@given(written_rows, st.booleans())
@settings(deadline=None, max_examples=60)
def test_what_was_written_is_read(rows: list[tuple[int, int, str, str | None, float]], packed: bool) -> None:
    written = [
        {
            "rsID": f"rs{number}", "chr_name": str(chromosome), "chr_position": str(position), "effect_allele": effect,
            "other_allele": other or "", "effect_weight": repr(weight),
        }
        for number, (chromosome, position, effect, other, weight) in enumerate(rows)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (score,) = read_scoring_file(write(Path(folder) / ("s.txt.gz" if packed else "s.txt"), *written))
    back = score.rows.sort("row_nr")
    assert back["weight"].to_list() == [row[4] for row in rows]
    assert back["effect"].to_list() == [allele_code(row[2]) for row in rows]
    assert back["other"].to_list() == [allele_code(row[3]) for row in rows]
    assert places(score) == [(row[0], row[1] if row[0] else 0) for row in rows]
    assert back["rsid"].to_list() == [f"rs{number}" for number in range(len(rows))]
