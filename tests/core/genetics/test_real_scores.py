"""Scores of real people are what plink2 and the catalogue's own calculator gave for them.

The expectations were made with exact matching on position and alleles, so every policy here has flip=False: the
catalogue's default would also try the other strand. Where they kept palindromic variants, or gave a missing call no
part in sum and denominator, the policy says so too.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.genetics.policy import Policy
from tests.conftest import Missing
from tests.core.genetics.scored import assert_printed_as, counted, opened, scored, sscore, used_alleles
from tests.panels import Row, write_pgen

EXACT = Policy(ambiguous="keep", flip=False, missing="skip")
NO_PALINDROMES = Policy(flip=False, missing="skip")
CALCULATOR = Policy(flip=False)
HEIGHT = "scoring/pgsc_calc/PGS001229_22.txt"
CINECA = "genotypes/cineca/cineca_synthetic_subset"


class Real:
    """The real files, with panels opened once; a VCF becomes a panel as the expectations' own VCFs did."""

    def __init__(self, files: Path, folder: Path) -> None:
        self.files = files
        self.folder = folder

    def bed(self) -> Path:
        """Give the .bed alone, for beside a .pgen it is not the panel."""
        for suffix in (".bed", ".bim", ".fam"):
            shutil.copy((self.files / CINECA).with_suffix(suffix), self.folder)
        return self.folder / Path(CINECA).name

    def converted(self, vcf: str, missing: Missing) -> Path:
        if shutil.which("plink2") is None:
            missing.part("plink2", why="there is no plink2", get="apt-get install plink2")
        prefix = self.folder / Path(vcf).name.split(".")[0]
        if not prefix.with_suffix(".pgen").exists():
            options = ["--set-all-var-ids", "@:#:$r:$a", "--new-id-max-allele-len", "50", "--threads", "1"]
            command = ["plink2", "--vcf", str(self.files / vcf), *options, "--make-pgen", "--out", str(prefix)]
            subprocess.run(command, capture_output=True, check=True)
        return prefix

    def plink2(self, name: str) -> pl.DataFrame:
        return sscore(self.files / "expected/plink2" / f"{name}.sscore")

    def calculator(self, name: str) -> pl.DataFrame:
        return sscore(self.files / "expected/pygscatalog_legacy" / f"{name}.sscore.zst")


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    return Real(real_data, tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize(
    ("form", "expected", "policy", "matched"),
    [
        ("bed", "a_bfile", EXACT, 829),
        ("pgen", "a_pfile", EXACT, 829),
        ("bed", "a_noambig", NO_PALINDROMES, 782),
        ("pgen", "a_noambig_mi", CALCULATOR, 782),
    ],
)
def test_2504_people_have_plink2s_sums_and_alleles(
    real: Real, form: str, expected: str, policy: Policy, matched: int
) -> None:
    reference = opened(real.bed() if form == "bed" else real.files / CINECA, real.folder)
    (ours,) = scored(reference, [real.files / HEIGHT], policy, real.folder)
    theirs = real.plink2(expected)
    assert reference.panel.is_bed == (form == "bed")
    assert ours.reasons["exact"] + ours.reasons["swapped"] == matched
    assert ours.reasons["not_in_panel"] == 6
    assert reference.panel.samples.table["sample"].to_list() == theirs["IID"].to_list()
    assert_printed_as(ours.people["sum_2"], theirs["SCORE1_SUM"])
    assert counted(ours, skip=policy.missing == "skip") == theirs["DENOM"].to_list()
    assert counted(ours, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("column", ["data__cineca_22_additive_0 PGS001229_22", "cineca_22_additive_0 PGS001229"])
def test_the_calculators_sums_are_ours_for_everybody(real: Real, column: str) -> None:
    name, score = column.split()
    (ours,) = scored(opened(real.files / CINECA, real.folder), [real.files / HEIGHT], CALCULATOR, real.folder)
    theirs = real.calculator(name)
    assert theirs.height == 2504
    assert_printed_as(ours.people["sum_2"], theirs[f"{score}_SUM"])
    assert counted(ours, skip=False) == theirs["DENOM"].to_list()


def test_bed_and_pgen_give_the_same_bits(real: Real) -> None:
    both = [opened(each, real.folder) for each in (real.bed(), real.files / CINECA)]
    one, other = (scored(each, [real.files / HEIGHT], CALCULATOR, real.folder)[0].people for each in both)
    assert one.equals(other)


def test_rows_at_one_variant_add_up_to_the_calculators_two_files(real: Real) -> None:
    """The calculator hands plink2 both alleles of a variant in two files; duplicates="sum" is that in one."""
    files = [real.files / "scoring/pgsc_calc/PGS001229_22_duplicate.txt"]
    policy = Policy(flip=False, duplicates="sum")
    (ours,) = scored(opened(real.files / CINECA, real.folder), files, policy, real.folder)
    theirs = [real.calculator(f"cineca_22_additive_{part}")["duplicatetest_SUM"] for part in (0, 1)]
    assert_printed_as(ours.people["sum_2"], *theirs)


def test_dominant_and_recessive_rows_add_up_to_plink2s_three_runs(real: Real) -> None:
    files = [real.files / "scoring/pgsc_calc/scorefile_dominant_and_recessive.txt"]
    (ours,) = scored(opened(real.files / CINECA, real.folder), files, EXACT, real.folder)
    theirs = [real.plink2(f"a_dr_{each}") for each in ("additive", "dominant", "recessive")]
    assert_printed_as(ours.people["sum_2"], *(each["SCORE1_SUM"] for each in theirs))
    assert counted(ours, skip=True) == [sum(each) for each in zip(*(run["DENOM"] for run in theirs), strict=True)]


@pytest.mark.plink2
@pytest.mark.parametrize(
    ("vcf", "scoring", "expected", "matched"),
    [
        ("tiny1000G/tiny1000G.vcf.gz", "PGS001229_structured_GRCh38.txt.gz", "b_tiny", 983),
        ("imputationserver/hapmap300.chr1.recode.vcf.gz", "PGS000958.txt.gz", "d_PGS000958", 164),
        ("imputationserver/hapmap300.chr1.recode.vcf.gz", "PGS000065.txt.gz", "d_PGS000065", 4),
        (
            "giab_hg001/HG001_single-sample_GIAB.vcf.gz",
            "ApplyPolygenicScore/PGS003378_hmPOS_GRCh38.txt",
            "e_PGS003378",
            61,
        ),
    ],
)
def test_people_of_a_vcf_have_plink2s_sums_and_alleles(
    real: Real, missing: Missing, vcf: str, scoring: str, expected: str, matched: int
) -> None:
    """Nobody's sex is in a VCF, so on X everybody counts two alleles, here as there."""
    reference = opened(real.converted(f"genotypes/{vcf}", missing), real.folder)
    (ours,) = scored(reference, [real.files / "scoring" / scoring], EXACT, real.folder)
    theirs = real.plink2(expected)
    assert ours.reasons["exact"] + ours.reasons["swapped"] == matched
    assert reference.panel.samples.table["sample"].to_list() == theirs["IID"].to_list()
    assert_printed_as(ours.people["sum_2"], theirs["SCORE1_SUM"])
    assert counted(ours, skip=True) == theirs["DENOM"].to_list()


@pytest.mark.plink2
def test_the_genome_in_a_bottle_scores_1_9761(real: Real, missing: Missing) -> None:
    vcf = "genotypes/giab_hg001/HG001_single-sample_GIAB.vcf.gz"
    files = [real.files / "scoring/ApplyPolygenicScore/PGS003378_hmPOS_GRCh38.txt"]
    (ours,) = scored(opened(real.converted(vcf, missing), real.folder), files, EXACT, real.folder)
    assert ours.people["sum_2"].to_list() == pytest.approx([1.9761], abs=1e-12)


@pytest.mark.plink2
@pytest.mark.parametrize(
    ("vcf", "scoring", "expected"),
    [
        (None, "pgsc_calc/PGS001229_22.txt", "a_bfile"),
        ("tiny1000G/tiny1000G.vcf.gz", "PGS001229_structured_GRCh38.txt.gz", "b_tiny"),
        ("imputationserver/hapmap300.chr1.recode.vcf.gz", "PGS000958.txt.gz", "d_PGS000958"),
        (
            "giab_hg001/HG001_single-sample_GIAB.vcf.gz",
            "ApplyPolygenicScore/PGS003378_hmPOS_GRCh38.txt",
            "e_PGS003378",
        ),
    ],
)
def test_the_variants_and_effect_alleles_are_those_that_plink2_was_given(
    real: Real, missing: Missing, vcf: str | None, scoring: str, expected: str
) -> None:
    prefix = real.files / CINECA if vcf is None else real.converted(f"genotypes/{vcf}", missing)
    given = pl.read_csv(real.files / "expected/plink2" / f"{expected}.score", separator="\t").rows()
    ours = used_alleles(opened(prefix, real.folder), real.files / "scoring" / scoring, EXACT)
    assert ours == {(name, effect) for name, effect, _ in given}


def test_the_variants_are_those_that_the_calculator_used(real: Real) -> None:
    used = (real.files / "expected/pygscatalog_legacy/cineca_22_additive_0.sscore.vars").read_text().split()
    ours = used_alleles(opened(real.files / CINECA, real.folder), real.files / HEIGHT, CALCULATOR)
    assert {name for name, _ in ours} == set(used)


def test_rows_are_matched_and_left_out_as_in_the_calculators_match_table(real: Real, tmp_path: Path) -> None:
    """Its target is not among the files, but the table tells it: each of its matches has ALT for effect allele."""
    tables = real.files / "expected/pygscatalog_duckdb"
    asked = pl.read_ndjson(tables / "score_variant_table.json").filter(pl.col("chr_position") > 0).sort("row_nr")
    told = pl.read_ndjson(tables / "allele_match_table.json").unnest("match_result")
    asked = asked.join(told.select("row_nr", "match_summary", "match_type"), on="row_nr", maintain_order="left")
    assert set(asked["match_type"]) == {"ALTREF", "EXCLUDED"}
    sites = [
        Row(place=f"{row['chr_name']}:{row['chr_position']}", ref=row["other_allele"], alt=row["effect_allele"],
            calls="0/1 1/1 0/0")
        for row in asked.iter_rows(named=True)
    ]  # fmt: skip
    prefix = write_pgen(tmp_path / "target", "#IID SEX\na 2\nb 2\nc 2", sites)
    columns = ["chr_name", "chr_position", "effect_allele", "other_allele", "effect_weight"]
    asked.select(columns).write_csv(tmp_path / "score.txt", separator="\t")
    ours = used_alleles(opened(prefix, tmp_path), tmp_path / "score.txt", Policy())
    wanted = asked.filter(match_summary="matched")
    assert (asked.height, wanted.height) == (100, 93)
    place = pl.concat_str("chr_name", "chr_position", "other_allele", "effect_allele", separator=":")
    assert ours == set(wanted.select(place.alias("id"), "effect_allele").rows())


def test_scores_of_one_batch_are_those_of_each_alone(real: Real) -> None:
    reference = opened(real.files / CINECA, real.folder)
    names = ("PGS001229_22", "scorefile_dominant_and_recessive", "PGS001229_22_duplicate")
    files = [real.files / "scoring/pgsc_calc" / f"{name}.txt" for name in names]
    together = scored(reference, files, CALCULATOR, real.folder)
    alone = [scored(reference, [file], CALCULATOR, real.folder)[0] for file in files]
    assert all(one.people.equals(other.people) for one, other in zip(together, alone, strict=True))
