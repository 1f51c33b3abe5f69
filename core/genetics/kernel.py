"""What scores count, as terms: weights on what is read of a panel's variants, block by block.

Every model of one variant, additive or not, is linear in two numbers: the copies of an allele, and whether there is
any. So a row becomes one or two terms, each a weight on one slot of its block, and a constant. A missing genotype
counts as none in the product; what it should count besides is added afterwards, call by call.
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

_ADDITIVE, _RECESSIVE, _DOSAGE = int(Model.ADDITIVE), int(Model.RECESSIVE), int(Model.DOSAGE)
_FIRST_UNMATCHED: Final = int(Reason.AMBIGUOUS)
_CARRIERS: Final = ANY_ALT * BLOCK


class Terms(NamedTuple):
    """The terms of a range, by block and in a block by score; `start` says where each block begins."""

    terms: NDArray[np.void]
    start: NDArray[np.int64]


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
