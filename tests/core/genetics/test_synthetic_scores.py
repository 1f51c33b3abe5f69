"""Each invented scoring file holds the kind of rows that RULES says it is for."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.genetics.build import Build, chromosome_number
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import BROKEN, NOT_HARMONISED, RULES, TRUNCATED, make_scores

READABLE = [accession for accession in RULES if accession != TRUNCATED]


class Scores:
    """Every file of one panel, as text without types."""

    def __init__(self, folder: Path) -> None:
        make_panel(folder / "panel", variants=8_000, people=100)
        self.panel = folder / "panel"
        self.paths = dict(zip(RULES, make_scores(folder / "scores", self.panel), strict=True))

    def header(self, accession: str) -> dict[str, str]:
        lines = gzip.decompress(self.paths[accession].read_bytes()).decode().splitlines()
        return dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)

    def rows(self, accession: str) -> pl.DataFrame:
        return pl.read_csv(
            self.paths[accession], separator="\t", comment_prefix="#", infer_schema=False, quote_char=None
        )

    def with_variants(self, accession: str) -> pl.DataFrame:
        """Give a score's rows with the panel's variants at their places."""
        lines = pl.read_csv(f"{self.panel}.pvar", separator="\t", comment_prefix="##", infer_schema=False)
        lines = lines.with_columns(pl.col("#CHROM").replace({"PAR1": "X", "PAR2": "X"}))
        return self.rows(accession).join(lines, left_on=["hm_chr", "hm_pos"], right_on=["#CHROM", "POS"], how="left")


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return Scores(tmp_path_factory.mktemp("scores"))


EFFECT, OTHER, REF, ALT = (pl.col(name) for name in ("effect_allele", "other_allele", "REF", "ALT"))
AS_WRITTEN = ((EFFECT == REF) & (OTHER == ALT)) | ((EFFECT == ALT) & (OTHER == REF))
PALINDROMIC = (EFFECT + OTHER).is_in(["AT", "TA", "CG", "GC"])
WEIGHTS = [pl.col(f"dosage_{dosage}_weight") for dosage in range(3)]


def has(column: str, *values: str) -> Callable[[pl.DataFrame], bool]:
    return lambda rows: set(values) <= set(rows[column])


def share(claim: pl.Expr, least: float, most: float) -> Callable[[pl.DataFrame], bool]:
    return lambda rows: (
        least <= rows.select(claim.fill_null(value=False)).to_series().cast(pl.Int8).sum() / rows.height <= most
    )


def always(claim: pl.Expr) -> Callable[[pl.DataFrame], bool]:
    return share(claim, 1, 1)


CLAIMS: dict[str, Callable[[pl.DataFrame], bool]] = {
    "PGS900001": lambda rows: rows.height == 10 and rows.filter(AS_WRITTEN).height == 10,
    "PGS900002": lambda rows: rows.height == 100 and rows.filter(AS_WRITTEN).height == 100,
    "PGS900003": lambda rows: rows.height == 1_000 and 400 < rows.filter(EFFECT == REF).height < 600,
    "PGS900004": lambda rows: rows.height > 2_000 and rows.filter(AS_WRITTEN).height == rows.height,
    "PGS900005": always(EFFECT == REF),
    "PGS900006": always((EFFECT != REF) & (EFFECT != ALT) & (OTHER != REF) & (OTHER != ALT) & ~PALINDROMIC),
    "PGS900007": share(OTHER.is_null() & pl.col("hm_inferOtherAllele").is_null(), 0.3, 0.4),
    "PGS900008": lambda rows: not {"other_allele", "hm_inferOtherAllele"} & set(rows.columns),
    "PGS900009": lambda rows: (
        rows["other_allele"].null_count() == rows.height
        and rows["hm_inferOtherAllele"].str.contains("/").sum() == rows.height // 4
    ),
    "PGS900010": lambda rows: rows.select(PALINDROMIC.all()).item() and "allelefrequency_effect" not in rows.columns,
    "PGS900011": share(PALINDROMIC & pl.col("allelefrequency_effect").cast(pl.Float64).is_between(0, 1), 1, 1),
    "PGS900012": lambda rows: (
        rows["ALT"].str.contains(",").any()
        and rows.filter(~ALT.str.contains(",")).select(pl.struct("hm_chr", "hm_pos").is_duplicated().any()).item()
    ),
    "PGS900013": lambda rows: (
        rows["other_allele"].str.contains("/").any() and rows["other_allele"].str.contains(",").any()
    ),
    "PGS900014": lambda rows: (
        rows.select(pl.struct("rsID", EFFECT).is_duplicated().sum()).item() == 20
        and rows.select(pl.struct("rsID").is_duplicated().sum()).item() == 40
    ),
    "PGS900015": lambda rows: (
        rows.filter(AS_WRITTEN).height == rows.height
        and bool((rows["REF"] + rows["ALT"]).str.contains("[ACGT]{31}").any())
    ),
    "PGS900016": has("is_dominant", "True", "true", "TRUE", "1", "False"),
    "PGS900017": has("is_recessive", "True", "true", "TRUE", "1", "False"),
    "PGS900018": lambda rows: (
        "effect_weight" not in rows.columns and rows.select(WEIGHTS).null_count().sum_horizontal()[0] == 0
    ),
    "PGS900019": share(pl.col("effect_weight").is_null() & WEIGHTS[2].is_not_null(), 0.5, 0.5),
    "PGS900020": lambda rows: (
        rows.filter(is_interaction="True")["effect_allele"].str.count_matches("_x_").to_list() == [1, 1, 1, 1, 2]
    ),
    "PGS900021": has("effect_allele", "e2", "e3", "e4", "e3/e4", "C_x_C"),
    "PGS900022": lambda rows: (
        rows.filter(pl.col("hm_pos").is_null(), variant_type="HLA_allele", effect_allele="P").height == 4
    ),
    "PGS900023": share(pl.col("hm_pos").is_null() & pl.col("chr_position").is_not_null(), 0.25, 0.25),
    "PGS900024": lambda rows: 5 < sum(chromosome_number(each) == 0 for each in rows["hm_chr"]) < rows.height / 2,
    "PGS900025": has("hm_chr", "X", "Y", "MT"),
    "PGS900026": lambda rows: (
        "effect_weight" not in rows.columns and bool(rows["OR"].cast(pl.Float64).is_between(0.3, 3).all())
    ),
    "PGS900027": always(AS_WRITTEN),
    "PGS900028": always(REF.is_null()),
    "PGS900029": share(REF.is_null(), 0.6, 0.6),
    "PGS900030": share(EFFECT == OTHER, 0.2, 0.2),
    "PGS900031": always(EFFECT.str.contains("^[acgt]$") & OTHER.str.contains("^[acgt]$")),
    "PGS900032": share(~EFFECT.str.contains("^[ACGT]+$"), 0.5, 0.5),
    "PGS900033": lambda rows: (
        {"23", "XY", "chrM"} <= set(rows["hm_chr"])
        and any(each.startswith("0") for each in rows["hm_chr"])
        and all(chromosome_number(each) for each in rows["hm_chr"])
    ),
    "PGS900034": has("effect_weight", "0", "-0.0", "1e-17", "-2.5E-08", "1234567.875", "7e3"),
    "PGS900035": lambda rows: not any(name.startswith("hm_") for name in rows.columns),
    "PGS900036": lambda rows: "chr_name" not in rows.columns and rows["rsID"].str.starts_with("rs").all(),
    "PGS900037": lambda rows: rows.height == 40,
    "PGS900038": lambda rows: {"HR", "laboratory"} <= set(rows.columns),
    "PGS900050": always(REF.is_null()),
    "custom_weights": lambda rows: rows.columns[-2:] == ["effect_weight_A", "effect_weight_B"],
    "PGS900091": lambda rows: rows["effect_weight"].cast(pl.Float64, strict=False).null_count() == 1,
    "PGS900092": lambda rows: rows.filter(is_dominant="True", is_recessive="True").height == 1,
    "PGS900093": lambda rows: (
        {"dosage_0_weight", "dosage_1_weight"} == {n for n in rows.columns if n.startswith("dosage")}
    ),
}


@pytest.mark.parametrize("accession", READABLE)
def test_a_file_holds_the_rows_it_is_for(scores: Scores, accession: str) -> None:
    harmonised = accession not in NOT_HARMONISED
    assert CLAIMS[accession](scores.with_variants(accession) if harmonised else scores.rows(accession)), RULES[
        accession
    ]


@pytest.mark.parametrize("accession", [each for each in READABLE if each != "custom_weights"])
def test_a_file_says_that_it_is_invented_and_how_many_rows_it_has(scores: Scores, accession: str) -> None:
    header = scores.header(accession)
    assert all("ynthetic" in header[key] for key in ("pgs_name", "trait_reported", "citation"))
    assert int(header["variants_number"]) == scores.rows(accession).height
    assert ("HmPOS_build" in header) == (accession not in NOT_HARMONISED)


@pytest.mark.parametrize(
    ("accession", "key", "value"),
    [
        ("PGS900001", "format_version", "2.0"),
        ("PGS900001", "HmPOS_build", "GRCh38"),
        ("PGS900035", "format_version", "1.0"),
        ("PGS900037", "omicspred_id", "PGS900037"),
        ("PGS900050", "HmPOS_build", "GRCh37"),
    ],
)
def test_a_header_differs_where_it_should(scores: Scores, accession: str, key: str, value: str) -> None:
    assert scores.header(accession)[key] == value


def test_a_custom_file_has_no_header(scores: Scores) -> None:
    assert scores.header("custom_weights") == {}


def test_a_truncated_file_ends_in_the_middle(scores: Scores) -> None:
    with pytest.raises(EOFError):
        gzip.decompress(scores.paths[TRUNCATED].read_bytes())


def test_every_broken_file_says_so_in_the_rules() -> None:
    said = tuple(accession for accession, what in RULES.items() if what.startswith("broken: "))
    assert said == BROKEN


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_tells_every_byte(scores: Scores, tmp_path: Path, seed: int) -> None:
    again = make_scores(tmp_path, scores.panel, seed=seed)
    assert [path.name for path in again] == [path.name for path in scores.paths.values()]
    same = [one.read_bytes() == other.read_bytes() for one, other in zip(again, scores.paths.values(), strict=True)]
    assert same == [seed == 1] * len(same)


def test_files_are_named_as_the_catalogue_names_them(scores: Scores) -> None:
    names = [path.name for path in scores.paths.values()]
    assert names[0] == "PGS900001_hmPOS_GRCh38.txt.gz"
    assert "PGS900050_hmPOS_GRCh37.txt.gz" in names
    assert "custom_weights.txt.gz" in names


def test_scores_follow_the_build_of_their_panel(tmp_path: Path) -> None:
    make_panel(tmp_path / "p", variants=1_000, people=30, build=Build.GRCH37, compress=True, dosages=True)
    names = [path.name for path in make_scores(tmp_path / "scores", tmp_path / "p")]
    assert names[0] == "PGS900001_hmPOS_GRCh37.txt.gz"
    assert "PGS900050_hmPOS_GRCh38.txt.gz" in names
