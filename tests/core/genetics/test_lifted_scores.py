"""A score of the other build, lifted: its rows are where they belong, and its sums are those of a score made there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.catalog.lifted_file import Outcome, lift_scoring_file
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.chain import Chains, read_chains
from sluiceway.core.genetics.policy import Policy
from tests.core.genetics.scored import opened, scored
from tests.core.genetics.test_chain import CHAIN, NEW2
from tests.panels import Row, write_pgen

OLD = """\
#pgs_id=PGS000777
#genome_build=GRCh37
chr_name\tchr_position\teffect_allele\tother_allele\teffect_weight
"""
ROWS = [f"1\t{1001 + at}\tA\tG\t{at + 1}" for at in range(40)]
# On the other strand, A/C is T/G there.
TURNED = ["2\t1\tA\tC\t100"]
PANEL = [
    Row(place="1:2001", ref="A", alt="G", calls="0/0 0/1 1/1"),
    Row(place="1:2002", ref="G", alt="A", calls="0/1 0/1 0/0"),
    Row(place=f"2:{NEW2 - 1000}", ref="G", alt="T", calls="0/1 1/1 0/0"),
]


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    path = tmp_path / "toy.chain"
    path.write_text(CHAIN)
    return read_chains(path)


def written(tmp_path: Path, rows: list[str], head: str = OLD) -> Path:
    path = tmp_path / "old.txt"
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def test_a_lifted_score_has_the_sums_of_one_that_was_made_there(tmp_path: Path, chains: Chains) -> None:
    out = tmp_path / "new.txt"
    assert lift_scoring_file(written(tmp_path, ROWS + TURNED), chains, out) == Outcome(
        rows=41, placed=41, lifted=41, flipped=1
    )
    prefix = write_pgen(
        tmp_path / "panel", "#IID SEX\na 1\nb 2\nc 1", PANEL, header="##contig=<ID=2,length=242193529>\n"
    )
    (found,) = scored(opened(prefix, tmp_path), [out], Policy(), tmp_path)
    # By hand: row 1 counts A at 2001, row 2 A at 2002, and the turned one T.
    assert found.people["sum_2"].to_list() == [2 * 1 + 1 * 2 + 100, 1 + 2 + 200, 0]


def test_what_its_author_wrote_stays_and_the_place_is_harmonised(tmp_path: Path, chains: Chains) -> None:
    out = tmp_path / "new.txt"
    lift_scoring_file(written(tmp_path, [*ROWS, "8\t5\tA\tG\t7"]), chains, out)
    (score,) = read_scoring_file(out)
    assert (score.name, score.build, score.accession) == ("PGS000777", Build.GRCH38, "PGS000777_hmPOS_GRCh38")
    assert (score.rows["key"] == 0).sum() == 1
    assert "8\t5\tA\tG\t7.0\tUnknown\t\t" in out.read_text().splitlines()


@pytest.mark.parametrize("alleles", ["AC\tA", "A\tAC"])
def test_a_longer_allele_has_no_place_on_the_other_strand(tmp_path: Path, chains: Chains, alleles: str) -> None:
    out = tmp_path / "new.txt"
    found = lift_scoring_file(written(tmp_path, [*ROWS, f"2\t1\t{alleles}\t7"]), chains, out)
    assert (found.lifted, found.flipped) == (40, 0)


@pytest.mark.parametrize(
    ("head", "rows", "reason"),
    [
        (OLD, [*ROWS, "8\t5\tA\tG\t1", "8\t6\tA\tG\t1", "8\t7\tA\tG\t1"], "40 of its 43 places are on GRCh38"),
        (OLD, ["HLA\t.\tA\tG\t1"], "0 of its 0 places"),
        (OLD.replace("GRCh37", "GRCh38"), ROWS, "its header says GRCh38, but toy.chain leads from GRCh37"),
        (OLD.replace("GRCh37", "NR"), ROWS, "its header says no build"),
        (OLD.replace("chr_name", "rsID"), ROWS, "it has no places of its author"),
    ],
)
def test_a_score_that_cannot_be_lifted_is_refused(
    tmp_path: Path, chains: Chains, head: str, rows: list[str], reason: str
) -> None:
    with pytest.raises(ScoringFileBroken, match=reason):
        lift_scoring_file(written(tmp_path, rows, head), chains, tmp_path / "new.txt")
    assert not (tmp_path / "new.txt").exists()


def test_the_command_says_how_many_rows_were_found(tmp_path: Path, chains: Chains) -> None:
    words = [
        "lift",
        str(written(tmp_path, ROWS + TURNED)),
        "--chain",
        str(chains.path),
        "--out",
        str(tmp_path / "new.txt"),
    ]
    told = CliRunner().invoke(cli.app, [*words, "--json"])
    assert json.loads(told.stdout) == {"rows": 41, "placed": 41, "lifted": 41, "flipped": 1, "build": "GRCh38"}
    assert "41 of 41 rows are on GRCh38, 1 of them on the other strand" in CliRunner().invoke(cli.app, words).stdout


@pytest.mark.parametrize(("to", "back"), [("grch38", "grch37"), ("grch37", "grch38")])
def test_a_real_score_is_lifted_to_the_places_of_its_twin(real_data: Path, tmp_path: Path, to: str, back: str) -> None:
    name = {"grch38": "hg19ToHg38", "grch37": "hg38ToHg19"}[to]
    chains = read_chains(real_data / "liftover" / f"{name}.over.chain.gz")
    files = real_data / "scoring" / "pygscatalog"
    found = lift_scoring_file(files / f"lift_to_{to}.txt", chains, tmp_path / "new.txt")
    assert found.lifted == found.rows > 70
    (ours,), (theirs,) = (read_scoring_file(each) for each in (tmp_path / "new.txt", files / f"lift_to_{back}.txt"))
    columns = ["row_nr", "key", "effect", "other", "weight"]
    assert ours.rows.select(columns).sort("row_nr").equals(theirs.rows.select(columns).sort("row_nr"))
