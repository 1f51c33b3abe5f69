"""What other programs get wrong, each as a test that they would fail; the letters are those of the project's list."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pgenlib
import polars as pl
import pytest

from sluiceway.core.catalog.score_table import read_table, write_table
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.publish.tables import Named, distributions_table, quality_table, scores_table
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.conftest import ROOT, User
from tests.core.genetics.scored import opened, scored
from tests.core.genetics.test_score import row, site
from tests.core.genetics.test_score import scored as in_memory
from tests.panels import Row, beside, write_pgen

LONG = "A" * 1_500
PEOPLE = """
#IID PAT MAT SEX SuperPop
a    0   0   1   NORTH
b    0   0   2   NORTH
c    a   b   1   NORTH
d    0   0   2   SOUTH
"""
PANEL = [
    Row(place="1:100", ref="A", alt="G", calls="0/1 1/1 0/0 ."),
    Row(place="1:200", ref="C", alt="T", calls="0/0 0/1 1/1 0/1"),
    Row(place="1:300", ref="A", alt="G", calls="0/1 0/0 0/0 1/1"),
    Row(place="1:300", ref="A", alt="C", calls="0/0 0/1 1/1 0/0"),
    Row(place="1:400", ref="A", alt="G,C", calls="0/1 0/2 1/2 2/2"),
    Row(place="1:500", ref="A", alt=LONG + "C", calls="0/1 1/1 0/0 0/0"),
    Row(place="1:600", ref="C", alt="T", calls="0/1 0/1 0/1 0/1"),
]
COLUMNS = "chr_name chr_position effect_allele other_allele effect_weight"
DOSAGES = "chr_name chr_position effect_allele other_allele dosage_0_weight dosage_1_weight dosage_2_weight"
NO_OTHER = "chr_name chr_position effect_allele effect_weight"
ZERO, KEEP = Policy(missing="zero"), Policy(missing="zero", multiallelic="keep")


def result_of(folder: Path, columns: str, *rows: str, policy: Policy = ZERO) -> ScoreResult:
    """The result of a scoring file with these rows on the panel above; a dot is an empty field."""
    lines = ["\t".join("" if each == "." else each for each in line.split()) for line in (columns, *rows)]
    file = folder / "PGS.txt"
    file.write_text("\n".join(lines) + "\n")
    reference = opened(write_pgen(folder / "panel", PEOPLE, PANEL), folder)
    (result,) = scored(reference, [file], policy, folder)
    return result


DEFECTS: dict[str, tuple[str, list[str], Policy, list[float]]] = {
    "n: a row without other allele in a file that has the column is dropped without a word": (
        COLUMNS, ["1 200 T . 1", "1 100 G A 10"], ZERO, [10, 21, 2, 1]),
    "n: the inferred other allele is ignored": (
        "hm_chr hm_pos hm_inferOtherAllele effect_allele other_allele effect_weight", ["1 200 C T . 1"], ZERO,
        [0, 1, 2, 1]),
    "n: without other alleles an effect allele that is REF counts at every record of its place": (
        NO_OTHER, ["1 300 A 1"], ZERO, [1, 2, 2, 0]),
    "n: alleles on the other strand do not match": (COLUMNS, ["1 200 A G 1"], ZERO, [0, 1, 2, 1]),
    "n: a row that is there twice counts twice": (COLUMNS, ["1 200 T C 1", "1 200 T C 1", "1 300 G A 5"], ZERO,
        [5, 0, 0, 10]),
    "o: rows with several ALT alleles never match": (COLUMNS, ["1 400 C A 1"], KEEP, [0, 1, 1, 2]),
    "o: of several ALT alleles the first is counted whichever is meant": (COLUMNS, ["1 400 G A 1"], KEEP, [1, 0, 1, 0]),
    "q: a missing genotype counts no copies": (COLUMNS, ["1 100 G A 1"], Policy(), [1, 2, 0, 1.5]),
    "q: a missing genotype has no weight by dosage": (DOSAGES, ["1 100 G A 1 2 4"], Policy(),
        [2, 4, 1, 1 / 16 + 2 * 6 / 16 + 4 * 9 / 16]),
    "s: weights have seven digits": (COLUMNS, ["1 200 T C 16777217", "1 300 G A 0.0000001"], ZERO,
        [1e-7, 16777217, 33554434, 16777217.0000002]),
    "known: alleles of more than a thousand bases are left out": (COLUMNS, [f"1 500 {LONG}C A 1"], ZERO, [1, 2, 0, 0]),
    "known: long alleles are told apart by how they begin": (COLUMNS, [f"1 500 {LONG}G A 1", "1 200 T C 1"], ZERO,
        [0, 1, 2, 1]),
    "known: weights by dosage are swapped when the effect allele is REF": (DOSAGES, ["1 200 C T 1 2 4"], ZERO,
        [4, 2, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "rows", "policy", "sums"), DEFECTS.values(), ids=DEFECTS)
def test_sums_are_right_where_others_are_not(
    tmp_path: Path, columns: str, rows: list[str], policy: Policy, sums: list[float]
) -> None:
    result = result_of(tmp_path, columns, *rows, policy=policy)
    assert result.people["sum_2"].to_list() == pytest.approx(sums, abs=1e-12)
    assert sum(result.reasons.values()) == len(rows)


def test_o_a_panels_dosages_are_used_where_they_are_asked_for(tmp_path: Path) -> None:
    prefix = write_pgen(tmp_path / "panel", PEOPLE, PANEL[:1])
    with pgenlib.PgenWriter(
        str(beside(prefix, ".pgen")).encode(), 4, variant_ct=1, nonref_flags=False, dosage_present=True
    ) as writer:
        writer.append_dosages(np.array([0.25, 1.75, 1.0, 0.5], np.float32))
    file = tmp_path / "PGS.txt"
    file.write_text("chr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n1\t100\tG\tA\t1\n")
    (result,) = scored(opened(prefix, tmp_path), [file], Policy(genotypes="dosages", missing="zero"), tmp_path)
    assert result.people["sum_2"].to_list() == pytest.approx([0.25, 1.75, 1.0, 0.5], abs=1e-4)


def told(folder: Path, result: ScoreResult, policy: Policy = ZERO) -> tuple[pl.DataFrame, dict[str, object]]:
    """The distributions of one result, and its line of quality."""
    people = opened(folder / "panel", folder).panel.samples.table
    named = [Named(pgs_id="PGS", trait=None, result=result, failure=None)]
    distributions = distributions_table(people, named, policy)
    return distributions, quality_table(named, distributions, policy).row(0, named=True)


def test_p_relatives_are_in_no_distribution_of_unrelated_people_and_in_no_frequency(tmp_path: Path) -> None:
    distributions, _ = told(tmp_path, result_of(tmp_path, COLUMNS, "1 200 T C 1"))
    by_subset = dict(distributions.filter(population="all").select("subset", "n").iter_rows())
    assert by_subset == {"all": 4, "unrelated": 3}
    frequency = opened(tmp_path / "panel", tmp_path).table.frequency
    assert frequency[1] == pytest.approx(2 / 6)


@pytest.mark.parametrize(("rows", "status"), [(3, "ok"), (1, "low_match")])
def test_r_a_score_of_which_little_is_in_the_panel_is_marked(tmp_path: Path, rows: int, status: str) -> None:
    there = ["1 200 T C 1", "1 100 G A 1", "1 300 G A 1"][:rows]
    _, quality = told(tmp_path, result_of(tmp_path, COLUMNS, *there, "9 1 A C 1"))
    assert (quality["status"], quality["match_rate"]) == (status, rows / (rows + 1))


def test_s_a_percentile_between_two_people_is_between_them(tmp_path: Path) -> None:
    distributions, _ = told(tmp_path, result_of(tmp_path, COLUMNS, "1 200 T C 1"))
    everybody = distributions.row(
        by_predicate=(pl.col("population") == "all") & (pl.col("subset") == "all"), named=True
    )
    assert everybody["p05"] == pytest.approx(0.15)


def test_t_a_variant_is_read_once_for_all_scores_of_a_batch() -> None:
    found, genotypes = in_memory([[row("G", "A")], [row("A", "G")], [row("C", "T")]], [site(5, "A", "G")])
    assert found.used.tolist() == [1, 1, 1]
    assert genotypes.read == [0]


def test_aa_results_of_one_panel_are_never_another_panels(user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    user.write("PGS.txt", "\n".join("\t".join(line.split()) for line in (COLUMNS, "1 200 T C 1")))
    found = []
    for number, panel in enumerate((PANEL, [*PANEL[:1], *reversed(PANEL[1:2]), *PANEL[2:-1]], PANEL)):
        prefix = write_pgen(user.folder / f"panel{number}", PEOPLE, panel)
        asked = Asked(panel=prefix, scores=(user.folder / "PGS.txt",), out=user.folder / "out")
        found.append(ReferenceScoring(asked, clock=SystemClock()).run().n_cached)
    assert found == [0, 0, 1]


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize(("place", "status"), [("1 200 T C", "ok"), ("1 600 T C", "zero_variance")])
def test_bb_whether_people_differ_does_not_depend_on_the_unit_of_the_weights(
    tmp_path: Path, unit: float, place: str, status: str
) -> None:
    _, quality = told(tmp_path, result_of(tmp_path, COLUMNS, f"{place} {unit}"))
    assert quality["status"] == status


def test_known_sums_and_averages_are_columns_of_their_own_and_distributions_are_of_sums(tmp_path: Path) -> None:
    result = result_of(tmp_path, COLUMNS, "1 200 T C 1", "1 300 G A 1")
    scores = scores_table(list("abcd"), [Named(pgs_id="PGS", trait=None, result=result, failure=None)], ZERO)
    assert scores["denom"].to_list() == [4] * 4
    assert scores["avg"].to_list() == [each / 4 for each in scores["sum"]]
    assert told(tmp_path, result)[0].filter(population="all", subset="all")["mean"].item() == scores["sum"].mean()


def test_known_a_population_of_one_has_no_spread_instead_of_one_that_is_no_number(tmp_path: Path) -> None:
    distributions, quality = told(tmp_path, result_of(tmp_path, COLUMNS, "1 200 T C 1"))
    assert distributions.filter(population="SOUTH")["std"].to_list() == [None, None]
    assert quality["status"] == "ok"


@pytest.mark.parametrize("step", range(4))
def test_known_a_damaged_table_never_panics(tmp_path: Path, step: int) -> None:
    """polars panics at some damage, and its PanicException is no Exception."""
    source, table = tmp_path / "PGS.txt", tmp_path / "table.parquet"
    source.write_text("\n".join("\t".join(line.split()) for line in (COLUMNS, "1 200 T C 1", "1 300 G A 2")))
    write_table(read_scoring_file(source)[0], table)
    content = table.read_bytes()
    for at in range(step, len(content), 16):
        changed = bytearray(content)
        changed[at] ^= 0xFF
        try:
            read_table(bytes(changed))
        except ScoringFileBroken:
            continue


def test_known_duckdb_has_no_connection_that_a_fork_could_share() -> None:
    sources = {
        file: file.read_text() for folder in ("core", "tasks", "flows") for file in (ROOT / folder).rglob("*.py")
    }
    using = [file.relative_to(ROOT).as_posix() for file, text in sources.items() if re.search(r"\bduckdb\.", text)]
    assert using == ["core/publish/query.py"]
    text = sources[ROOT / using[0]]
    assert re.findall(r"(.*)duckdb\.(?:connect|sql|query|execute|default_connection)\b", text) == ["        with "]


HLA = "rsID effect_allele effect_weight variant_type"


@pytest.mark.parametrize(
    ("columns", "rows", "reason"),
    [
        (HLA, ["HLA-B*5701 P 1 HLA_allele", "HLA-A*0201 P 2 HLA_allele"], "not_scored_model"),
        (COLUMNS, ["1 200 T T 1", "1 100 A A 2"], "same_alleles"),
    ],
)
def test_known_a_score_that_cannot_be_scored_has_a_result_that_says_so_and_closes_its_gap(
    tmp_path: Path, columns: str, rows: list[str], reason: str
) -> None:
    result = result_of(tmp_path, columns, *rows)
    _, quality = told(tmp_path, result)
    assert (result.reasons[reason], quality["weight_mass"], quality["coverage"]) == (2, 3.0, 0.0)
    assert quality["status"] == "zero_variance"
    assert quality["reason"]
