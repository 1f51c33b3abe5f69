"""The arithmetic of scoring: weights times genotypes, in float64, over one block of a panel's variants at a time.

Every model of one variant, additive or not, is linear in two numbers: the copies of an allele, and whether there is
any. So a row becomes one or two terms, each a weight on one slot of its block, and a constant. A missing genotype
counts as none in the product; what it should count besides is added afterwards, call by call.

A block is a fixed stretch of the panel, and a score's terms are added in the order of its own rows. So a score's sums
are the same bits whatever else is in the batch, and however many workers share the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sluiceway.core.genetics.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluiceway.core.genetics.match import Entries, Matches

BLOCK: Final = 1024
"""Entries in a block; the bits of a result depend on it."""

ALT, REF, ANY_ALT, ANY_REF = range(4)
"""What a slot holds of its entry: copies of ALT or REF, and whether there is any."""

MEAN, ZERO, SKIP = range(3)
"""What a missing genotype counts."""

TERM: Final = np.dtype([("weight", "f8"), ("fill", "f8"), ("score", "u4"), ("slot", "u4")])
"""A weight on a slot (kind times BLOCK, plus the entry's place in its block), and what each missing call adds."""

_ADDITIVE: Final = 0
_DOSAGE: Final = 3
_CARRIERS: Final = ANY_ALT * BLOCK


class Terms(NamedTuple):
    """The terms of a range, by block and in a block by score; `start` says where each block begins."""

    terms: NDArray[np.void]
    start: NDArray[np.int64]


class Sums(NamedTuple):
    """What is added up for a batch: per score and sample, the sum and the missing calls."""

    sums: NDArray[np.float64]
    missing: NDArray[np.int32]


def weigh(
    rows: NDArray[np.void],
    found: Matches,
    entries: Entries,
    constants: NDArray[np.float64],
    *,
    missing: int,
    haploid: bool,
) -> Terms:
    """Turn matched rows into terms, and add what a score counts without any ALT allele to `constants`.

    Args:
        rows: Rows of the type ROW; all of them are matched.
        found: What was found for them.
        entries: The range's entries; its first one begins a block.
        constants: One number per score of the batch.
        missing: MEAN, ZERO or SKIP.
        haploid: Count one copy, which .pgen writes as two.
    """
    blocks = -(-entries.key.size // BLOCK)
    start = np.zeros(blocks + 1, np.int64)
    _count_terms(rows, found, haploid, start)
    terms = np.empty(start[-1], TERM)
    _write_terms(rows, found, entries, constants, missing, haploid, start[:-1].copy(), terms)
    return Terms(terms=terms, start=start)


@compiled
def _is_straight(row: np.void) -> bool:
    """Whether the second copy counts what the first does."""
    return bool(row["two"] - row["one"] == row["one"] - row["none"])


@compiled
def _count_terms(rows: NDArray[np.void], found: Matches, haploid: bool, start: NDArray[np.int64]) -> None:  # noqa: FBT001
    for row in range(rows.size):
        start[found.entry[row] // BLOCK + 1] += 1 if haploid or _is_straight(rows[row]) else 2
    for block in range(1, start.size):
        start[block] += start[block - 1]


@compiled
def _write_terms(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    rows: NDArray[np.void],
    found: Matches,
    entries: Entries,
    constants: NDArray[np.float64],
    missing: int,
    haploid: bool,  # noqa: FBT001
    at: NDArray[np.int64],
    terms: NDArray[np.void],
) -> None:
    for row in range(rows.size):
        entry = found.entry[row]
        block = entry // BLOCK
        score = rows[row]["score"]
        none, one, two = rows[row]["none"], rows[row]["one"], rows[row]["two"]
        is_ref = found.type[row] % 2 == 0
        desired = _of_missing(rows[row], _share_of_effect(entries, entry, is_ref), missing, haploid)
        slot = entry % BLOCK
        if entries.multiallelic[entry]:
            slot += REF * BLOCK if is_ref else 0
        elif is_ref:
            none, two = (one, none) if haploid else (two, none)
            one = rows[row]["none"] if haploid else one
        if haploid:
            slope, bend = (one - none) / 2, 0.0
        else:
            slope, bend = two - one, 2 * one - none - two
        constants[score] += none
        terms[at[block]]["weight"] = slope
        terms[at[block]]["fill"] = desired - none
        terms[at[block]]["score"] = score
        terms[at[block]]["slot"] = slot
        at[block] += 1
        if not haploid and not _is_straight(rows[row]):
            terms[at[block]]["weight"] = bend
            terms[at[block]]["fill"] = 0.0
            terms[at[block]]["score"] = score
            terms[at[block]]["slot"] = slot + _CARRIERS
            at[block] += 1


@compiled
def _share_of_effect(entries: Entries, entry: int, is_ref: bool) -> float:  # noqa: FBT001
    """Give the effect allele's frequency; REF's is what all ALT alleles of the variant leave."""
    if not is_ref:
        return float(entries.frequency[entry])
    rest = 1.0 - entries.frequency[entry]
    if entries.multiallelic[entry]:
        low, high = entry - 1, entry + 1
        while low >= 0 and entries.variant[low] == entries.variant[entry]:
            rest -= entries.frequency[low]
            low -= 1
        while high < entries.key.size and entries.variant[high] == entries.variant[entry]:
            rest -= entries.frequency[high]
            high += 1
    return float(max(rest, 0.0))


@compiled
def _of_missing(row: np.void, share: float, missing: int, haploid: bool) -> float:  # noqa: FBT001
    """Give what a missing genotype counts."""
    if missing == SKIP:
        return 0.0
    if missing == ZERO:
        return float(row["none"])
    if haploid:
        return float((1 - share) * row["none"] + share * row["one"])
    if row["model"] == _ADDITIVE or row["model"] == _DOSAGE:
        rare, common = share, 1 - share
        return float(common * common * row["none"] + 2 * rare * common * row["one"] + rare * rare * row["two"])
    # Dominant and recessive rows expect the allele's frequency once, as plink2 does.
    return float(share * row["two"])


@compiled
def mark_slots(terms: Terms, block: int, used: NDArray[np.bool_]) -> None:
    """Mark the slots that a block's terms use."""
    for at in range(terms.start[block], terms.start[block + 1]):
        used[terms.terms[at]["slot"]] = True


@compiled
def count_missing(genotypes: NDArray[np.int8], samples: int, missing: NDArray[np.int64]) -> None:
    """Count each slot's missing calls into where the next slot's begin."""
    for slot in range(genotypes.shape[0]):
        count = 0
        for sample in range(samples):
            count += genotypes[slot, sample] < 0
        missing[slot + 1] = missing[slot] + count


@compiled
def take_missing(genotypes: NDArray[np.int8], start: NDArray[np.int64], who: NDArray[np.int32]) -> None:
    """Write down who misses a call in each slot, and let the call count none."""
    for slot in range(genotypes.shape[0]):
        at = start[slot]
        if at == start[slot + 1]:
            continue
        for sample in range(genotypes.shape[1]):
            if genotypes[slot, sample] < 0:
                who[at] = sample
                genotypes[slot, sample] = 0
                at += 1


@compiled
def add_block(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    terms: Terms,
    block: int,
    place: NDArray[np.int32],
    genotypes: NDArray[np.int8],
    start: NDArray[np.int64],
    who: NDArray[np.int32],
    into: Sums,
    counts_missing: bool,  # noqa: FBT001
) -> None:
    """Add a block's terms: `place` tells where in `genotypes` each slot stands, `start` and `who` who misses it."""
    high = terms.start[block + 1]
    low = terms.start[block]
    while low < high:
        end = low + 1
        score = terms.terms[low]["score"]
        while end < high and terms.terms[end]["score"] == score:
            end += 1
        _add_score(terms.terms, low, end, place, genotypes, into.sums[score])
        for at in range(low, end):
            slot = place[terms.terms[at]["slot"]]
            fill = terms.terms[at]["fill"]
            is_first = terms.terms[at]["slot"] < _CARRIERS
            for each in range(start[slot], start[slot + 1]):
                into.sums[score, who[each]] += fill
                if is_first and counts_missing:
                    into.missing[score, who[each]] += 1
        low = end


@compiled
def _add_score(
    terms: NDArray[np.void],
    low: int,
    high: int,
    place: NDArray[np.int32],
    genotypes: NDArray[np.int8],
    total: NDArray[np.float64],
) -> None:
    """Add one score's terms to its sums: eight variants at a time, so that a sum is read and written once for eight."""
    samples = total.size
    while low + 8 <= high:
        w0, w1, w2, w3 = (
            terms[low]["weight"],
            terms[low + 1]["weight"],
            terms[low + 2]["weight"],
            terms[low + 3]["weight"],
        )
        w4, w5, w6, w7 = (
            terms[low + 4]["weight"], terms[low + 5]["weight"], terms[low + 6]["weight"], terms[low + 7]["weight"],
        )  # fmt: skip
        g0, g1 = genotypes[place[terms[low]["slot"]]], genotypes[place[terms[low + 1]["slot"]]]
        g2, g3 = genotypes[place[terms[low + 2]["slot"]]], genotypes[place[terms[low + 3]["slot"]]]
        g4, g5 = genotypes[place[terms[low + 4]["slot"]]], genotypes[place[terms[low + 5]["slot"]]]
        g6, g7 = genotypes[place[terms[low + 6]["slot"]]], genotypes[place[terms[low + 7]["slot"]]]
        for each in range(samples):
            total[each] += ((w0 * g0[each] + w1 * g1[each]) + (w2 * g2[each] + w3 * g3[each])) + (
                (w4 * g4[each] + w5 * g5[each]) + (w6 * g6[each] + w7 * g7[each])
            )
        low += 8
    while low < high:
        weight = terms[low]["weight"]
        genotype = genotypes[place[terms[low]["slot"]]]
        for each in range(samples):
            total[each] += weight * genotype[each]
        low += 1
