"""Panels as the catalogue gives them, of 1000 Genomes and of HGDP+1kGP: opened and scored as they come."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.conftest import Missing, User
from tests.panels import Row, beside, write_pgen

REGIONS = ("AFR", "AMR", "CSA", "EAS", "EUR", "MID", "OCE")
HGDP = "\n".join(
    ["#IID SEX SuperPop Population Project"]
    + [f"HGDP{at:05} {1 + at % 2} {REGIONS[at % 7]} P{at % 14} {'HGDP' if at % 3 else '1kGP'}" for at in range(28)]
)
PHASE3 = """\
#IID PAT MAT SEX SuperPop Population
HG1  0   0   1   EUR      GBR
HG2  0   0   2   EUR      FIN
HG3  HG1 HG2 1   AFR      YRI
HG4  0   0   2   AFR      YRI
"""
RELATED = "#IID\nHGDP00003\nHGDP00010\nHG00405\n"


def rows(people: int) -> list[Row]:
    calls = " ".join(("0/0", "0/1", "1/1")[at % 3] for at in range(people))
    return [
        Row(place="1:100", ref="A", alt="G", calls=calls),
        Row(place="1:200", ref="C", alt="T,G", calls=calls),
        Row(place="PAR1:20000", ref="C", alt="T", calls=calls),
        Row(place="X:50000000", ref="C", alt="T", calls=calls.replace("0/1", "0/0")),
    ]


@pytest.fixture
def folder(user: User, missing: Missing) -> Path:
    """The files of one archive: two builds, variants packed, and one list of relatives under its own name."""
    if shutil.which("zstd") is None:
        missing.part("zstd", why="there is no zstd", get="apt-get install zstd")
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    for build in ("GRCh37", "GRCh38"):
        prefix = write_pgen(user.folder / f"{build}_HGDP+1kGP_ALL", HGDP, rows(28))
        subprocess.run(["zstd", "-q", "--rm", str(beside(prefix, ".pvar"))], check=True)
    user.write("deg2_hg38.king.cutoff.out.id", RELATED)
    return user.folder


def test_a_panel_of_hgdp_and_1kgp_opens_as_it_comes(folder: Path) -> None:
    panel = open_panel(folder / "GRCh38_HGDP+1kGP_ALL")
    assert (panel.build, panel.variants.suffix) == (Build.GRCH38, ".zst")
    assert (panel.samples.population_column, panel.samples.n) == ("SuperPop", 28)
    assert panel.samples.unrelated_rule == "without those in deg2_hg38.king.cutoff.out.id"
    assert panel.samples.table.filter(~pl.col("unrelated"))["sample"].to_list() == ["HGDP00003", "HGDP00010"]
    assert {"Population", "Project"} <= set(panel.samples.table.columns)
    other = open_panel(folder / "GRCh37_HGDP+1kGP_ALL")
    assert (other.build, other.samples.n_unrelated) == (Build.GRCH37, 28)


def test_every_region_has_its_distribution_whatever_it_is_called(folder: Path) -> None:
    (folder / "P.txt").write_text(
        "#genome_build=GRCh38\nchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n1\t100\tG\tA\t1\n"
    )
    asked = Asked(panel=folder / "GRCh38_HGDP+1kGP_ALL", scores=(folder / "P.txt",), out=folder / "out")
    assert ReferenceScoring(asked, clock=SystemClock()).run().n_failed == 0
    told = pl.read_parquet(folder / "out" / "distributions.parquet").filter(subset="unrelated").sort("population")
    assert told["population"].to_list() == [*REGIONS, "all"]
    assert dict(told.select("population", "n").iter_rows())["EAS"] == 2
    assert told["std"].is_not_null().all()


def test_a_finer_label_is_chosen_by_its_column(folder: Path) -> None:
    samples = open_panel(folder / "GRCh38_HGDP+1kGP_ALL", population="Population").samples
    assert samples.table["population"].n_unique() == 14


@pytest.mark.parametrize(("build", "name"), [("GRCh38", "deg2_hg38"), ("GRCh37", "deg2_phase3")])
def test_a_list_of_another_build_is_not_the_panels(folder: Path, build: str, name: str) -> None:
    if build == "GRCh37":
        (folder / "deg2_phase3.king.cutoff.out.id").write_text("#IID\nHGDP00001\n")
    samples = open_panel(folder / f"{build}_HGDP+1kGP_ALL").samples
    assert samples.unrelated_rule == f"without those in {name}.king.cutoff.out.id"


def test_several_lists_of_relatives_are_not_chosen_among(folder: Path) -> None:
    (folder / "deg1_hg38.king.cutoff.out.id").write_text("#IID\nHG00405\n")
    with pytest.raises(PanelUnusable, match=r"deg1_hg38.*deg2_hg38.*name its own"):
        open_panel(folder / "GRCh38_HGDP+1kGP_ALL")
    named = folder / "deg2_hg38.king.cutoff.out.id"
    assert open_panel(folder / "GRCh38_HGDP+1kGP_ALL", unrelated=named).samples.n_unrelated == 26


def test_the_list_of_another_panel_of_the_folder_is_left_to_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_pgen(tmp_path / name, PHASE3, rows(4))
    (tmp_path / "one.king.cutoff.out.id").write_text("#IID\nHG2\n")
    assert open_panel(tmp_path / "one").samples.n_unrelated == 3
    assert open_panel(tmp_path / "two").samples.unrelated_rule == "without those whose father or mother is in the panel"


def test_a_panel_of_1000_genomes_has_its_pedigree_and_its_regions(tmp_path: Path) -> None:
    samples = open_panel(write_pgen(tmp_path / "GRCh38_1000G_ALL", PHASE3, rows(4))).samples
    assert samples.table["population"].to_list() == ["EUR", "EUR", "AFR", "AFR"]
    assert samples.table.filter("unrelated")["sample"].to_list() == ["HG1", "HG2", "HG4"]
