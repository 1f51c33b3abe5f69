"""What we read and count is what plink2 reads and counts, on real people, in both forms, on every chromosome."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.panel import Panel, open_panel
from sluiceway.core.genetics.variants import VariantTable, prepare
from tests.conftest import Missing
from tests.panels import Row, write_pgen

pytestmark = pytest.mark.plink2

PANELS = (
    "cineca/cineca_synthetic_subset", "cineca/cineca_synthetic_subset.bed", "genoboost_1kg/genot",
    "genoboost_1kg/genot2", "plink-ng/all_ploidy", "plink-ng/chr21_phase3_start", "plink-ng/mt_mixed_phase",
)  # fmt: skip


class Plink2:
    """The real program, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"

    def run(self, panel: Panel, *options: str) -> Path:
        """Run it on a panel and give what its output files begin with."""
        files = ("--bed", "--bim", "--fam") if panel.is_bed else ("--pgen", "--pvar", "--psam")
        places = (panel.genotypes, panel.variants, panel.samples_file)
        named = [str(each) for pair in zip(files, places, strict=True) for each in pair]
        command = ["plink2", *named, "--threads", "1", "--memory", "700", "--out", str(self.out), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.out

    def frequencies(self, panel: Panel) -> dict[tuple[int, int], float]:
        """Give each ALT allele's frequency among the people we call unrelated, by row and allele."""
        keep = self.out.with_suffix(".keep")
        alone = panel.samples.table.filter("unrelated").select(pl.col("family").replace("", "0"), "sample")
        keep.write_text("".join(f"{family}\t{sample}\n" for family, sample in alone.rows()))
        self.run(panel, "--nonfounders", "--keep", str(keep), "--freq", "cols=chrom,ref,alt,altfreq")
        return {
            (row, allele): float(value)
            for row, line in enumerate(table(self.out.with_suffix(".afreq")))
            for allele, value in enumerate(line["ALT_FREQS"].split(","), start=1)
        }

    def missing(self, panel: Panel) -> list[int]:
        """Give each row's missing calls among everybody."""
        return [int(line["MISSING_CT"]) for line in table(self.run(panel, "--missing").with_suffix(".vmiss"))]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def plink2(missing: Missing, tmp_path: Path) -> Plink2:
    if shutil.which("plink2") is None:
        missing.part("plink2", why="there is no plink2", get="apt-get install plink2")
    return Plink2(tmp_path)


def opened(real_data: Path, name: str, folder: Path) -> tuple[Panel, VariantTable]:
    panel = open_panel(real_data / "genotypes" / Path(name).parent / Path(name).stem)
    if name.endswith(".bed"):
        for suffix in (".bed", ".bim", ".fam"):
            shutil.copy(panel.prefix.with_suffix(suffix), folder)
        panel = open_panel(folder / panel.prefix.name)
    return panel, prepare(panel, folder / "tables")


@pytest.mark.parametrize("name", PANELS)
def test_frequencies_are_plink2s(real_data: Path, plink2: Plink2, tmp_path: Path, name: str) -> None:
    panel, ours = opened(real_data, name, tmp_path)
    theirs = plink2.frequencies(panel)
    wanted = [theirs[int(row), int(allele)] for row, allele in zip(ours.variant, ours.allele, strict=True)]
    np.testing.assert_allclose(ours.frequency, wanted, rtol=1e-5, atol=1e-12)
    assert ours.key.size == len(theirs)


@pytest.mark.parametrize("name", ["plink-ng/chr21_phase3_start", "genoboost_1kg/genot"])
def test_plink2s_founders_are_unrelated_and_so_is_whose_parents_are_elsewhere(
    real_data: Path, plink2: Plink2, tmp_path: Path, name: str
) -> None:
    panel, _ = opened(real_data, name, tmp_path)
    founders = plink2.run(panel, "--keep-founders", "--write-samples").with_suffix(".id").read_text().split()
    alone = panel.samples.table.filter("unrelated")
    others = alone.filter(~pl.col("sample").is_in(founders))
    assert set(founders) & set(panel.samples.table["sample"]) <= set(alone["sample"])
    assert all(father or mother for father, mother in others.select("father", "mother").rows())


@pytest.mark.parametrize("name", PANELS[:4])
def test_calls_and_their_orientation_are_plink2s(real_data: Path, plink2: Plink2, tmp_path: Path, name: str) -> None:
    panel, ours = opened(real_data, name, tmp_path)
    rows = np.flatnonzero(ours.variant < 50)
    chosen = tmp_path / "chosen"
    chosen.write_text("\n".join(ours.names(rows)["id"]))
    alts = tmp_path / "alts"
    ours.names(rows).select("id", "alt").write_csv(alts, separator="\t", include_header=False)
    plink2.run(panel, "--extract", str(chosen), "--export-allele", str(alts), "--export", "A-transpose")
    exported = pl.read_csv(plink2.out.with_suffix(".traw"), separator="\t", infer_schema=False, null_values="NA")
    theirs = dict(zip(exported["SNP"], exported.select(pl.col(exported.columns[6:])).rows(), strict=True))
    out = np.empty((rows.size, panel.samples.n), np.int8)
    with GenotypeReader(panel, ours) as reader:
        reader.hardcalls(ours.variant[rows], out)
    for name_of, calls in zip(ours.names(rows)["id"], out.tolist(), strict=True):
        assert [-9 if each is None else int(each) for each in theirs[name_of]] == calls


def test_missing_calls_are_plink2s(real_data: Path, plink2: Plink2, tmp_path: Path) -> None:
    panel, ours = opened(real_data, "plink-ng/all_ploidy", tmp_path)
    theirs = np.array(plink2.missing(panel))[ours.variant]
    autosomal = ours.ploidy == 0
    assert ours.missing[autosomal].tolist() == theirs[autosomal].tolist()


def test_dosages_are_plink2s(plink2: Plink2, tmp_path: Path) -> None:
    vcf = tmp_path / "dosages.vcf"
    vcf.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n##FORMAT=<ID=DS,Number=1,Type=Float,Description="d">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"
        "1\t10\tx\tA\tG\t.\t.\t.\tGT:DS\t0/1:1.25\t0/0:0.5\t./.:.\n"
    )
    command = ["plink2", "--vcf", str(vcf), "dosage=DS", "--make-pgen", "--out", str(tmp_path / "toy")]
    subprocess.run(command, capture_output=True, check=True)
    out, calls = np.empty((1, 3), np.float32), np.empty((1, 3), np.int8)
    with GenotypeReader(open_panel(tmp_path / "toy")) as reader:
        reader.dosages(np.zeros(1, np.uint32), out)
        reader.hardcalls(np.zeros(1, np.uint32), calls)
    assert out[0].tolist() == [1.25, 0.5, -9.0]
    assert calls[0, 2] == -9


