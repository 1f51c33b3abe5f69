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
from sluiceway.core.genetics.match import Reason
from sluiceway.core.genetics.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluiceway.core.genetics.match import Entries, Matches
    from sluiceway.core.genetics.rows import Rows

    Held = NDArray[np.int8] | NDArray[np.float32]

BLOCK: Final = 1024
"""Entries in a block; the bits of a result depend on it."""

ALT, REF, ANY_ALT, ANY_REF = range(4)
"""What a slot holds of its entry: copies of ALT or REF, and whether there is any."""

MEAN, ZERO, SKIP = range(3)
"""What a missing genotype counts."""

PLAIN, CENTRED, STANDARDISED = range(3)
"""Whether copies count as they are, less what is expected of them, or divided by its standard deviation as well."""

TERM: Final = np.dtype([("weight", "f8"), ("fill", "f8"), ("score", "u4"), ("slot", "u4")])
"""A weight on a slot (kind times BLOCK, plus the entry's place in its block), and what each missing call adds."""

SPARSE: Final = 1 / 200
"""Up to this frequency a variant's carriers are listed, and not everybody looked at."""

_ADDITIVE, _RECESSIVE, _DOSAGE = int(Model.ADDITIVE), int(Model.RECESSIVE), int(Model.DOSAGE)
_FIRST_UNMATCHED: Final = int(Reason.AMBIGUOUS)
_CARRIERS: Final = ANY_ALT * BLOCK


class Terms(NamedTuple):
    """The terms of a range, by block and in a block by score; `start` says where each block begins."""

    terms: NDArray[np.void]
    start: NDArray[np.int64]


class Calls(NamedTuple):
    """What stands out in each slot: missing calls, and in sparse slots all copies; `start` says where a slot's begin.

    Whether a slot is sparse depends on the panel alone, since the order of a sum does.
    """

    is_sparse: NDArray[np.bool_]
    start: NDArray[np.int64]
    who: NDArray[np.int32]
    copies: Held


class Sums(NamedTuple):
    """What is added up for a batch: per score and sample, the sum and the missing calls."""

    sums: NDArray[np.float64]
    missing: NDArray[np.int32]


