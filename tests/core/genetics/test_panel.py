"""A panel is three files that belong together; which they are, who is in them, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.core.errors import InputMissing, PanelUnusable
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import open_panel
from tests.panels import Row, beside, write_bed, write_pgen, write_psam

FAMILY = """\
#FID IID PAT MAT SEX SuperPop Population sex
f1   dad 0   0   1   EUR      GBR        x
f1   mum NA  0   2   EUR      GBR        x
f1   kid dad mum F   EUR      FIN        x
f2   guy 0   0   NA  AFR      YRI        x
"""
ROWS = [
    Row(place="1:100", ref="A", alt="G", calls="0/0 0/1 1/1 ."),
    Row(place="1:200", ref="C", alt="T", calls=". . . ."),
]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return write_pgen(tmp_path / "toy.panel", FAMILY, ROWS)


def test_people_are_read_in_the_order_of_the_genotypes(prefix: Path) -> None:
    people = open_panel(prefix).samples.table
    assert people.columns == ["sample", "family", "father", "mother", "sex", "population", "unrelated", "SuperPop",
                              "Population", "sex_"]  # fmt: skip
    assert people["sample"].to_list() == ["dad", "mum", "kid", "guy"]
    assert people["sex"].to_list() == [1, 2, 2, 0]
    assert people["mother"].to_list() == ["", "", "mum", ""]


@pytest.mark.parametrize(("option", "labels"), [(None, ["EUR", "AFR"]), ("Population", ["GBR", "FIN", "YRI"])])
def test_the_population_is_the_column_that_is_asked_for_or_one_of_the_usual_name(
    prefix: Path, option: str | None, labels: list[str]
) -> None:
    samples = open_panel(prefix, population=option).samples
    assert samples.table["population"].unique(maintain_order=True).to_list() == labels
    assert samples.population_column == option or option is None


@pytest.mark.parametrize("name", ["superpop", "Superpopulation", "Region", "genetic_region", "population", "POP"])
def test_a_column_of_labels_is_found_by_its_name(prefix: Path, name: str) -> None:
    write_psam(beside(prefix, ".psam"), f"#IID SEX {name}\na 1 x\nb 2 y\nc 1 y\nd 2 x")
    assert open_panel(prefix).samples.table["population"].to_list() == ["x", "y", "y", "x"]


def test_without_labels_everybody_is_of_one_population(prefix: Path) -> None:
    write_psam(beside(prefix, ".psam"), "#IID SEX\na 1\nb 2\nc 1\nd 2")
    samples = open_panel(prefix).samples
    assert (samples.population_column, samples.table["population"].unique().to_list()) == (None, ["all"])


RULES = {
    "pedigree": ("", "", ["dad", "mum", "guy"]),
    "list beside": (".king.cutoff.out.id", "#IID\nguy\nsomebody\n", ["dad", "mum", "kid"]),
    "list with families": (".king.cutoff.id", "#FID\tIID\nf1\tdad\n", ["mum", "kid", "guy"]),
    "list without header": (".king.cutoff.id", "f1 dad\nf1 mum\n", ["kid", "guy"]),
    "column": (".psam", "#IID SEX Unrelated\ndad 1 False\nmum 2 true\nkid 1 1\nguy 1 0", ["mum", "kid"]),
    "nothing": (".psam", "#IID SEX\ndad 1\nmum 2\nkid 1\nguy 1", ["dad", "mum", "kid", "guy"]),
}


@pytest.mark.parametrize(("suffix", "text", "alone"), RULES.values(), ids=RULES)
def test_who_is_unrelated_is_told_by_a_list_a_column_or_the_pedigree(
    prefix: Path, suffix: str, text: str, alone: list[str]
) -> None:
    if suffix:
        write_psam(beside(prefix, suffix), text)
    samples = open_panel(prefix).samples
    assert samples.table.filter("unrelated")["sample"].to_list() == alone
    assert samples.n_unrelated == len(alone)


def test_a_list_that_is_named_comes_before_the_one_beside(prefix: Path, tmp_path: Path) -> None:
    prefix.with_name(prefix.name + ".king.cutoff.id").write_text("#IID\nguy\n")
    (tmp_path / "other").write_text("kid\nmum\n")
    samples = open_panel(prefix, unrelated=tmp_path / "other").samples
    assert samples.table.filter("unrelated")["sample"].to_list() == ["dad", "guy"]
    assert samples.unrelated_rule == "without those in other"


@pytest.mark.parametrize(
    ("header", "build"),
    [
        ("##contig=<ID=chr1,length=248956422>", Build.GRCH38),
        ("##contig=<ID=1,assembly=b37,length=249250621>", Build.GRCH37),
        ("##contig=<ID=21,length=48129895,assembly=whatever>", Build.GRCH37),
        ("##contig=<ID=chrX,length=154913754>", Build.GRCH36),
        ("##contig=<ID=HLA-1,length=3>\n##reference=file:///x/hs37d5.fa.gz", Build.GRCH37),
        ("##reference=GRCh38_full_analysis_set_plus_decoy_hla.fa", Build.GRCH38),
        ("##contig=<ID=chr1,assembly=hg19>", Build.GRCH37),
        ("##contig=<ID=chr1,length=248956422>\n##contig=<ID=chr2,length=243199373>", None),
        ("##fileformat=VCFv4.2", None),
    ],
)
def test_the_build_is_told_by_the_variant_files_header(tmp_path: Path, header: str, build: Build | None) -> None:
    prefix = write_pgen(tmp_path / "toy", FAMILY, ROWS, header=f"{header}\n")
    assert open_panel(prefix).build is build
    assert open_panel(prefix, build=Build.GRCH36).build is Build.GRCH36


@pytest.mark.parametrize("suffix", ["", ".pgen", ".pvar", ".psam"])
def test_a_file_will_do_for_the_prefix(tmp_path: Path, suffix: str) -> None:
    prefix = write_pgen(tmp_path / "toy", FAMILY, ROWS)
    assert open_panel(Path(f"{prefix}{suffix}")).genotypes.name == "toy.pgen"


def test_a_panel_is_the_same_wherever_it_is_and_another_when_a_file_changes(tmp_path: Path) -> None:
    prefix = write_pgen(tmp_path / "toy", FAMILY, ROWS)
    before = open_panel(prefix).digest
    for file in list(tmp_path.iterdir()):
        shutil.copy(file, tmp_path / f"other{file.suffix}")
    assert open_panel(tmp_path / "other").digest == before
    beside(prefix, ".psam").write_text(beside(prefix, ".psam").read_text().replace("AFR", "AMR"))
    assert open_panel(prefix).digest != before


def rewrite(suffix: str, text: str) -> Callable[[Path], None]:
    return lambda prefix: write_psam(beside(prefix, suffix), text)


def rename(suffix: str, other: str) -> Callable[[Path], object]:
    return lambda prefix: beside(prefix, suffix).rename(beside(prefix, other))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no genotypes": (rename(".pgen", "gone"), "neither a .pgen nor a .bed"),
    "no variants": (rename(".pvar", "gone"), ".pvar file is missing"),
    "no people": (rename(".psam", "gone"), ".psam file is missing"),
    "packed genotypes": (rename(".pgen", ".pgen.zst"), "decompress the .pgen.zst file first"),
    "one person more": (rewrite(".psam", "#IID\na\nb\nc\nd\ne"), "4 samples, but the sample file has 5"),
    "one person twice": (rewrite(".psam", "#IID\na\nb\nb\nd"), "'b' is in it more than once"),
    "only a header": (rewrite(".psam", "#IID SEX"), "there is nobody in it"),
    "an empty file": (rewrite(".psam", ""), "there is nobody in it"),
    "a short line": (rewrite(".psam", "#IID SEX\na 1\nb"), "person 2 has 1 columns, not 2"),
    "no IID": (rewrite(".psam", "#ID SEX\na 1"), "needs the column IID"),
    "text for genotypes": (rewrite(".pgen", "text, not genotypes"), "does not begin as a .pgen"),
    "only relatives": (rewrite(".king.cutoff.id", "dad\nmum\nkid\nguy"), "lists everybody"),
}


@pytest.mark.parametrize(("harm", "reason"), REFUSED.values(), ids=REFUSED)
def test_files_that_do_not_belong_together_are_refused(
    prefix: Path, harm: Callable[[Path], object], reason: str
) -> None:
    harm(prefix)
    with pytest.raises(PanelUnusable) as refused:
        open_panel(prefix)
    assert reason in refused.value.reason


def test_options_that_fit_no_file_are_refused(prefix: Path, tmp_path: Path) -> None:
    with pytest.raises(PanelUnusable, match="no column 'Kingdom'; its columns are FID, IID"):
        open_panel(prefix, population="Kingdom")
    with pytest.raises(InputMissing):
        open_panel(prefix, unrelated=tmp_path / "nothing")
    keep = tmp_path / "x.king.cutoff.in.id"
    keep.write_text("#IID\ndad\n")
    with pytest.raises(PanelUnusable, match="people to keep"):
        open_panel(prefix, unrelated=keep)


def test_a_bed_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    prefix = write_bed(
        tmp_path / "toy", ["a", "b", "c", "d", "e"], [Row(place="1:5", ref="A", alt="C", calls=". . . . .")]
    )
    beside(prefix, ".bed").write_bytes(beside(prefix, ".bed").read_bytes()[:-1])
    with pytest.raises(PanelUnusable, match="no whole number of variants of the 5 people"):
        open_panel(prefix)


@pytest.mark.parametrize(
    "name", ["cineca/cineca_synthetic_subset", "plink-ng/chr21_phase3_start", "genoboost_1kg/genot"]
)
def test_real_panels_open(real_data: Path, name: str) -> None:
    panel = open_panel(real_data / "genotypes" / name)
    assert panel.samples.n in {1092, 2504}


def test_a_compressed_bim_reads_as_the_plain_one(tmp_path: Path) -> None:
    prefix = write_bed(tmp_path / "toy", ["a", "b", "c", "d"], ROWS)
    subprocess.run(["gzip", beside(prefix, ".bim")], check=True)
    assert open_panel(prefix).variants.name == "toy.bim.gz"
