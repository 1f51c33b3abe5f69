"""The policy `just-prs` beside just-prs 0.11.0, whose sums are written down here.

benchmarks/scoring/just_prs_sums.py makes them again.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.policy import NAMED
from tests.core.genetics.scored import opened, scored
from tests.panels import Row, write_pgen

PEOPLE = """
#IID SEX SuperPop Population
m1 1 NORTH N1
f1 2 NORTH N1
m2 1 SOUTH S1
f2 2 SOUTH S1
"""
PANEL = [
    Row(place="1:100", ref="A", alt="G", calls="0/1 1/1 0/0 ."),
    Row(place="1:200", ref="C", alt="T", calls="0/0 0/1 1/1 0/1"),
    Row(place="1:300", ref="A", alt="T", calls="0/1 0/1 . 1/1"),
    Row(place="1:400", ref="A", alt="G", calls="0/1 0/0 0/0 1/1"),
    Row(place="1:400", ref="A", alt="C", calls="0/0 0/1 1/1 0/0"),
    Row(place="1:500", ref="A", alt="G,T", calls="0/1 0/2 1/2 0/0"),
    Row(place="1:600", ref="A", alt="ACG", calls="0/1 1/1 0/0 0/1"),
    Row(place="1:700", ref="C", alt="G", calls="0/1 1/1 0/1 0/0"),
    Row(place="1:700", ref="C", alt="G", calls="0/0 0/1 0/1 1/1"),
    Row(place="PAR1:20000", ref="G", alt="A", calls="0/1 0/1 1/1 0/0"),
    Row(place="X:50000000", ref="A", alt="G", calls="1/1 0/1 0/0 1/1"),
    Row(place="Y:10000000", ref="C", alt="T", calls="1/1 . 0/0 ."),
    Row(place="MT:100", ref="A", alt="G", calls="1/1 0/0 1/1 ."),
]
PLAIN = "chr_name chr_position effect_allele other_allele effect_weight"
FILES = {
    "alt": (PLAIN, ["1 100 G A 0.5", "1 200 T C -0.25", "1 600 ACG A 2"]),
    "ref": (PLAIN, ["1 100 A G 0.5", "1 200 C T -0.25", "1 600 A ACG 2"]),
    "other_strand": (PLAIN, ["1 100 G A 0.5", "1 200 A G 4"]),
    "palindrome": (PLAIN, ["1 300 T A 0.5", "1 700 X X 9"]),
    "twice": (PLAIN, ["1 100 G A 0.5", "1 100 G A 0.5", "1 100 A G 0.25"]),
    "several_alts": (PLAIN, ["1 500 G A 0.5", "1 100 G A 0.5"]),
    "split_site": (PLAIN, ["1 400 C A 0.5", "1 400 A G 0.25"]),
    "some_others": (PLAIN, ["1 100 G . 0.5", "1 200 T C 1"]),
    "no_others": ("chr_name chr_position effect_allele effect_weight", ["1 400 A 0.5", "1 200 T 1", "1 100 A 0.25"]),
    "sex": (PLAIN, ["X 50000000 G A 0.5", "Y 10000000 T C 1", "MT 100 A G 2"]),
    "par_as_x": (PLAIN, ["X 20000 A G 0.125", "X 50000000 A G 0.5"]),
    "dosages": (
        "chr_name chr_position effect_allele other_allele dosage_0_weight dosage_1_weight dosage_2_weight",
        ["1 100 G A 0.5 1 3", "1 200 C T 0.25 -1 1"],
    ),
    "both": (
        f"{PLAIN} dosage_0_weight dosage_1_weight dosage_2_weight",
        ["1 100 G A 0.5 1 3 7", "1 200 C T 0.25 1 3 7"],
    ),
    "dominant": (f"{PLAIN} is_dominant", ["1 200 T C 0.5 True"]),
    "lower_case": (PLAIN, ["1 200 t c 0.5", "1 100 G A 1"]),
    "inferred": (
        "hm_chr hm_pos hm_inferOtherAllele chr_name chr_position effect_allele other_allele effect_weight",
        ["1 200 C 1 9 T . 0.5", "1 100 A 1 9 G A 1"],
    ),
    "par_by_name": (PLAIN, ["PAR1 20000 A G 0.125", "1 100 G A 1"]),
    "two_records": (PLAIN, ["1 700 G C 0.5"]),
    "spelled": (PLAIN, ["01 200 T C 0.5", "chr1 100 G A 1"]),
}
THEIRS: dict[str, list[list[float]]] = {
    "alt": [[2.5, 4.75, -0.5, 1.75], [2.5, 4.75, -0.5, 1.75]],
    "both": [[1.0, 1.25, 0.0, 0.25], [1.0, 1.25, 0.0, 0.25]],
    "dosages": [[2.0, 2.0, 0.75, -1.0], [2.0, 2.0, 0.75, -1.0]],
    "no_others": [[1.75, 2.5, 3.5, 2.0], [1.75, 2.5, 3.5, 2.0]],
    "other_strand": [[0.5, 1.0, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0]],
    "palindrome": [[0.5, 0.5, 0.0, 1.0], [0.5, 0.5, 0.0, 1.0]],
    "par_as_x": [[0.125, 0.625, 0.75, 0.0], [0.125, 0.625, 1.25, 0.0]],
    "ref": [[2.0, -0.25, 5.0, 1.75], [2.0, -0.25, 5.0, 1.75]],
    "several_alts": [[0.5, 1.0, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0]],
    "sex": [[1.5, 2.5, 0.0, 1.0], [2.0, 2.5, 0.0, 1.0]],
    "some_others": [[0.0, 1.0, 2.0, 1.0], [0.0, 1.0, 2.0, 1.0]],
    "split_site": [[0.25, 1.0, 1.5, 0.0], [0.25, 1.0, 1.5, 0.0]],
    "twice": [[1.25, 2.0, 0.5, 0.0], [1.25, 2.0, 0.5, 0.0]],
}
"""The sums of everybody by either coding of men's X."""
OTHERWISE: dict[str, tuple[list[float], list[float]]] = {
    "dominant": ([0.0, 0.5, 1.0, 0.5], [0.0, 0.5, 0.5, 0.5]),
    "inferred": ([1.0, 2.0, 0.0, 0.0], [1.0, 2.5, 1.0, 0.5]),
    "lower_case": ([1.0, 2.0, 0.0, 0.0], [1.0, 2.5, 1.0, 0.5]),
    "par_by_name": ([1.0, 2.0, 0.0, 0.0], [1.125, 2.125, 0.25, 0.0]),
    "spelled": ([1.0, 2.0, 0.0, 0.0], [1.0, 2.5, 1.0, 0.5]),
    "two_records": ([0.5, 1.5, 1.0, 1.0], [0.5, 1.0, 0.5, 0.0]),
}
"""Where the policy does not follow: just-prs's sums, and ours.

It counts dominant rows as additive, takes no inferred other allele, no lower case and no other spelling of a
chromosome, finds no row that says PAR1, and adds each of two records of one variant.
"""


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[float]]]:
    folder = tmp_path_factory.mktemp("just-prs")
    write_cases(folder)
    reference = opened(folder / "panel", folder, Build.GRCH38)
    results = scored(reference, [folder / f"{name}.txt.gz" for name in FILES], NAMED["just-prs"], folder)
    return {
        name: [each.people[f"sum_{coding}"].to_list() for coding in (1, 2)]
        for name, each in zip(FILES, results, strict=True)
    }


@pytest.mark.parametrize("name", THEIRS)
def test_sums_are_those_of_just_prs(sums: dict[str, list[list[float]]], name: str) -> None:
    np.testing.assert_allclose(sums[name], THEIRS[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OTHERWISE)
def test_sums_differ_where_just_prs_leaves_rows_out_or_miscounts_them(
    sums: dict[str, list[list[float]]], name: str
) -> None:
    theirs, ours = OTHERWISE[name]
    np.testing.assert_allclose(sums[name][1], ours, rtol=0, atol=1e-6)
    assert theirs != ours


def test_every_case_is_held_beside_theirs() -> None:
    assert {*THEIRS, *OTHERWISE} == {*FILES}


def write_cases(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_pgen(folder / "panel", PEOPLE, PANEL)
    for name, (columns, rows) in FILES.items():
        lines = ["\t".join("" if field == "." else field for field in line.split()) for line in (columns, *rows)]
        text = "#pgs_id=PGS000000\n#genome_build=GRCh38\n" + "\n".join(lines) + "\n"
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(text.encode()))


if __name__ == "__main__":
    write_cases(Path(sys.argv[1]))
