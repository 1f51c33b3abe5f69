"""The prepared table: sorted entries, frequencies by hand, made once, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.alleles import INVALID, allele_code, place_key
from sluiceway.core.genetics.build import Build, Region
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.variants import VariantTable, prepare, table_key
from tests.panels import Row, beside, write_bed, write_pgen, write_psam

PEOPLE = """\
#IID SEX Unrelated
w1   2   1
w2   2   1
m1   1   1
m2   1   1
u1   0   1
kin  2   0
"""
ROWS = [
    Row(place="chr2:50", ref="A", alt="G", calls="0/1 1/1 0/0 . 0/1 1/1"),
    Row(place="1:900", ref="C", alt="T,G,<DEL>", calls="0/1 1/2 2/2 . 0/0 1/1"),
    Row(place="1:100", ref="ACG", alt="A", calls="0/0 0/0 0/0 0/0 0/0 1/1"),
    Row(place="X:5000000", ref="A", alt="C", calls="0/1 1/1 1/1 . 1/1 1/1"),
    Row(place="X:20000", ref="A", alt="C", calls="0/1 1/1 0/0 0/0 0/1 ."),
    Row(place="PAR1:30000", ref="A", alt="C", calls="0/0 0/0 0/1 0/0 0/0 0/0"),
    Row(place="Y:5000000", ref="G", alt="T", calls=". . 1/1 0/0 1/1 ."),
    Row(place="MT:10", ref="G", alt="T", calls="0/0 1/1 0/1 . 0/0 1/1"),
    Row(place="8_KI270821v1_alt:10", ref="G", alt="T", calls="0/0 1/1 0/1 . 0/0 1/1"),
    Row(place="3:77", ref="A", alt="T", calls=". . . . . 1/1"),
    Row(place="1:0", ref="A", alt="T", calls="0/0 0/0 0/0 0/0 0/0 0/0"),
    Row(place="4:77", ref="A", alt="*", calls="0/0 0/0 0/0 0/0 0/0 0/0"),
]
FREQUENCIES = {
    ("v0", "G"): 4 / 8,
    ("v1", "T"): 2 / 8,
    ("v1", "G"): 3 / 8,
    ("v1", "<DEL>"): 0,
    ("v2", "A"): 0,
    ("v3", "C"): (1 + 2 + 1) / (2 + 2 + 1),
    ("v4", "C"): 4 / 10,
    ("v5", "C"): 1 / 10,
    ("v6", "T"): 1 / 2,
    ("v7", "T"): 1.5 / 4,
    ("v9", "T"): None,
    ("v11", "*"): 0,
}
"""By hand: kin is related, u1's sex is unknown, v4 is in a part of X that pairs with Y."""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return write_pgen(tmp_path / "toy", PEOPLE, ROWS, header="##contig=<ID=1,length=248956422>\n")


@pytest.fixture
def table(prefix: Path, tmp_path: Path) -> VariantTable:
    return prepare(open_panel(prefix), tmp_path / "tables")


def rows(table: VariantTable) -> list[tuple[str, str]]:
    return table.names(np.arange(table.key.size)).select("id", "alt").rows()


def test_entries_are_in_the_order_of_the_genome(table: VariantTable) -> None:
    assert (np.diff(table.key.astype(object)) >= 0).all()
    places = table.names(np.arange(table.key.size)).select("chromosome", "position").rows()
    assert [each for at, each in enumerate(places) if each not in places[:at]] == [
        ("1", 100), ("1", 900), ("chr2", 50), ("3", 77), ("4", 77), ("X", 20_000), ("PAR1", 30_000), ("X", 5_000_000),
        ("Y", 5_000_000), ("MT", 10),
    ]  # fmt: skip


def test_frequencies_are_those_of_unrelated_people_who_count(table: VariantTable) -> None:
    found = dict(zip(rows(table), table.frequency.tolist(), strict=True))
    assert {each: None if np.isnan(value) else value for each, value in found.items()} == pytest.approx(FREQUENCIES)


def test_missing_calls_are_counted_among_everybody(table: VariantTable) -> None:
    found = dict(zip(rows(table), table.missing.tolist(), strict=True))
    assert [found["v0", "G"], found["v1", "T"], found["v6", "T"], found["v9", "T"]] == [1, 1, 3, 5]


def test_each_alt_is_an_entry_that_points_to_its_row(table: VariantTable) -> None:
    several = np.flatnonzero(table.multiallelic)
    assert table.variant[several].tolist() == [1, 1, 1]
    told = {(allele, int(code)) for allele, code in zip(table.allele[several], table.alt[several], strict=True)}
    assert told == {(1, allele_code("T")), (2, allele_code("G")), (3, int(INVALID))}


