"""Rows that need several variants at once: interactions, haplotypes and diplotypes.

They are few, so they are scored beside the pass over the panel. A haplotype needs to be known copy by copy: where the
panel does not tell which parent's allele is which, it is still known as long as at most one of its variants differs
between the copies; else it counts as missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from sluiceway.core.genetics.alleles import allele_code, packed_keys
from sluiceway.core.genetics.match import Entries, Matches, Reason, match
from sluiceway.core.genetics.model import Model
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.rows import NO_ROWS, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sluiceway.core.catalog.complex_rows import ComplexRow, Component
    from sluiceway.core.genetics.genotypes import GenotypeReader
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.totals import ScoreResult


class _Carried(NamedTuple):
    """Who carries a component's effect allele on which copy, who is called, and whose copies are told apart."""

    copies: NDArray[np.bool_]
    is_called: NDArray[np.bool_]
    is_phased: NDArray[np.bool_]


def add_complex(
    result: ScoreResult,
    rows: Sequence[ComplexRow],
    entries: Entries,
    genotypes: GenotypeReader,
    *,
    unrelated: NDArray[np.bool_],
    policy: Policy,
) -> ScoreResult:
    """Give a result with its complex rows added; a row with a part that is not found gets that part's reason.

    Args:
        result: The score without them.
        rows: Its complex rows.
        entries: All entries of the panel.
        genotypes: Reads the panel.
        unrelated: Who counts where a missing value is replaced by the mean.
        policy: How to match, and what a missing genotype counts.
    """
    reasons, mass, used = dict(result.reasons), dict(result.mass), dict(result.used)
    total, missed = np.zeros(result.people.height), np.zeros(result.people.height, np.int64)
    scored = 0
    for row in rows:
        reason, carried = _found(row, entries, genotypes, policy)
        _move(reasons, mass, reason, abs(row.weight))
        if reason is Reason.COMPLEX:
            value, is_known = _value(row, carried)
            expected = value[is_known & unrelated].mean() if (is_known & unrelated).any() else 0.0
            total += row.weight * np.where(is_known, value, expected if policy.missing == "mean" else 0.0)
            missed += ~is_known
            scored += 1
    used[Ploidy.AUTOSOME.name.lower()] += scored
    return replace(result, people=_added(result.people, total, missed, scored), reasons=reasons, mass=mass, used=used)


def reason_of(row: ComplexRow, entries: Entries, policy: Policy) -> Reason:
    """Tell whether every component of a row is found; the first that is not gives the reason."""
    reason, _ = _components(row, entries, policy)
    return reason


def _components(row: ComplexRow, entries: Entries, policy: Policy) -> tuple[Reason, Matches]:
    """Find every component, in the row's order."""
    probes = _probes([each for part in row.parts for each in part])
    found = match(probes, entries, policy.model_copy(update={"duplicates": "sum", "no_other_allele": "one"}))
    order = np.argsort(probes.row)
    ordered = Matches(reason=found.reason[order], type=found.type[order], entry=found.entry[order])
    unmatched = [Reason(each) for each in ordered.reason[~ordered.is_matched]]
    return (unmatched[0] if unmatched else Reason.COMPLEX), ordered


def _found(
    row: ComplexRow, entries: Entries, genotypes: GenotypeReader, policy: Policy
) -> tuple[Reason, list[list[_Carried]]]:
    """Find every component, and who carries it."""
    reason, found = _components(row, entries, policy)
    if reason is not Reason.COMPLEX:
        return reason, []
    allele = np.where(found.type % 2 == 0, 0, entries.allele[found.entry])
    variants, place = np.unique(entries.variant[found.entry], return_inverse=True)
    alleles, phased = genotypes.phased(variants)
    pairs = alleles.reshape(len(variants), -1, 2)
    carried = iter(
        _Carried(copies=pairs[at] == which, is_called=pairs[at][:, 0] >= 0, is_phased=phased[at])
        for at, which in zip(place, allele, strict=True)
    )
    return reason, [[next(carried) for _ in part] for part in row.parts]


def _probes(components: Sequence[Component]) -> Rows:
    n = len(components)
    effect = np.array([allele_code(each.effect) for each in components], np.uint64)
    other = np.array([allele_code(each.other) for each in components], np.uint64)
    chromosomes = np.array([each.chromosome for each in components], np.uint8)
    positions = np.array([each.position for each in components], np.uint32)
    probes = NO_ROWS._replace(
        key=packed_keys(chromosomes, positions, effect, other),
        effect=effect,
        other=other,
        weight=np.zeros(n),
        row=np.arange(n, dtype=np.uint32),
        score=np.zeros(n, np.uint32),
        model=np.zeros(n, np.uint8),
    )
    return probes.take(np.argsort(probes.key, kind="stable"))


def _value(row: ComplexRow, parts: list[list[_Carried]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give how often each person has what the row asks for, and of whom that is known."""
    if row.model is Model.INTERACTION:
        each = [component for part in parts for component in part]
        product = np.prod([component.copies.sum(axis=1) for component in each], axis=0)
        return product.astype(np.float64), np.all([component.is_called for component in each], axis=0)
    haplotypes = [np.all([component.copies for component in part], axis=0) for part in parts]
    known = np.all([_is_known(part) for part in parts], axis=0)
    if row.model is Model.HAPLOTYPE:
        return haplotypes[0].sum(axis=1).astype(np.float64), known
    first, second = haplotypes[0], haplotypes[-1]
    has_both = (first[:, 0] & second[:, 1]) | (first[:, 1] & second[:, 0])
    return has_both.astype(np.float64), known


def _is_known(part: list[_Carried]) -> NDArray[np.bool_]:
    called = np.all([each.is_called for each in part], axis=0)
    differs = np.array([each.copies[:, 0] != each.copies[:, 1] for each in part])
    phased = np.all([~unequal | each.is_phased for each, unequal in zip(part, differs, strict=True)], axis=0)
    return np.asarray(called & (phased | (differs.sum(axis=0) <= 1)))


def _move(reasons: dict[str, int], mass: dict[str, float], reason: Reason, weight: float) -> None:
    """Count a row under its own reason instead of under those that are not scored."""
    before, after = Reason.NOT_SCORED_MODEL.name.lower(), reason.name.lower()
    reasons[before] -= 1
    reasons[after] += 1
    mass[before] = max(mass[before] - weight, 0.0)
    mass[after] += weight


def _added(people: pl.DataFrame, total: NDArray[np.float64], missed: NDArray[np.int64], scored: int) -> pl.DataFrame:
    more = pl.Series("more", total)
    missing = pl.Series("missing", missed, pl.UInt32)
    return people.with_columns(
        *(pl.col(f"sum_{coding}") + more for coding in (1, 2)),
        *(pl.col(f"alleles_{coding}") + pl.lit(2 * scored, pl.UInt32) for coding in (1, 2)),
        *(pl.col(f"missing_alleles_{coding}") + 2 * missing for coding in (1, 2)),
        pl.col("missing") + missing,
    ).with_columns(pl.exclude("sum_1", "sum_2").cast(pl.UInt32))
