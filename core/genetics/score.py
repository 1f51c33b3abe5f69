"""What one range of a panel's variants adds to every score of a batch, each needed variant read once.

`score_range` is the unit of work for a thread, a Dask task or an element of a Slurm array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from sluiceway.core.genetics import kernel, product
from sluiceway.core.genetics.kernel import (
    ALT,
    ANY_ALT,
    ANY_REF,
    BLOCK,
    CENTRED,
    MEAN,
    PLAIN,
    REF,
    SKIP,
    STANDARDISED,
    ZERO,
    Terms,
)  # fmt: skip
from sluiceway.core.genetics.match import Entries, Matches, every_entry, match
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.product import SPARSE, Calls, Sums
from sluiceway.core.genetics.rows import Rows, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sluiceway.core.genetics.policy import Policy

    Held = NDArray[np.int8] | NDArray[np.float32]

REASONS: Final = 32
_MISSING: Final = {"mean": MEAN, "zero": ZERO, "skip": SKIP}
_COPIES: Final = {"plain": PLAIN, "centred": CENTRED, "standardised": STANDARDISED}
_KINDS: Final = 4
# A second term of a row is on whether there is any copy; its missing calls are counted with the first.
_COUNTED: Final = ANY_ALT * BLOCK
# The highest bit of each number in eight bytes, by the size of a number.
_SIGNS: Final = {1: 0x8080808080808080, 4: 0x8000000080000000}


class Genotypes(Protocol):
    """What scoring asks of whoever reads genotypes: by the variant's number in the file, -9 where a call is missing."""

    def hardcalls(self, variants: NDArray[np.uint32], out: NDArray[np.int8]) -> None:
        """Read copies of ALT."""

    def dosages(self, variants: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
        """Read expected copies of ALT."""

    def alleles(self, variants: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Read both alleles of each sample, by number; 0 is REF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What one range adds: `diploid` and `haploid` as far as its ploidy asks for them, and what became of its rows."""

    ploidy: Ploidy
    diploid: NDArray[np.float64] | None
    haploid: NDArray[np.float64] | None
    missing: NDArray[np.int32]
    used: NDArray[np.int64]
    reasons: NDArray[np.int64]
    mass: NDArray[np.float64]
    missing_mass: NDArray[np.float64]
    found: Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """The slots of a block: their numbers, of which entry, and what of it; and how many are read as they are."""

    number: NDArray[np.intp]
    entry: NDArray[np.intp]
    kind: NDArray[np.intp]
    plain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What every range of one batch shares: how many scores and people there are, and how to match and score."""

    scores: int
    samples: int
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One way of counting copies in a range: its terms, and what they are added to."""

    terms: Terms
    into: Sums


def score_range(
    rows: Rows,
    entries: Entries,
    genotypes: Genotypes,
    *,
    ploidy: Ploidy,
    batch: Batch,
) -> Partial:
    """Give what these entries add to each score.

    Args:
        rows: Rows at the entries' places, sorted by score and key.
        entries: A range of the panel's entries; its first begins a block.
        genotypes: Reads the panel's genotypes; for this call alone.
        ploidy: How many copies people have here.
        batch: What all ranges share.
    """
    policy, scores, samples = batch.policy, batch.scores, batch.samples
    found = match(rows, entries, policy)
    scored, chosen = scored_rows(rows, found, entries, policy)
    missing = np.zeros((scores, samples), np.int32)
    sums = {haploid: np.zeros((scores, samples)) for haploid in _ways(ploidy)}
    constants = {haploid: np.zeros(scores) for haploid in sums}
    passes = [
        _Pass(
            terms=kernel.weigh(
                scored,
                chosen,
                entries,
                constants[haploid],
                missing=_MISSING[policy.missing],
                copies=_COPIES[policy.copies],
                haploid=haploid,
            ),
            into=Sums(sums=sums[haploid], missing=missing),
        )
        for haploid in sums
    ]
    _add_blocks(passes, entries, genotypes, samples, as_dosages=policy.genotypes == "dosages")
    for haploid in sums:
        sums[haploid] += constants[haploid][:, None]
    return Partial(
        ploidy=ploidy,
        diploid=sums.get(False),
        haploid=sums.get(True),
        missing=missing,
        used=np.bincount(scored.score[chosen.is_matched], minlength=scores).astype(np.int64),
        reasons=count_reasons(rows, found.reason, scores),
        mass=mass_by_reason(rows, found.reason, scores),
        missing_mass=_missing_mass(scored, chosen, entries, batch, ploidy),
        found=found,
    )


def _ways(ploidy: Ploidy) -> tuple[bool, ...]:
    """Tell in which ways copies are counted, haploid or not; X in both, for women, and for men by either coding."""
    if ploidy is Ploidy.AUTOSOME:
        return (False,)
    return (False, True) if ploidy is Ploidy.X else (True,)


def scored_rows(rows: Rows, found: Matches, entries: Entries, policy: Policy) -> tuple[Rows, Matches]:
    """Give the rows that count, with their matches; a row that may match every entry comes once for each."""
    if policy.no_other_allele != "every":
        return rows, found
    again, more = every_entry(rows, entries, found)
    return Rows.joined([rows, rows.take(again)]), Matches(
        reason=np.concatenate([found.reason, more.reason]),
        type=np.concatenate([found.type, more.type]),
        entry=np.concatenate([found.entry, more.entry]),
    )


def _add_blocks(
    passes: Sequence[_Pass], entries: Entries, genotypes: Genotypes, samples: int, *, as_dosages: bool
) -> None:
    """Read each block that any pass needs, once, and add it to all of them."""
    used = np.zeros(_KINDS * BLOCK, np.bool_)
    place = np.empty(used.size, np.int32)
    room = _Room(samples, np.float32 if as_dosages else np.int8)
    for block in range(-(-entries.key.size // BLOCK)):
        used[:] = False
        for each in passes:
            product.mark_slots(each.terms, block, used)
        slots = _slots(np.flatnonzero(used), block * BLOCK, entries)
        if not slots.number.size:
            continue
        held = room.lines(slots.number.size)
        _fill(held, slots, entries, genotypes)
        calls = room.listed(held, slots, entries)
        place[slots.number] = np.arange(slots.number.size)
        for number, each in enumerate(passes):
            # Whoever is counted in two ways misses a call once.
            counted = 0 if number else _COUNTED
            product.add_block(each.terms, block, place, held, calls, each.into, counted)


class _Room:
    """The memory in which block after block is worked on: new memory costs as much as what is done in it."""

    def __init__(self, samples: int, dtype: type[np.int8 | np.float32]) -> None:
        self._samples = samples
        self._type = np.dtype(dtype)
        self._words = np.empty(0, np.uint64)
        self._who = np.empty(0, np.int32)
        self._copies: Held = np.empty(0, self._type)
        self._sign = np.uint64(_SIGNS[self._type.itemsize])

    def lines(self, n: int) -> Held:
        """Give room for so many slots, a line each; what it held before is lost."""
        size = n * self._samples
        needed = -(-size * self._type.itemsize // 8)
        if self._words.size < needed:
            self._words = np.empty(needed, np.uint64)
        lines: Held = self._words.view(self._type)[:size].reshape(n, self._samples)
        return lines

    def listed(self, held: Held, slots: _Slots, entries: Entries) -> Calls:
        """List what stands out in each slot."""
        is_sparse = (entries.frequency[slots.entry] <= SPARSE) & ((slots.kind == ALT) | (slots.kind == ANY_ALT))
        start = np.empty(len(held) + 1, np.int64)
        while True:
            calls = Calls(is_sparse=is_sparse, start=start, who=self._who, copies=self._copies)
            needed = product.list_calls(held, self._words, self._sign, calls)
            if needed <= self._who.size:
                return calls
            self._who, self._copies = np.empty(2 * needed, np.int32), np.empty(2 * needed, self._type)


def _slots(used: NDArray[np.intp], first: int, entries: Entries) -> _Slots:
    """Put a block's slots in the order in which they are read: those that are read as they are come first."""
    entry, kind = first + used % BLOCK, used // BLOCK
    is_plain = ~entries.multiallelic[entry] & (kind != ANY_ALT)
    order = np.concatenate([np.flatnonzero(is_plain), np.flatnonzero(~is_plain)])
    return _Slots(number=used[order], entry=entry[order], kind=kind[order], plain=int(is_plain.sum()))


def _fill(held: Held, slots: _Slots, entries: Entries, genotypes: Genotypes) -> None:
    """Read what the slots of a block hold; each variant once."""
    plain = slots.entry[: slots.plain]
    if plain.size:
        _read(np.ascontiguousarray(entries.variant[plain]), held[: plain.size], genotypes)
    several = entries.multiallelic[slots.entry]
    for slot in np.flatnonzero(~several[slots.plain :]) + slots.plain:
        # Whoever asks whether there is any copy asks for their number too, so the plain slot is there.
        held[slot] = np.minimum(held[np.searchsorted(plain, slots.entry[slot])], 1)
    if several.any():
        _fill_multiallelic(held, np.flatnonzero(several), slots, entries, genotypes)


def _read(variants: NDArray[np.uint32], held: Held, genotypes: Genotypes) -> None:
    if held.dtype == np.float32:
        genotypes.dosages(variants, cast("NDArray[np.float32]", held))
    else:
        genotypes.hardcalls(variants, cast("NDArray[np.int8]", held))


def _fill_multiallelic(
    held: Held, which: NDArray[np.intp], slots: _Slots, entries: Entries, genotypes: Genotypes
) -> None:
    """Count copies of one allele among several."""
    variants, variant_of = np.unique(entries.variant[slots.entry[which]], return_inverse=True)
    alleles = genotypes.alleles(variants)
    for slot, variant in zip(which, variant_of, strict=True):
        kind = slots.kind[slot]
        allele = 0 if kind in {REF, ANY_REF} else int(entries.allele[slots.entry[slot]])
        pairs = alleles[variant].reshape(-1, 2)
        copies = (pairs == allele).sum(axis=1)
        copies = np.minimum(copies, 1) if kind in {ANY_ALT, ANY_REF} else copies
        held[slot] = np.where(pairs[:, 0] < 0, -9, copies)


def count_reasons(rows: Rows, reason: NDArray[np.uint8], scores: int) -> NDArray[np.int64]:
    """Count rows by score and reason."""
    return np.bincount(_by_reason(rows, reason), minlength=scores * REASONS).reshape(scores, REASONS)


def mass_by_reason(rows: Rows, reason: NDArray[np.uint8], scores: int) -> NDArray[np.float64]:
    """Add up what one more effect allele can change, by score and reason."""
    weights = np.nan_to_num(steps(rows))
    mass = np.bincount(_by_reason(rows, reason), weights=weights, minlength=scores * REASONS)
    return mass.astype(np.float64).reshape(scores, REASONS)


def _missing_mass(rows: Rows, found: Matches, entries: Entries, batch: Batch, ploidy: Ploidy) -> NDArray[np.float64]:
    """Add up what one more effect allele can change where a person has no call, for people on average.

    Not on Y, where the panel's missing calls are women's too.
    """
    if ploidy is Ploidy.Y:
        return np.zeros(batch.scores)
    matched = found.is_matched
    share = entries.missing[found.entry[matched]] / batch.samples
    mass = np.bincount(rows.score[matched], weights=steps(rows)[matched] * share, minlength=batch.scores)
    return mass.astype(np.float64)


def _by_reason(rows: Rows, reason: NDArray[np.uint8]) -> NDArray[np.int64]:
    return rows.score.astype(np.int64) * REASONS + reason
