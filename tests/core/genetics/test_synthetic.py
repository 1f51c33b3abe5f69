"""Invented panels are what they claim to be, by our own count and by plink2's."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pgenlib
import polars as pl
import pytest
from numpy.typing import NDArray

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics import synthetic_sites
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.synthetic import Copies, draw_people, make_panel
from tests.conftest import Missing

VARIANTS, PEOPLE = 6_000, 300
ENDINGS = (".pgen", ".pvar", ".psam")


@dataclass(frozen=True)
class Written:
    """A panel as pgenlib reads it: the allele on each copy of each person, -9 where it is not called."""

    prefix: Path
    sites: pl.DataFrame
    people: pl.DataFrame
    alleles: NDArray[np.int32]

    @property
    def calls(self) -> NDArray[np.int32]:
        """Copies of alleles other than REF, per row and person."""
        other = (self.alleles > 0).astype(np.int32)
        return np.where(self.alleles[:, ::2] < 0, -9, other[:, ::2] + other[:, 1::2])

    def rows(self, which: pl.Expr) -> NDArray[np.bool_]:
        return self.sites.select(which).to_series().to_numpy()

    def founders_of(self, population: str) -> NDArray[np.bool_]:
        chosen = (pl.col("SuperPop") == population) & (pl.col("PAT") == "0") & (pl.col("MAT") == "0")
        return self.people.select(chosen).to_series().to_numpy()


AUTOSOMAL = ~pl.col("#CHROM").is_in(["PAR1", "X", "PAR2", "Y", "MT"])
PLAIN = AUTOSOMAL & ~pl.col("ALT").str.contains(",")


def read(prefix: Path) -> Written:
    sites = pl.read_csv(f"{prefix}.pvar", separator="\t", comment_prefix="##", schema_overrides={"#CHROM": pl.String})
    people = pl.read_csv(f"{prefix}.psam", separator="\t", infer_schema=False)
    alleles = np.empty((sites.height, 2 * people.height), np.int32)
    with pgenlib.PgenReader(f"{prefix}.pgen".encode(), allele_idx_offsets=offsets(sites)) as reader:
        reader.read_alleles_range(0, sites.height, alleles)
    return Written(prefix, sites, people, alleles)


def offsets(sites: pl.DataFrame) -> NDArray[np.uintp]:
    counts = 2 + sites["ALT"].str.count_matches(",", literal=True).to_numpy().astype(np.int64)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Written:
    prefix = tmp_path_factory.mktemp("panel") / "invented"
    make_panel(prefix, variants=VARIANTS, people=PEOPLE)
    return read(prefix)


def contents(prefix: Path) -> list[bytes]:
    return [Path(f"{prefix}{ending}").read_bytes() for ending in ENDINGS]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, panel: Written) -> None:
    make_panel(tmp_path / "again", variants=VARIANTS, people=PEOPLE)
    assert contents(tmp_path / "again") == contents(panel.prefix)


def test_another_seed_gives_another_panel(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_panel(tmp_path / str(seed), variants=500, people=30, seed=seed)
    assert all(one != other for one, other in zip(contents(tmp_path / "1"), contents(tmp_path / "2"), strict=True))


def test_the_size_of_blocks_changes_no_genotype() -> None:
    rng = np.random.default_rng(1)
    people, sites = draw_people(40, rng), synthetic_sites.draw(500, Build.GRCH38, rng, where=Path("p"))
    whole, parts = Copies(people, 7), Copies(people, 7)
    in_parts = [parts.draw(sites, part) for part in (slice(0, 90), slice(90, 91), slice(91, 500))]
    assert np.array_equal(whole.draw(sites, slice(0, 500)), np.concatenate(in_parts))


def test_too_few_variants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PanelUnusable, match="400 variants or more, not 399"):
        make_panel(tmp_path / "small", variants=399, people=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "chosen", "least", "most"),
    [
        ("palindromic", (pl.col("REF") + pl.col("ALT")).is_in(["AT", "TA", "CG", "GC"]), 0.12, 0.17),
        ("indels", pl.concat_str("REF", "ALT").str.contains("^[ACGT]{3,}$"), 0.04, 0.06),
        ("over 29 bases", pl.max_horizontal(pl.col("REF", "ALT").str.len_chars()) > 29, 0.0005, 0.004),
        ("several ALTs in one row", pl.col("ALT").str.contains(","), 0.005, 0.015),
        ("several ALTs in two rows", pl.struct("#CHROM", "POS").is_duplicated(), 0.01, 0.025),
        ("no ID", pl.col("ID") == ".", 0.002, 0.009),
        ("X", pl.col("#CHROM") == "X", 0.03, 0.07),
    ],
)
def test_kinds_of_variants_have_their_shares(
    panel: Written, what: str, chosen: pl.Expr, least: float, most: float
) -> None:
    assert least < panel.rows(chosen).mean() < most, what


@pytest.mark.parametrize("contig", ["PAR1", "PAR2", "Y", "MT"])
def test_every_stretch_has_some_variants(panel: Written, contig: str) -> None:
    assert panel.rows(pl.col("#CHROM") == contig).sum() >= 4


def test_rows_stand_in_the_order_of_the_genome(panel: Written) -> None:
    assert tuple(panel.sites["#CHROM"].unique(maintain_order=True)) == synthetic_sites.CONTIGS
    assert panel.sites.select((pl.col("POS").diff() >= 0).over("#CHROM").all()).item()


def test_two_rows_of_one_site_share_all_but_alt(panel: Written) -> None:
    rows = panel.sites.with_row_index().filter(pl.struct("#CHROM", "POS").is_duplicated())
    first, second = rows[::2], rows[1::2]
    assert first.select("#CHROM", "POS", "ID", "REF").equals(second.select("#CHROM", "POS", "ID", "REF"))
    assert (first["ALT"] != second["ALT"]).all()
    both = panel.calls[first["index"]] + panel.calls[second["index"]]
    assert both.max() == 2


def test_many_variants_are_rare(panel: Written) -> None:
    calls = panel.calls[panel.rows(PLAIN)]
    frequency = np.ma.masked_less(calls, 0).mean(axis=1) / 2
    assert 0.3 < (np.minimum(frequency, 1 - frequency) < 0.01).mean() < 0.6


def test_populations_differ_by_a_tenth_of_the_variance(panel: Written) -> None:
    calls = np.ma.masked_less(panel.calls[panel.rows(PLAIN)], 0)
    north, south = (calls[:, panel.founders_of(name)] for name in ("North", "South"))
    p, q = north.mean(axis=1) / 2, south.mean(axis=1) / 2
    noise = p * (1 - p) / (2 * north.count(axis=1) - 1) + q * (1 - q) / (2 * south.count(axis=1) - 1)
    fst = ((p - q) ** 2 - noise).sum() / (p * (1 - q) + q * (1 - p)).sum()
    assert 0.08 < fst < 0.12


def test_neighbours_are_correlated_and_strangers_are_not(panel: Written) -> None:
    calls = np.ma.masked_less(panel.calls[panel.rows(PLAIN)][:, panel.founders_of("North")], 0)
    common = calls[np.minimum(calls.mean(axis=1), 2 - calls.mean(axis=1)) > 0.4].filled(0).astype(float)
    squared = np.corrcoef(common) ** 2
    assert np.diagonal(squared, 1).mean() > 0.2
    assert np.diagonal(squared, 300).mean() < 0.03


@pytest.mark.parametrize("population", ["North", "South"])
def test_a_population_is_near_hardy_and_weinbergs_equilibrium(panel: Written, population: str) -> None:
    calls = np.ma.masked_less(panel.calls[panel.rows(PLAIN)][:, panel.founders_of(population)], 0)
    p = calls.mean(axis=1) / 2
    size = 2 * calls.count(axis=1)
    expected = (2 * p * (1 - p) * size / (size - 1)).sum()
    assert (calls == 1).mean(axis=1).sum() == pytest.approx(expected, rel=0.03)


def parents(panel: Written, column: str) -> list[tuple[int, int]]:
    """Each child with its parent, as places among the people."""
    place = {name: number for number, name in enumerate(panel.people["#IID"])}
    return [
        (place[child], place[parent]) for child, parent in panel.people.select("#IID", column).rows() if parent != "0"
    ]


@pytest.mark.parametrize(("column", "side"), [("PAT", 0), ("MAT", 1)])
def test_a_child_has_an_allele_of_each_parent(panel: Written, column: str, side: int) -> None:
    alleles = panel.alleles[panel.rows(AUTOSOMAL)].reshape(-1, PEOPLE, 2)
    assert len(parents(panel, column)) >= 5
    for child, parent in parents(panel, column):
        called = (alleles[:, child, 0] >= 0) & (alleles[:, parent, 0] >= 0)
        of_child, of_parent = alleles[called, child], alleles[called, parent]
        assert (of_child[:, :, None] == of_parent[:, None, :]).any(axis=(1, 2)).all()


def test_a_trios_child_has_one_allele_of_each(panel: Written) -> None:
    alleles = panel.alleles[panel.rows(AUTOSOMAL)].reshape(-1, PEOPLE, 2)
    mothers = dict(parents(panel, "MAT"))
    trios = [(child, father, mothers[child]) for child, father in parents(panel, "PAT")]
    for trio in trios:
        child, father, mother = np.moveaxis(alleles[(alleles[:, trio, 0] >= 0).all(axis=1)][:, trio], 1, 0)
        one, other = child[:, :1], child[:, 1:]
        as_written = (one == father).any(axis=1) & (other == mother).any(axis=1)
        assert (as_written | (other == father).any(axis=1) & (one == mother).any(axis=1)).all()


def test_sons_have_their_fathers_y_and_all_their_mothers_mt(panel: Written) -> None:
    y, mt = panel.calls[panel.rows(pl.col("#CHROM") == "Y")], panel.calls[panel.rows(pl.col("#CHROM") == "MT")]
    men = panel.people["SEX"].to_numpy() == "1"
    for lines, column in ((y, "PAT"), (mt, "MAT")):
        for child, parent in parents(panel, column):
            both = (lines[:, child] >= 0) & (lines[:, parent] >= 0)
            assert (lines[both, child] == lines[both, parent]).all()
    assert (y[:, ~men] == -9).all()
    assert (y[:, men] >= 0).mean() > 0.9


@pytest.mark.parametrize("contig", ["X", "Y", "MT"])
def test_who_has_one_copy_is_called_as_two_alike(panel: Written, contig: str) -> None:
    men = panel.people["SEX"].to_numpy() == "1"
    calls = panel.calls[panel.rows(pl.col("#CHROM") == contig)]
    assert not (calls[:, men] == 1).any()
    assert (calls[:, ~men] == 1).any() == (contig == "X")


def test_men_have_two_copies_of_the_par(panel: Written) -> None:
    men = panel.people["SEX"].to_numpy() == "1"
    assert (panel.calls[panel.rows(pl.col("#CHROM").str.starts_with("PAR"))][:, men] == 1).any()


def test_few_calls_are_missing_but_many_at_some_variants_and_in_some_people(panel: Written) -> None:
    lost = panel.calls[panel.rows(PLAIN)] < 0
    assert 0.001 < lost.mean() < 0.008
    assert lost.mean(axis=1).max() > 0.08
    assert np.median(lost.mean(axis=0)) < 0.006


@pytest.mark.parametrize(("build", "place"), [(Build.GRCH37, 45411941), (Build.GRCH38, 44908684)])
def test_apoe_has_three_haplotypes_at_the_builds_places(
    tmp_path: Path, build: synthetic_sites.KnownBuild, place: int
) -> None:
    make_panel(tmp_path / "p", variants=2_000, people=400, build=build)
    written = read(tmp_path / "p")
    rows = written.sites.with_row_index().filter(pl.col("ID").is_in(["rs429358", "rs7412"]))
    assert rows.drop("index").rows() == [
        ("19", place, "rs429358", "T", "C"),
        ("19", place + 138, "rs7412", "C", "T"),
    ]
    e4, e2 = np.ma.masked_less(written.calls[rows["index"]], 0)
    assert (e4 + e2).max() == 2
    assert (e4.mean() / 2, e2.mean() / 2) == pytest.approx((0.16, 0.075), abs=0.05)
    assert f"##contig=<ID=1,length={synthetic_sites.LENGTHS[build][0]}>" in Path(f"{tmp_path}/p.pvar").read_text()


def test_dosages_lie_near_the_calls_of_the_same_seed(tmp_path: Path) -> None:
    make_panel(tmp_path / "calls", variants=500, people=50)
    make_panel(tmp_path / "dosages", variants=500, people=50, dosages=True)
    written = read(tmp_path / "calls")
    dosages = np.empty((500, 50), np.float32)
    with pgenlib.PgenReader(
        str(tmp_path / "dosages.pgen").encode(), allele_idx_offsets=offsets(written.sites)
    ) as reader:
        reader.read_dosages_range(0, 500, dosages)
    plain = written.rows(~pl.col("ALT").str.contains(","))
    off = np.abs(dosages - written.calls)[plain]
    assert off.max() < 0.46
    assert 0.05 < (off > 0.001).mean() < 0.3


def test_a_compressed_list_of_variants_is_the_same_list(tmp_path: Path) -> None:
    make_panel(tmp_path / "p", variants=500, people=10)
    make_panel(tmp_path / "z", variants=500, people=10, compress=True)
    plain, packed = (
        pl.read_csv(tmp_path / name, separator="\x01", has_header=False) for name in ("p.pvar", "z.pvar.zst")
    )
    assert plain.equals(packed)
    assert not (tmp_path / "z.pvar").exists()


@pytest.fixture(scope="module")
def plink2(missing: Missing) -> str:
    found = shutil.which("plink2")
    if found is None:
        missing.part("plink2", why="there is no plink2", get="apt-get install plink2")
    return str(found)


def run(program: str, *options: str) -> str:
    done = subprocess.run([program, "--threads", "1", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.plink2
@pytest.mark.parametrize("options", [{}, {"dosages": True, "compress": True}, {"build": Build.GRCH37}])
def test_plink2_finds_a_panel_valid(plink2: str, tmp_path: Path, options: dict[str, bool]) -> None:
    make_panel(tmp_path / "p", variants=1_000, people=60, **options)  # type: ignore[arg-type]
    packed = ("vzs",) if "compress" in options else ()
    said = run(plink2, "--pfile", str(tmp_path / "p"), *packed, "--validate", "--out", str(tmp_path / "out"))
    assert "Warning" not in said
    assert "Error" not in said


@pytest.mark.plink2
def test_plink2_counts_what_was_written(plink2: str, tmp_path: Path, panel: Written) -> None:
    out = str(tmp_path / "out")
    said = run(plink2, "--pfile", str(panel.prefix), "--geno-counts", "--missing", "--freq", "counts", "--out", out)
    assert "Warning" not in said
    women = (panel.people["SEX"] == "2").sum()
    assert f"{PEOPLE} samples ({women} females, {PEOPLE - women} males" in said

    counted = pl.read_csv(f"{out}.gcount", separator="\t", infer_schema=False)
    plain, calls = panel.rows(PLAIN), panel.calls
    for column, dosage in (("HOM_REF_CT", 0), ("HET_REF_ALT_CTS", 1), ("TWO_ALT_GENO_CTS", 2), ("MISSING_CT", -9)):
        assert (counted[column].to_numpy()[plain].astype(int) == (calls[plain] == dosage).sum(axis=1)).all()

    several = panel.rows(pl.col("ALT").str.contains(","))
    founders = panel.people.select((pl.col("PAT") == "0") & (pl.col("MAT") == "0")).to_series().to_numpy()
    told = pl.read_csv(f"{out}.acount", separator="\t", infer_schema=False)["ALT_CTS"].str.split(",").to_list()
    alleles = panel.alleles[:, np.repeat(founders, 2)]
    for row in np.flatnonzero(several):
        assert [int(each) for each in told[row]] == [(alleles[row] == allele).sum() for allele in (1, 2)]


@pytest.mark.plink2
def test_plink2_finds_the_same_calls_missing(plink2: str, tmp_path: Path, panel: Written) -> None:
    run(plink2, "--pfile", str(panel.prefix), "--missing", "--out", str(tmp_path / "out"))
    by_person = pl.read_csv(tmp_path / "out.smiss", separator="\t")["MISSING_CT"]
    not_y_of_women = (panel.people["SEX"].to_numpy() == "1") | ~panel.rows(pl.col("#CHROM") == "Y")[:, None]
    assert by_person.to_list() == ((panel.calls < 0) & not_y_of_women).sum(axis=0).tolist()
