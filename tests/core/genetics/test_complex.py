"""Interactions, haplotypes and diplotypes on a panel of six people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.catalog.complex_rows import ComplexRow, Component
from sluiceway.core.genetics.complex import add_complex
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.match import Reason
from sluiceway.core.genetics.model import Model
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import Reference
from sluiceway.core.genetics.score import Batch, count_reasons, mass_by_reason
from sluiceway.core.genetics.totals import ScoreResult, Totals
from sluiceway.core.genetics.variants import prepare
from tests.core.genetics.test_score import row, rows_of
from tests.panels import Row, write_pgen

PEOPLE = "#IID SEX\na 2\nb 2\nc 2\nd 2\ne 2\nf 2\n"
#                     a: none  b: phased  c: unphased  d: e4/e4  e: missing  f: one differs
FIRST = Row(place="19:100", ref="T", alt="C", calls="0/0 0|1 0/1 1/1 .   0/1")
SECOND = Row(place="19:200", ref="C", alt="T", calls="0/0 1|0 0/1 0/0 0/0 0/0")


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    panel = open_panel(write_pgen(tmp_path / "panel", PEOPLE, [FIRST, SECOND]))
    return Reference.of(panel, prepare(panel, tmp_path / "cache"))


def haplotype(first: str, second: str) -> tuple[Component, ...]:
    return (
        Component(chromosome=19, position=100, effect=first, other="C" if first == "T" else "T", rsid=None),
        Component(chromosome=19, position=200, effect=second, other="C" if second == "T" else "T", rsid=None),
    )


E2, E3, E4 = haplotype("T", "T"), haplotype("T", "C"), haplotype("C", "C")


def empty() -> ScoreResult:
    """A score whose only row waits to be scored as a complex one."""
    totals = Totals(Batch(scores=1, samples=6, policy=Policy()), np.full(6, 2, np.uint8))
    waiting = rows_of([[row("A", "G")]])
    reason = np.array([Reason.NOT_SCORED_MODEL], np.uint8)
    totals.reasons += count_reasons(waiting, reason, 1)
    totals.mass += mass_by_reason(waiting, reason, 1)
    return totals.result(0)


def scored(reference: Reference, model: Model, parts: tuple[tuple[Component, ...], ...]) -> ScoreResult:
    asked = ComplexRow(row_nr=0, model=model, weight=1.0, parts=parts)
    with GenotypeReader(reference.panel, reference.table) as genotypes:
        entries = reference.entries(reference.ranges[0])
        everybody = np.ones(6, bool)
        return add_complex(
            empty(), [asked], entries, genotypes, unrelated=everybody, policy=Policy(missing="zero")
        )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "parts", "sums", "missing"),
    [
        (Model.INTERACTION, tuple((each,) for each in haplotype("C", "T")), [0, 1, 1, 0, 0, 0], "e"),
        (Model.HAPLOTYPE, (E2,), [0, 1, 0, 0, 0, 0], "ce"),
        (Model.HAPLOTYPE, (E3,), [2, 0, 0, 0, 0, 1], "ce"),
        (Model.HAPLOTYPE, (E4,), [0, 1, 0, 2, 0, 1], "ce"),
        (Model.DIPLOTYPE, (E2, E4), [0, 1, 0, 0, 0, 0], "ce"),
        (Model.DIPLOTYPE, (E3, E3), [1, 0, 0, 0, 0, 0], "ce"),
        (Model.DIPLOTYPE, (E3, E4), [0, 0, 0, 0, 0, 1], "ce"),
    ],
)
def test_a_complex_row_counts_what_people_carry(
    reference: Reference, model: Model, parts: tuple[tuple[Component, ...], ...], sums: list[int], missing: str
) -> None:
    found = scored(reference, model, parts)
    assert found.people["sum_2"].to_list() == sums
    assert found.people["missing"].to_list() == [int(person in missing) for person in "abcdef"]
    assert (found.reasons["complex"], found.reasons["not_scored_model"]) == (1, 0)


def test_a_part_that_is_not_in_the_panel_leaves_the_row_out_and_says_so(reference: Reference) -> None:
    absent = Component(chromosome=19, position=300, effect="C", other="T", rsid=None)
    found = scored(reference, Model.INTERACTION, ((E4[0],), (absent,)))
    assert found.people["sum_2"].to_list() == [0] * 6
    assert (found.reasons["not_in_panel"], found.reasons["not_scored_model"]) == (1, 0)