def weigh(  # noqa: PLR0913 - each of the last three is one choice
    rows: Rows,
    found: Matches,
    entries: Entries,
    constants: NDArray[np.float64],
    *,
    missing: int,
    copies: int,
    haploid: bool,
) -> Terms:
    """Turn matched rows into terms, and add what a score counts without any ALT allele to `constants`.

    Args:
        rows: Rows, of which those that are not matched are passed over.
        found: What was found for them.
        entries: The range's entries; its first one begins a block.
        constants: One number per score of the batch.
        missing: MEAN, ZERO or SKIP.
        copies: PLAIN, CENTRED or STANDARDISED; the latter two of additive rows only.
        haploid: Count one copy, which .pgen writes as two.
    """
    blocks = -(-entries.key.size // BLOCK)
    start = np.zeros(blocks + 1, np.int64)
    _count_terms(rows, found, haploid, start)
    terms = np.empty(start[-1], TERM)
    _write_terms(rows, found, entries, constants, missing, copies, haploid, start[:-1].copy(), terms)
    return Terms(terms=terms, start=start)


@compiled
def _counts(rows: Rows, row: int) -> tuple[float, float, float]:
    """Give what none, one and two copies of a row's effect allele count."""
    weight, model = rows.weight[row], rows.model[row]
    if model == _DOSAGE:
        return rows.counts[row, 0], rows.counts[row, 1], rows.counts[row, 2]
    return 0.0, 0.0 if model == _RECESSIVE else weight, 2 * weight if model == _ADDITIVE else weight


@compiled
def _is_straight(none: float, one: float, two: float) -> bool:
    """Whether the second copy counts what the first does."""
    return bool(two - one == one - none)


@compiled
def _is_matched(found: Matches, row: int) -> bool:
    return bool(found.reason[row] < _FIRST_UNMATCHED)


@compiled
def _count_terms(rows: Rows, found: Matches, haploid: bool, start: NDArray[np.int64]) -> None:  # noqa: FBT001
    for row in range(rows.key.size):
        if _is_matched(found, row):
            none, one, two = _counts(rows, row)
            start[found.entry[row] // BLOCK + 1] += 1 if haploid or _is_straight(none, one, two) else 2
    for block in range(1, start.size):
        start[block] += start[block - 1]


@compiled
def _write_terms(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    rows: Rows,
    found: Matches,
    entries: Entries,
    constants: NDArray[np.float64],
    missing: int,
    copies: int,
    haploid: bool,  # noqa: FBT001
    at: NDArray[np.int64],
    terms: NDArray[np.void],
) -> None:
    for row in range(rows.key.size):
        if not _is_matched(found, row):
            continue
        entry = found.entry[row]
        block = entry // BLOCK
        score = rows.score[row]
        none, one, two = _counts(rows, row)
        is_bent = not (haploid or _is_straight(none, one, two))
        is_ref = found.type[row] % 2 == 0
        model = rows.model[row]
        share = _share_of_effect(entries, entry, is_ref)
        if copies != PLAIN:
            none, one, two = _scaled(none, one, two, share, copies, haploid)
        desired = _of_missing(none, one, two, model, share, missing, haploid)
        slot = entry % BLOCK
        if entries.multiallelic[entry]:
            slot += REF * BLOCK if is_ref else 0
        elif is_ref:
            none, one, two = (one, none, two) if haploid else (two, one, none)
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
        if is_bent:
            terms[at[block]]["weight"] = bend
            terms[at[block]]["fill"] = 0.0
            terms[at[block]]["score"] = score
            terms[at[block]]["slot"] = slot + _CARRIERS
            at[block] += 1


@compiled
def _scaled(
    none: float,
    one: float,
    two: float,
    share: float,
    copies: int,
    haploid: bool,  # noqa: FBT001
) -> tuple[float, float, float]:
    """Give what copies count less what is expected of them; nothing where everybody is expected to have the same."""
    ploidy = 1 if haploid else 2
    mean = ploidy * share * one
    scale = 1.0
    if copies == STANDARDISED:
        variance = ploidy * share * (1.0 - share)
        scale = 1.0 / np.sqrt(variance) if variance > 0.0 else 0.0
    return (none - mean) * scale, (one - mean) * scale, (two - mean) * scale


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
def _of_missing(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    none: float,
    one: float,
    two: float,
    model: int,
    share: float,
    missing: int,
    haploid: bool,  # noqa: FBT001
) -> float:
    """Give what a missing genotype counts, by the effect allele's frequency."""
    if missing == SKIP:
        return 0.0
    if missing == ZERO:
        return none
    if haploid:
        return (1 - share) * none + share * one
    if model in (_ADDITIVE, _DOSAGE):
        rare, common = share, 1 - share
        return common * common * none + 2 * rare * common * one + rare * rare * two
    # Dominant and recessive rows expect the allele's frequency once, as plink2 does.
    return share * two


@compiled
def mark_slots(terms: Terms, block: int, used: NDArray[np.bool_]) -> None:
    """Mark the slots that a block's terms use."""
    for at in range(terms.start[block], terms.start[block + 1]):
        used[terms.terms[at]["slot"]] = True


@compiled
def list_calls(held: Held, words: NDArray[np.uint64], sign: np.uint64, calls: Calls) -> int:
    """List who misses a call in each slot and, in sparse ones, who has a copy; in the others, missing becomes none.

    `words` is the memory of `held`, eight bytes at a time, and `sign` the bits that are set in what is below zero: most
    of it says nothing, and is passed over. Gives how long the list is; where `calls` has no room for so many, nothing
    is changed, and the list is of no use.
    """
    slots, people = held.shape
    flat = held.ravel()
    at = 0
    for slot in range(slots):
        calls.start[slot] = at
        at = _list_slot(flat, words, sign, calls, calls.is_sparse[slot], slot * people, (slot + 1) * people, at)
    calls.start[slots] = at
    if at <= calls.who.size:
        for slot in range(slots):
            for each in range(calls.start[slot], calls.start[slot + 1]):
                if calls.copies[each] < 0:
                    held[slot, calls.who[each]] = 0
    return at


@compiled
def _list_slot(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    flat: Held,
    words: NDArray[np.uint64],
    sign: np.uint64,
    calls: Calls,
    is_sparse: bool,  # noqa: FBT001
    first: int,
    end: int,
    at: int,
) -> int:
    per_word = 8 // flat.itemsize
    last = (end - 1) // per_word
    asked = ~np.uint64(0) if is_sparse else sign
    for low in range(first // per_word, last + 1, 8):
        high = min(low + 8, last + 1)
        if high - low == 8:
            seen = (words[low] | words[low + 1] | words[low + 2] | words[low + 3]) | (
                words[low + 4] | words[low + 5] | words[low + 6] | words[low + 7]
            )
            if not seen & asked:
                continue
        for word in range(low, high):
            if not words[word] & asked:
                continue
            for each in range(max(word * per_word, first), min((word + 1) * per_word, end)):
                copies = flat[each]
                if copies < 0 or (is_sparse and copies != 0):
                    if at < calls.who.size:
                        calls.who[at] = each - first
                        calls.copies[at] = copies
                    at += 1
    return at


@compiled
def add_block(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    terms: Terms,
    block: int,
    place: NDArray[np.int32],
    held: Held,
    calls: Calls,
    into: Sums,
    counts_missing: bool,  # noqa: FBT001
) -> None:
    """Add a block's terms: `place` tells in which line of `held` and of `calls` each slot is."""
    high = terms.start[block + 1]
    low = terms.start[block]
    dense = np.empty(high - low, np.int64)
    while low < high:
        score = terms.terms[low]["score"]
        end, found = low, 0
        while end < high and terms.terms[end]["score"] == score:
            if not calls.is_sparse[place[terms.terms[end]["slot"]]]:
                dense[found] = end
                found += 1
            end += 1
        _add_dense(terms.terms, dense[:found], place, held, into.sums[score])
        for at in range(low, end):
            line = place[terms.terms[at]["slot"]]
            is_first = counts_missing and terms.terms[at]["slot"] < _CARRIERS
            weight, fill = terms.terms[at]["weight"], terms.terms[at]["fill"]
            _add_listed(weight, fill, calls, line, into.sums[score], into.missing[score], is_first)
        low = end


@compiled
def _add_listed(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    weight: float,
    fill: float,
    calls: Calls,
    line: int,
    total: NDArray[np.float64],
    missing: NDArray[np.int32],
    counts_missing: bool,  # noqa: FBT001
) -> None:
    """Add a term for those who are listed: what a missing call counts, or the weight of each copy."""
    for each in range(calls.start[line], calls.start[line + 1]):
        who = calls.who[each]
        if calls.copies[each] >= 0:
            total[who] += weight * calls.copies[each]
            continue
        total[who] += fill
        if counts_missing:
            missing[who] += 1


@compiled
def _add_dense(
    terms: NDArray[np.void],
    which: NDArray[np.int64],
    place: NDArray[np.int32],
    held: Held,
    total: NDArray[np.float64],
) -> None:
    """Add terms to one score's sums: eight variants at a time, so that a sum is read and written once for eight."""
    low = 0
    while low + 8 <= which.size:
        t0, t1, t2, t3 = terms[which[low]], terms[which[low + 1]], terms[which[low + 2]], terms[which[low + 3]]
        t4, t5, t6, t7 = terms[which[low + 4]], terms[which[low + 5]], terms[which[low + 6]], terms[which[low + 7]]
        w0, w1, w2, w3 = t0["weight"], t1["weight"], t2["weight"], t3["weight"]
        w4, w5, w6, w7 = t4["weight"], t5["weight"], t6["weight"], t7["weight"]
        g0, g1, g2, g3 = (
            held[place[t0["slot"]]],
            held[place[t1["slot"]]],
            held[place[t2["slot"]]],
            held[place[t3["slot"]]],
        )
        g4, g5, g6, g7 = (
            held[place[t4["slot"]]],
            held[place[t5["slot"]]],
            held[place[t6["slot"]]],
            held[place[t7["slot"]]],
        )
        for each in range(total.size):
            total[each] += ((w0 * g0[each] + w1 * g1[each]) + (w2 * g2[each] + w3 * g3[each])) + (
                (w4 * g4[each] + w5 * g5[each]) + (w6 * g6[each] + w7 * g7[each])
            )
        low += 8
    while low < which.size:
        term = terms[which[low]]
        weight, copies = term["weight"], held[place[term["slot"]]]
        for each in range(total.size):
            total[each] += weight * copies[each]
        low += 1