def test_ploidy_is_told_by_name_and_place(table: VariantTable) -> None:
    ploidy = dict(zip((name for name, _ in rows(table)), table.ploidy.tolist(), strict=True))
    assert {name: Ploidy(ploidy[name]).name for name in ("v0", "v3", "v4", "v5", "v6", "v7")} == {
        "v0": "AUTOSOME", "v3": "X", "v4": "AUTOSOME", "v5": "AUTOSOME", "v6": "Y", "v7": "MT",
    }  # fmt: skip


def test_without_a_build_only_names_tell_where_x_pairs(tmp_path: Path) -> None:
    table = prepare(open_panel(write_pgen(tmp_path / "toy", PEOPLE, ROWS)), tmp_path / "tables")
    ploidy = dict(zip((name for name, _ in rows(table)), table.ploidy.tolist(), strict=True))
    assert (ploidy["v4"], ploidy["v5"], table.build) == (Ploidy.X, Ploidy.AUTOSOME, None)


def test_rows_without_a_place_are_left_out_and_counted(table: VariantTable) -> None:
    assert (table.left_out, table.n_variants, table.n_samples) == (2, 12, 6)
    assert not {"v8", "v10"} & {name for name, _ in rows(table)}


def test_names_are_given_in_the_order_asked_for(table: VariantTable) -> None:
    all_names = table.names(np.arange(table.key.size))
    assert table.names(np.array([5, 0, 5])).rows() == [all_names.row(5), all_names.row(0), all_names.row(5)]
    assert table.names(np.array([], np.intp)).height == 0


@pytest.mark.parametrize(
    ("region", "names"),
    [
        ("1", ["v2", "v1", "v1", "v1"]),
        ("1:100-100", ["v2"]),
        ("1:101-899", []),
        ("MT", ["v7"]),
        ("5", []),
        ("1:90-300M", ["v2", "v1", "v1", "v1"]),
        ("1:290M-300M", []),
    ],
)
def test_a_region_is_a_stretch_of_rows(table: VariantTable, region: str, names: list[str]) -> None:
    assert table.names(table.rows_in(Region.parse(region)))["id"].to_list() == names


def test_keys_are_those_of_the_place(table: VariantTable) -> None:
    at = rows(table).index(("v7", "T"))
    assert place_key(26, 10) <= int(table.key[at]) < place_key(26, 11)


def test_a_table_is_made_once(prefix: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        prepare(open_panel(prefix), tmp_path / "tables", tell=lambda done, of: told.append((done, of)))
    assert told[-1] == (12, 12)
    assert len(told) == len(set(told))


@pytest.mark.parametrize("form", [".pvar", ".pvar.zst", ".bim", "spaces"])
def test_a_table_does_not_depend_on_how_many_rows_are_in_memory(prefix: Path, tmp_path: Path, form: str) -> None:
    """Red on: core/genetics/sorted_entries.py: `if len(slices) > 1:` -> `if len(slices) > 99:`."""
    if form == ".pvar.zst":
        pvar = beside(prefix, ".pvar")
        lines = pl.DataFrame({"line": pvar.read_text().splitlines()})
        lines.write_csv(
            beside(prefix, form), include_header=False, quote_style="never", separator="\x01", compression="zstd"
        )
        pvar.unlink()
    elif form != ".pvar":
        prefix = write_bed(tmp_path / "old", list("abcdef"), [each for each in ROWS if "," not in each.alt])
        bim = beside(prefix, ".bim")
        bim.write_text(bim.read_text().replace("\t", "  " if form == "spaces" else "\t"))
    made = [prepare(open_panel(prefix), tmp_path / str(rows), rows_at_once=rows).folder for rows in (1, 5, 1_000)]
    contents = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in made]
    assert contents[0] == contents[1] == contents[2]


