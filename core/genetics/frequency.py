"""How often each ALT allele is among a panel's unrelated people, and how many calls are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluiceway.core.genetics.genotypes import unreadable
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.samples import FEMALE, MALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pgenlib
    from numpy.typing import NDArray

    from sluiceway.core.genetics.panel import Panel

    Flags = NDArray[np.bool_]

_AT_ONCE: Final = 16_384
_DOSAGES_AT_ONCE: Final = 4_000_000
"""Dosages in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What is to be measured: one entry for each ALT allele of each row of the genotypes."""

    variant: NDArray[np.uint32]
    allele: NDArray[np.uint8]
    multiallelic: NDArray[np.bool_]
    ploidy: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """People whose genotypes count alike: `weight` is one for two copies, one half for a man's one copy of X."""

    people: Flags
    weight: float


def measure(
    panel: Panel, reader: pgenlib.PgenReader, entries: Entries, *, as_dosages: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    """Give the ALT frequency of each entry, NaN where nobody who counts is called, and its missing calls.

    A woman has two alleles of X and a man one; only men count on Y; everybody has one of MT; whose sex is unknown is
    left out on X and Y. Missing calls are counted among everybody, women on Y as well. A heterozygous call where there
    is one copy counts one half. Of rows with one ALT allele, dosages count as they are where they are asked for; where
    there are several, whole genotypes do.

    Args:
        panel: The panel.
        reader: Reads its genotypes, of everybody, which it is left to do.
        entries: What is to be measured.
        as_dosages: Whether dosages are asked for.
    """
    count_plain = _count_dosages if as_dosages else _count_plain
    frequency = np.full(entries.variant.size, np.nan)
    missing = np.zeros(entries.variant.size, np.uint32)
    for ploidy in Ploidy:
        for several, count in ((False, count_plain), (True, _count_several)):
            rows = np.flatnonzero((entries.ploidy == ploidy) & (entries.multiallelic == several))
            if not rows.size:
                continue
            rows = rows[np.lexsort((entries.allele[rows], entries.variant[rows]))]
            for part in count(panel, reader, entries, rows, _groups(panel, ploidy)):
                frequency[part.rows], missing[part.rows] = part.frequency, part.missing
    return frequency, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    rows: NDArray[np.intp]
    frequency: NDArray[np.float64]
    missing: NDArray[np.uint32]


def _groups(panel: Panel, ploidy: Ploidy) -> list[_Group]:
    unrelated = panel.samples.table["unrelated"].to_numpy()
    sex = panel.samples.table["sex"].to_numpy()
    men = _Group(people=unrelated & (sex == MALE), weight=0.5)
    if ploidy is Ploidy.X:
        return [_Group(people=unrelated & (sex == FEMALE), weight=1.0), men]
    return [men] if ploidy is Ploidy.Y else [_Group(people=unrelated, weight=1.0)]


def _frequency(copies: NDArray[np.float64], called: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return copies / (2 * called)


def _count_plain(
    panel: Panel, reader: pgenlib.PgenReader, entries: Entries, rows: NDArray[np.intp], groups: list[_Group]
) -> Iterator[_Part]:
    """Count rows with one ALT allele; pgenlib counts without unpacking genotypes.

    One reader counts one group after another: each reader has an index of its own, of nine bytes for each variant.
    """
    for first in range(0, rows.size, _AT_ONCE):
        part = rows[first : first + _AT_ONCE]
        variants = entries.variant[part]
        whole = _counts(panel, reader, variants)
        copies, called = np.zeros(part.size), np.zeros(part.size)
        for each in groups:
            if not each.people.any():
                continue
            counts = whole if each.people.all() else _counts(panel, reader, variants, of=each.people)
            copies += each.weight * (counts[:, 1] + 2.0 * counts[:, 2])
            called += each.weight * counts[:, :3].sum(axis=1)
        yield _Part(rows=part, frequency=_frequency(copies, called), missing=whole[:, 3])


def _count_dosages(
    panel: Panel, reader: pgenlib.PgenReader, entries: Entries, rows: NDArray[np.intp], groups: list[_Group]
) -> Iterator[_Part]:
    """Add up dosages of rows with one ALT allele; they are whole multiples of a power of two, so no bit is lost."""
    weights = np.zeros(panel.samples.n)
    for each in groups:
        weights += each.weight * each.people
    step = max(_DOSAGES_AT_ONCE // panel.samples.n, 1)
    for first in range(0, rows.size, step):
        part = rows[first : first + step]
        dosages = np.empty((part.size, panel.samples.n), np.float32)
        _read_dosages(panel, reader, entries.variant[part], dosages)
        is_called = dosages >= 0
        copies = np.where(is_called, dosages, 0) @ weights
        missing = (panel.samples.n - is_called.sum(axis=1)).astype(np.uint32)
        yield _Part(rows=part, frequency=_frequency(copies, is_called @ weights), missing=missing)


def _counts(
    panel: Panel, reader: pgenlib.PgenReader, variants: NDArray[np.uint32], *, of: Flags | None = None
) -> NDArray[np.uint32]:
    """Give how many people, of all or of these, have none, one, two ALT alleles, and no call, in four columns."""
    counts = np.empty((variants.size, 4), np.uint32)
    try:
        reader.change_sample_subset(None if of is None else np.flatnonzero(of).astype(np.uint32))
        for variant, out in zip(variants.tolist(), counts, strict=True):
            reader.count(variant, out)
        reader.change_sample_subset(None)
    except RuntimeError as error:
        raise unreadable(panel.genotypes, error) from error
    return counts


def _count_several(
    panel: Panel, reader: pgenlib.PgenReader, entries: Entries, rows: NDArray[np.intp], groups: list[_Group]
) -> Iterator[_Part]:
    """Count rows with several ALT alleles; pgenlib's own count knows REF and not REF only."""
    pairs, read = np.empty(2 * panel.samples.n, np.int32), None
    for first in range(0, rows.size, _AT_ONCE):
        part = rows[first : first + _AT_ONCE]
        frequency, missing = np.full(part.size, np.nan), np.zeros(part.size, np.uint32)
        for at, row in enumerate(part):
            if entries.variant[row] != read:
                read = entries.variant[row]
                _read_alleles(panel, reader, int(read), pairs)
            is_called = pairs[::2] >= 0
            has = (pairs == entries.allele[row]).reshape(-1, 2).sum(axis=1)
            copies = sum(each.weight * has[each.people].sum() for each in groups)
            called = sum(each.weight * is_called[each.people].sum() for each in groups)
            frequency[at] = copies / (2 * called) if called else np.nan
            missing[at] = is_called.size - is_called.sum()
        yield _Part(rows=part, frequency=frequency, missing=missing)


def _read_dosages(
    panel: Panel, reader: pgenlib.PgenReader, variants: NDArray[np.uint32], out: NDArray[np.float32]
) -> None:
    try:
        reader.read_dosages_list(variants, out)
    except RuntimeError as error:
        raise unreadable(panel.genotypes, error) from error


def _read_alleles(panel: Panel, reader: pgenlib.PgenReader, variant: int, out: NDArray[np.int32]) -> None:
    try:
        reader.read_alleles(variant, out)
    except RuntimeError as error:
        raise unreadable(panel.genotypes, error) from error
