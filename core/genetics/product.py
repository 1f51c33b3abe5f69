"""The arithmetic of scoring: terms times genotypes, in float64, over one block of a panel's variants at a time.

A score with few terms in a block is multiplied alone; those with many are multiplied four at a time, so that a genotype
becomes a number once for four. Which way, and in what order its terms are added, depends on the score and the panel
alone, and what it has no term for adds nothing to it. So a score's sums are the same bits whatever else is in the
batch, and however many workers share the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sluiceway.core.genetics.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluiceway.core.genetics.kernel import Terms

    Held = NDArray[np.int8] | NDArray[np.float32]

SPARSE: Final = 1 / 200
"""Up to this frequency a variant's carriers are listed, and not everybody looked at."""

MANY: Final = 256
"""From so many terms in a block on, a score is multiplied together with others; the bits of a result depend on it."""

# So many people's sums of four scores, and their genotypes in a block, stay in the processor's nearest memories.
_PEOPLE: Final = 128


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


class _Crowd(NamedTuple):
    """The scores with many terms in a block, which are multiplied four at a time.

    Attributes:
        score: Each one's number, and -1 up to a multiple of four.
        line: The lines that are not sparse, and any up to a multiple of four.
        weight: By four scores and four lines each: zero where a score has no term.
    """

    score: NDArray[np.int64]
    line: NDArray[np.int64]
    weight: NDArray[np.float64]


@compiled
def add_block(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    terms: Terms,
    block: int,
    place: NDArray[np.int32],
    held: Held,
    calls: Calls,
    into: Sums,
    counted: int,
) -> None:
    """Add a block's terms: `place` tells in which line of `held` and of `calls` each slot is.

    Missing calls are counted for slots below `counted`.
    """
    low, high = terms.start[block], terms.start[block + 1]
    crowd = _crowd(terms.terms[low:high], place, calls)
    _add_crowd(crowd, held, into.sums)
    dense = np.empty(high - low, np.int64)
    while low < high:
        score = terms.terms[low]["score"]
        end, found = _one_score(terms.terms, low, high, place, calls, dense)
        if found < MANY:
            _add_dense(terms.terms, dense[:found], place, held, into.sums[score])
        for at in range(low, end):
            term = terms.terms[at]
            is_counted = term["slot"] < counted
            line, total, missing = place[term["slot"]], into.sums[score], into.missing[score]
            _add_listed(term["weight"], term["fill"], calls, line, total, missing, is_counted)
        low = end


@compiled
def _one_score(
    terms: NDArray[np.void],
    low: int,
    high: int,
    place: NDArray[np.int32],
    calls: Calls,
    dense: NDArray[np.int64],
) -> tuple[int, int]:
    """Tell where the terms of the score at `low` end, and how many are not sparse: these are put into `dense`."""
    end, found = low, 0
    while end < high and terms[end]["score"] == terms[low]["score"]:
        if not calls.is_sparse[place[terms[end]["slot"]]]:
            dense[found] = end
            found += 1
        end += 1
    return end, found


@compiled
def _crowd(terms: NDArray[np.void], place: NDArray[np.int32], calls: Calls) -> _Crowd:
    """Find the scores with many terms among a block's."""
    lines = np.flatnonzero(~calls.is_sparse)
    line = np.zeros(-(-lines.size // 4) * 4, np.int64)
    line[: lines.size] = lines
    rank = np.zeros(calls.is_sparse.size, np.int64)
    rank[lines] = np.arange(lines.size)
    # There cannot be more of them.
    fours = -(-(terms.size // MANY) // 4)
    score = np.full(4 * fours, -1)
    weight = np.zeros((fours, line.size, 4))
    dense = np.empty(terms.size, np.int64)
    at, many = 0, 0
    while at < terms.size:
        end, found = _one_score(terms, at, terms.size, place, calls, dense)
        if found >= MANY:
            score[many] = terms[at]["score"]
            for each in dense[:found]:
                weight[many // 4, rank[place[terms[each]["slot"]]], many % 4] += terms[each]["weight"]
            many += 1
        at = end
    return _Crowd(score[: -(-many // 4) * 4], line, weight)


@compiled
def _add_crowd(crowd: _Crowd, held: Held, into: NDArray[np.float64]) -> None:
    """Add the terms of all scores with many, for some people after the others: their genotypes are copied together."""
    if not crowd.score.size:
        return
    near = np.zeros((crowd.line.size, _PEOPLE), held.dtype)
    for first in range(0, held.shape[1], _PEOPLE):
        size = min(_PEOPLE, held.shape[1] - first)
        for at in range(crowd.line.size):
            far, copy = held[crowd.line[at], first : first + size], near[at]
            for who in range(size):
                copy[who] = far[who]
        for four in range(0, crowd.score.size, 4):
            _multiply(crowd, four, near, into, first, size)


@compiled
def _multiply(
    crowd: _Crowd,
    four: int,
    near: Held,
    into: NDArray[np.float64],
    first: int,
    size: int,
) -> None:
    """Add four variants' terms at a time to the sums of four scores, of `size` people from `first` on.

    A term that is zero changes no sum, so it counts nothing which lines come together. Indexes without a sign, and sums
    in memory of their own, are what lets the compiler make of it instructions on eight numbers each.
    """
    sums = np.zeros(4 * _PEOPLE)
    for number in range(4):
        if crowd.score[four + number] >= 0:
            sums[number * _PEOPLE : number * _PEOPLE + size] = into[crowd.score[four + number], first : first + size]
    weight = crowd.weight[four // 4]
    for at in range(0, len(near), 4):
        g0, g1, g2, g3 = near[at], near[at + 1], near[at + 2], near[at + 3]
        a0, b0, c0, d0 = weight[at, 0], weight[at, 1], weight[at, 2], weight[at, 3]
        a1, b1, c1, d1 = weight[at + 1, 0], weight[at + 1, 1], weight[at + 1, 2], weight[at + 1, 3]
        a2, b2, c2, d2 = weight[at + 2, 0], weight[at + 2, 1], weight[at + 2, 2], weight[at + 2, 3]
        a3, b3, c3, d3 = weight[at + 3, 0], weight[at + 3, 1], weight[at + 3, 2], weight[at + 3, 3]
        for each in range(size):
            a = np.uint64(each)
            b, c, d = a + np.uint64(_PEOPLE), a + np.uint64(2 * _PEOPLE), a + np.uint64(3 * _PEOPLE)
            n0, n1, n2, n3 = np.float64(g0[a]), np.float64(g1[a]), np.float64(g2[a]), np.float64(g3[a])
            sums[a] = (((sums[a] + a0 * n0) + a1 * n1) + a2 * n2) + a3 * n3
            sums[b] = (((sums[b] + b0 * n0) + b1 * n1) + b2 * n2) + b3 * n3
            sums[c] = (((sums[c] + c0 * n0) + c1 * n1) + c2 * n2) + c3 * n3
            sums[d] = (((sums[d] + d0 * n0) + d1 * n1) + d2 * n2) + d3 * n3
    for number in range(4):
        if crowd.score[four + number] >= 0:
            into[crowd.score[four + number], first : first + size] = sums[number * _PEOPLE : number * _PEOPLE + size]


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
