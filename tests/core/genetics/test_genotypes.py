"""Reading genotypes: the same calls from either form, all alleles, phase, and a region with a column per person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import Region
from sluiceway.core.genetics.genotypes import GenotypeReader, genotype_frame
from sluiceway.core.genetics.panel import Panel, open_panel
from sluiceway.core.genetics.variants import VariantTable, prepare
from tests.panels import Row, beside, write_bed, write_pgen

PEOPLE = "#IID SEX\na 1\nb 2\nc 1\nd 2\ne 1"
PLAIN = [
    Row(place="1:10", ref="A", alt="G", calls="0/0 0/1 1/1 . 0/0"),
    Row(place="1:20", ref="C", alt="CT", calls="1/1 1/1 . 0/1 0/0"),
    Row(place="2:5", ref="C", alt="T", calls="0|1 1|0 0/1 1|1 ."),
]
SEVERAL = [*PLAIN, Row(place="2:6", ref="C", alt="T,G", calls="0|2 2|1 1/1 . 2/2")]
COPIES = [[0, 1, 2, -9, 0], [2, 2, -9, 1, 0], [1, 1, 1, 2, -9]]


def opened(prefix: Path) -> tuple[Panel, VariantTable]:
    panel = open_panel(prefix)
    return panel, prepare(panel, prefix.parent / "tables")


@pytest.fixture
def pgen(tmp_path: Path) -> tuple[Panel, VariantTable]:
    return opened(write_pgen(tmp_path / "toy", PEOPLE, SEVERAL))


def test_hardcalls_are_the_same_from_bed_and_pgen(tmp_path: Path, pgen: tuple[Panel, VariantTable]) -> None:
    bed = opened(write_bed(tmp_path / "old", list("abcde"), PLAIN))
    for panel, table in (pgen, bed):
        out = np.empty((3, 5), np.int8)
        with GenotypeReader(panel, table) as reader:
            reader.hardcalls(np.array([0, 1, 2], np.uint32), out)
        assert out.tolist() == COPIES


def test_rows_are_read_in_the_order_asked_for_and_counted(pgen: tuple[Panel, VariantTable]) -> None:
    out = np.empty((2, 5), np.int8)
    with GenotypeReader(*pgen) as reader:
        reader.hardcalls(np.array([2, 0], np.uint32), out)
        reader.hardcalls(np.empty(0, np.uint32), np.empty((0, 5), np.int8))
        assert reader.decoded == 2
    assert out.tolist() == [COPIES[2], COPIES[0]]


def test_dosages_are_whole_where_the_file_has_none(pgen: tuple[Panel, VariantTable]) -> None:
    out = np.empty((1, 5), np.float32)
    with GenotypeReader(*pgen) as reader:
        reader.dosages(np.array([1], np.uint32), out)
    assert out.tolist() == [COPIES[1]]


def test_all_alleles_of_a_row_are_told_apart(pgen: tuple[Panel, VariantTable]) -> None:
    with GenotypeReader(pgen[0]) as reader:
        found = reader.alleles(np.array([3], np.uint32)).reshape(5, 2)
    assert [sorted(pair) for pair in found.tolist()] == [[0, 2], [1, 2], [1, 1], [-9, -9], [2, 2]]


def test_phase_is_told_where_it_is_known(pgen: tuple[Panel, VariantTable]) -> None:
    with GenotypeReader(*pgen) as reader:
        alleles, known = reader.phased(np.array([2, 3], np.uint32))
    assert alleles[0, :4].tolist() == [0, 1, 1, 0]
    assert alleles[1, :4].tolist() == [0, 2, 2, 1]
    assert known[:, :3].tolist() == [[True, True, False], [True, True, True]]


def test_a_region_has_a_column_per_person(pgen: tuple[Panel, VariantTable]) -> None:
    frame = genotype_frame(*pgen, Region.parse("2:5-6"), ["d", "a", "b"])
    assert frame.columns == ["id", "chromosome", "position", "ref", "alt", "d", "a", "b"]
    assert {row[4]: row[5:] for row in frame.tail(2).rows()} == {"T": (None, 0, 1), "G": (None, 1, 1)}
    assert frame.row(0)[2:] == (5, "C", "T", 2, 1, 1)


def test_everybody_is_there_unless_people_are_chosen(pgen: tuple[Panel, VariantTable]) -> None:
    assert genotype_frame(*pgen, Region.parse("9")).columns[5:] == list("abcde")
    with pytest.raises(PanelUnusable, match="the sample 'zoe' is not in it"):
        genotype_frame(*pgen, Region.parse("1"), ["zoe"])


def test_genotypes_that_break_off_are_an_error_of_ours(pgen: tuple[Panel, VariantTable]) -> None:
    """Red on: core/genetics/genotypes.py: `except RuntimeError as error:` -> `except MemoryError as error:`."""
    panel, table = pgen
    file = beside(panel.prefix, ".pgen")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(PanelUnusable, match="genotypes cannot be read"), GenotypeReader(panel, table) as reader:
        reader.alleles(np.arange(4, dtype=np.uint32))


def test_the_same_real_people_have_the_same_calls_in_both_forms(real_data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("genot", "genot2"):
        panel = open_panel(real_data / "genotypes" / "genoboost_1kg" / name)
        table = prepare(panel, tmp_path)
        out = np.empty((500, panel.samples.n), np.int8)
        with GenotypeReader(panel, table) as reader:
            reader.hardcalls(table.variant[:500], out)
        found.append((table.key.tolist(), out.tolist()))
    assert found[0] == found[1]