def test_a_shuffled_panel_has_the_entries_of_a_sorted_one(tmp_path: Path) -> None:
    shuffled = [ROWS[each] for each in np.random.default_rng(3).permutation(len(ROWS))]
    panels = [write_pgen(tmp_path / name, PEOPLE, order) for name, order in (("one", ROWS), ("other", shuffled))]
    one, other = (prepare(open_panel(each), tmp_path / "tables", rows_at_once=3) for each in panels)
    for name in ("key", "ref", "alt", "allele", "multiallelic", "ploidy", "frequency", "missing"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert [shuffled[each] for each in other.variant] == [ROWS[each] for each in one.variant]


def test_another_build_or_other_relatives_are_another_table(prefix: Path) -> None:
    keys = {table_key(open_panel(prefix)), table_key(open_panel(prefix, build=Build.GRCH37))}
    beside(prefix, ".king.cutoff.id").write_text("#IID\nm1\n")
    assert len(keys | {table_key(open_panel(prefix))}) == 3


def test_dosages_have_a_table_of_their_own_where_the_panel_may_have_them(prefix: Path, tmp_path: Path) -> None:
    assert table_key(open_panel(prefix), "dosages") != table_key(open_panel(prefix))
    bed = open_panel(write_bed(tmp_path / "old", ["a", "b"], [Row(place="1:5", ref="A", alt="C", calls="0/1 .")]))
    assert table_key(bed, "dosages") == table_key(bed)


def test_frequencies_of_dosages_are_those_of_the_people_who_count(tmp_path: Path) -> None:
    make_panel(tmp_path / "blurred", variants=3_000, people=80, dosages=True)
    panel = open_panel(tmp_path / "blurred")
    table = prepare(panel, tmp_path / "tables", genotypes="dosages")
    plain = np.flatnonzero(~table.multiallelic & (table.ploidy == Ploidy.AUTOSOME))
    dosages = np.empty((plain.size, panel.samples.n), np.float32)
    with GenotypeReader(panel, table) as reader:
        reader.dosages(table.variant[plain], dosages)
    counts = np.where(dosages >= 0, dosages.astype(np.float64), np.nan)
    expected = np.nanmean(counts[:, panel.samples.table["unrelated"].to_numpy()], axis=1) / 2
    assert table.frequency[plain] == pytest.approx(expected)
    assert table.missing[plain].tolist() == np.isnan(counts).sum(axis=1).tolist()
    assert not np.allclose(expected, prepare(panel, tmp_path / "tables").frequency[plain], atol=1e-3)


@pytest.mark.parametrize("name", ["frequency.npy", "names.parquet", "offsets.npy", "table.json"])
def test_a_damaged_table_is_told_and_made_anew(
    prefix: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Red on: core/genetics/variants.py: `digest_of_file(folder / name) != digest` -> `not digest`."""
    before = prepare(open_panel(prefix), tmp_path / "tables")
    file = before.folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-3] + bytes(255 - each for each in whole[-3:]))
    after = prepare(open_panel(prefix), tmp_path / "tables")
    assert caplog.messages[0].startswith(f"table damaged key={before.folder.name} panel={prefix.name} reason={name} ")
    assert (after.folder / name).read_bytes() == whole
    assert {each.name for each in after.folder.parent.iterdir()} == {after.folder.name, "making"}
    assert list((after.folder.parent / "making").iterdir()) == []


def test_a_table_that_cannot_be_made_leaves_nothing(prefix: Path, tmp_path: Path) -> None:
    """Red on: core/genetics/variants.py: `made = making / "table"` -> `made = target`."""
    pgen = beside(prefix, ".pgen")
    pgen.write_bytes(pgen.read_bytes()[:-9])
    with pytest.raises(PanelUnusable, match="genotypes cannot be read"):
        prepare(open_panel(prefix), tmp_path / "tables")
    assert [each.name for each in (tmp_path / "tables").rglob("*")] == ["making"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("4\t77\tv11\tA\t*\t.\n", "", r"has 12 variants, but toy\.pvar has 11"),
        ("1\t900", "1\tnine", "cannot be read as a table of variants"),
        ("#CHROM\tPOS", "#CHROM\tBP", "its header lacks POS"),
    ],
)
def test_a_variant_file_that_does_not_fit_is_refused(
    prefix: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    pvar = beside(prefix, ".pvar")
    pvar.write_text(pvar.read_text().replace(old, new))
    with pytest.raises(PanelUnusable, match=reason):
        prepare(open_panel(prefix), tmp_path / "tables")


def test_a_variant_file_without_variants_is_refused(prefix: Path, tmp_path: Path) -> None:
    beside(prefix, ".pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n")
    with pytest.raises(PanelUnusable, match="there is no variant in it"):
        prepare(open_panel(prefix), tmp_path / "tables")


def test_people_of_unknown_sex_have_no_frequency_on_x_and_y(prefix: Path, tmp_path: Path) -> None:
    write_psam(beside(prefix, ".psam"), "#IID\na\nb\nc\nd\ne\nf")
    table = prepare(open_panel(prefix), tmp_path / "tables")
    is_sexual = np.isin(table.ploidy, (Ploidy.X, Ploidy.Y))
    assert np.isnan(table.frequency).tolist() == is_sexual.tolist()
