"""What one range of a panel's variants adds to every score of a batch, each needed variant read once.

`score_range` is the unit of work for a thread, a Dask task or an element of a Slurm array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sluiceway.core.genetics import kernel
from sluiceway.core.genetics.kernel import ANY_ALT, ANY_REF, BLOCK, MEAN, REF, SKIP, ZERO, Sums, Terms
from sluiceway.core.genetics.match import Entries, Matches, every_entry, match
from sluiceway.core.genetics.ploidy import Ploidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sluiceway.core.genetics.policy import Policy

    Held = NDArray[np.int8] | NDArray[np.float32]

REASONS: Final = 32
_MISSING: Final = {"mean": MEAN, "zero": ZERO, "skip": SKIP}
_KINDS: Final = 4


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
    found: Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """The slots of a block: of which entry, and what of it."""

    entry: NDArray[np.intp]
    kind: NDArray[np.intp]


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
    rows: NDArray[np.void],
    entries: Entries,
    genotypes: Genotypes,
    *,
    ploidy: Ploidy,
    batch: Batch,
) -> Partial:
    """Give what these entries add to each score.

    Args:
        rows: Rows of the type ROW at the entries' places, sorted by score and key.
        entries: A range of the panel's entries; its first begins a block.
        genotypes: Reads the panel's genotypes; for this call alone.
        ploidy: How many copies people have here.
        batch: What all ranges share.
    """
    policy, scores, samples = batch.policy, batch.scores, batch.samples
    found = match(rows, entries, policy)
    scored, chosen = _scored(rows, found, entries, policy)
    missing = np.zeros((scores, samples), np.int32)
    sums = {haploid: np.zeros((scores, samples)) for haploid in _ways(ploidy)}
    constants = {haploid: np.zeros(scores) for haploid in sums}
    passes = [
        _Pass(
            terms=kernel.weigh(
                scored, chosen, entries, constants[haploid], missing=_MISSING[policy.missing], haploid=haploid
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
        used=np.bincount(scored["score"], minlength=scores).astype(np.int64),
        reasons=count_reasons(rows, found.reason, scores),
        mass=mass_by_reason(rows, found.reason, scores),
        found=found,
    )


def _ways(ploidy: Ploidy) -> tuple[bool, ...]:
    """Tell in which ways copies are counted, haploid or not; X in both, for women, and for men by either coding."""
    if ploidy is Ploidy.AUTOSOME:
        return (False,)
    return (False, True) if ploidy is Ploidy.X else (True,)


def _scored(
    rows: NDArray[np.void], found: Matches, entries: Entries, policy: Policy
) -> tuple[NDArray[np.void], Matches]:
    """Give the rows that count, with their matches; a row that may match every entry comes once for each."""
    is_matched = found.is_matched
    chosen = Matches(reason=found.reason[is_matched], type=found.type[is_matched], entry=found.entry[is_matched])
    if policy.no_other_allele != "every":
        return rows[is_matched], chosen
    again, more = every_entry(rows, entries, found)
    return np.concatenate([rows[is_matched], rows[again]]), Matches(
        reason=np.concatenate([chosen.reason, more.reason]),
        type=np.concatenate([chosen.type, more.type]),
        entry=np.concatenate([chosen.entry, more.entry]),
    )


def _add_blocks(
    passes: Sequence[_Pass], entries: Entries, genotypes: Genotypes, samples: int, *, as_dosages: bool
) -> None:
    """Read each block that any pass needs, once, and add it to all of them."""
    used = np.zeros(_KINDS * BLOCK, np.bool_)
    for block in range(-(-entries.key.size // BLOCK)):
        used[:] = False
        for each in passes:
            kernel.mark_slots(each.terms, block, used)
        slots = np.flatnonzero(used)
        if not slots.size:
            continue
        held = np.zeros((slots.size, samples), np.float32 if as_dosages else np.int8)
        _fill(held, slots, block * BLOCK, entries, genotypes)
        start = np.zeros(slots.size + 1, np.int64)
        kernel.count_missing(held, samples, start)
        who = np.empty(start[-1], np.int32)
        kernel.take_missing(held, start, who)
        place = np.full(used.size, -1, np.int32)
        place[slots] = np.arange(slots.size)
        for number, each in enumerate(passes):
            kernel.add_block(each.terms, block, place, held, start, who, each.into, number == 0)


def _fill(held: Held, slots: NDArray[np.intp], first: int, entries: Entries, genotypes: Genotypes) -> None:
    """Read what the slots of a block hold; each variant once."""
    entry, kind = first + slots % BLOCK, slots // BLOCK
    is_simple = ~entries.multiallelic[entry]
    plain = np.flatnonzero(is_simple & (kind != ANY_ALT))
    if plain.size:
        held[plain] = _read(np.ascontiguousarray(entries.variant[entry[plain]]), held, genotypes)
    for slot in np.flatnonzero(is_simple & (kind == ANY_ALT)):
        # Whoever asks whether there is any copy asks for their number too, so the plain slot is there.
        held[slot] = np.minimum(held[plain[np.searchsorted(entry[plain], entry[slot])]], 1)
    several = np.flatnonzero(~is_simple)
    if several.size:
        _fill_multiallelic(held, several, _Slots(entry=entry, kind=kind), entries, genotypes)


def _read(variants: NDArray[np.uint32], held: Held, genotypes: Genotypes) -> Held:
    if held.dtype == np.float32:
        dosages = np.empty((variants.size, held.shape[1]), np.float32)
        genotypes.dosages(variants, dosages)
        return dosages
    calls = np.empty((variants.size, held.shape[1]), np.int8)
    genotypes.hardcalls(variants, calls)
    return calls


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


def count_reasons(rows: NDArray[np.void], reason: NDArray[np.uint8], scores: int) -> NDArray[np.int64]:
    """Count rows by score and reason."""
    return np.bincount(_by_reason(rows, reason), minlength=scores * REASONS).reshape(scores, REASONS)


def mass_by_reason(rows: NDArray[np.void], reason: NDArray[np.uint8], scores: int) -> NDArray[np.float64]:
    """Add up what one more effect allele can change, by score and reason."""
    steps = np.maximum(np.abs(rows["one"] - rows["none"]), np.abs(rows["two"] - rows["one"]))
    weights = np.nan_to_num(steps).astype(np.float64)
    mass = np.bincount(_by_reason(rows, reason), weights=weights, minlength=scores * REASONS)
    return mass.astype(np.float64).reshape(scores, REASONS)


def _by_reason(rows: NDArray[np.void], reason: NDArray[np.uint8]) -> NDArray[np.int64]:
    return rows["score"].astype(np.int64) * REASONS + reason