def test_a_haploid_call_reads_as_two_copies(plink2: Plink2, tmp_path: Path) -> None:
    vcf = tmp_path / "haploid.vcf"
    vcf.write_text(
        '##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\nMT\t10\tx\tA\tG\t.\t.\t.\tGT\t1\t0\n"
    )
    command = ["plink2", "--vcf", str(vcf), "--make-pgen", "--out", str(tmp_path / "toy")]
    subprocess.run(command, capture_output=True, check=True)
    out = np.empty((1, 2), np.int8)
    with GenotypeReader(open_panel(tmp_path / "toy")) as reader:
        reader.hardcalls(np.zeros(1, np.uint32), out)
    assert out.tolist() == [[2, 0]]


def test_panels_that_our_tests_write_are_panels_to_plink2(plink2: Plink2, tmp_path: Path) -> None:
    rows = [
        Row(place="1:10", ref="A", alt="G,T", calls="0|2 1/2 . 0/0"),
        Row(place="X:99000000", ref="A", alt="G", calls="0/1 1/1 1/1 0/0"),
    ]
    panel = open_panel(write_pgen(tmp_path / "toy", "#IID SEX\na 2\nb 2\nc 1\nd 1", rows))
    ours = prepare(panel, tmp_path / "tables")
    assert list(plink2.frequencies(panel).values()) == pytest.approx([1 / 6, 2 / 6, 4 / 6], rel=1e-5)
    assert sorted(ours.frequency) == pytest.approx([1 / 6, 2 / 6, 4 / 6])
