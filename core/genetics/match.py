"""One matcher for panels and for personal genomes: every row of every score gets exactly one reason.

Rows arrive sorted by score and packed key, a panel's entries by packed key; both meet in one merge. What a row's
alleles may be is told by comparing them, never by the key alone. docs/scoring.md states the rules.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sluiceway.core.genetics.alleles import ANY_PAIR, NONE, POSITION_SHIFT, flipped, is_base
from sluiceway.core.genetics.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.rows import Rows


class Reason(IntEnum):
    """What became of a row; below 10 it is matched, below 20 excluded by the policy, else unmatched."""

    EXACT = 1
    SWAPPED = 2
    FLIPPED = 3
    FLIPPED_SWAPPED = 4
    ONE_ALLELE = 5
    COMPLEX = 6
    AMBIGUOUS = 10
    MULTIALLELIC = 11
    DUPLICATE = 12
    NO_OTHER_ALLELE = 13
    RATIO_ONLY = 14
    SEVERAL_PLACES = 15
    NO_PLACE = 20
    BAD_ALLELE = 21
    SAME_ALLELES = 22
    NO_WEIGHT = 23
    NOT_SCORED_MODEL = 24
    NOT_IN_PANEL = 25
    OTHER_ALLELES = 26
    NO_CALLS = 27
    NO_ID = 28

    @property
    def status(self) -> str:
        """Whether a row with this reason is matched, excluded or unmatched."""
        return "matched" if self < Reason.AMBIGUOUS else "excluded" if self < Reason.NO_PLACE else "unmatched"


MATCH_TYPES: Final = (
    "refalt", "altref", "refalt_flip", "altref_flip", "no_oa_ref", "no_oa_alt", "no_oa_ref_flip", "no_oa_alt_flip",
)  # fmt: skip
"""How the effect allele was found, the best first; the words of the catalogue's own match log."""
NO_TYPE: Final = 255

# Compiled code takes plain numbers.
_EXACT, _SWAPPED, _FLIPPED, _FLIPPED_SWAPPED, _ONE_ALLELE = (int(each) for each in list(Reason)[:5])
_AMBIGUOUS, _MULTIALLELIC, _DUPLICATE = int(Reason.AMBIGUOUS), int(Reason.MULTIALLELIC), int(Reason.DUPLICATE)
_NOT_IN_PANEL, _OTHER_ALLELES, _NO_CALLS = int(Reason.NOT_IN_PANEL), int(Reason.OTHER_ALLELES), int(Reason.NO_CALLS)
_PLACE: Final = np.uint64(POSITION_SHIFT)
_PAIR: Final = np.uint64(ANY_PAIR)


class Entries(NamedTuple):
    """A stretch of a panel's variant table: one entry per variant and ALT allele, sorted by key."""

    key: NDArray[np.uint64]
    ref: NDArray[np.uint64]
    alt: NDArray[np.uint64]
    variant: NDArray[np.uint32]
    allele: NDArray[np.uint8]
    multiallelic: NDArray[np.bool_]
    frequency: NDArray[np.float64]
    missing: NDArray[np.uint32]


class Matches(NamedTuple):
    """For each row its reason, how its effect allele was found, and its entry, as far as there is one."""

    reason: NDArray[np.uint8]
    type: NDArray[np.uint8]
    entry: NDArray[np.int64]

    @property
    def is_matched(self) -> NDArray[np.bool_]:
        """Which rows are scored."""
        return self.reason < _AMBIGUOUS


class _Rules(NamedTuple):
    """A policy as compiled code reads it."""

    by_id: bool
    flip: bool
    drop_ambiguous: bool
    ask_frequency: bool
    margin: float
    drop_multiallelic: bool
    needs_frequency: bool


def match(rows: Rows, entries: Entries, policy: Policy) -> Matches:
    """Match rows, sorted by score and key, to all of a panel's entries at their places.

    By id, what a key holds below its place is which of the entries there has the row's id, from 0 on.
    """
    found = Matches(
        reason=np.zeros(rows.n, np.uint8),
        type=np.full(rows.n, NO_TYPE, np.uint8),
        entry=np.full(rows.n, -1, np.int64),
    )
    rules = _Rules(
        by_id=policy.match == "id",
        flip=policy.flip,
        drop_ambiguous=policy.ambiguous == "drop",
        ask_frequency=policy.ambiguous == "frequency",
        margin=policy.frequency_margin,
        drop_multiallelic=policy.multiallelic == "drop",
        needs_frequency=policy.missing == "mean" or policy.copies != "plain",
    )
    _find(rows, entries, rules, found)
    _judge(rows, entries, rules, found)
    if policy.duplicates != "sum":
        _part_duplicates(rows, entries, found, policy.duplicates == "first")
    return found


def every_entry(rows: Rows, entries: Entries, found: Matches) -> tuple[NDArray[np.int64], Matches]:
    """Give every further entry that has the allele of a row matched by one: the rows, and the matches."""
    count = _more(rows, entries, found, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))
    row, entry, kind = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint8)
    _more(rows, entries, found, row, entry, kind)
    return row, Matches(reason=np.full(count, _ONE_ALLELE, np.uint8), type=kind, entry=entry)


@compiled
def _find(rows: Rows, entries: Entries, rules: _Rules, found: Matches) -> None:
    """Find each row's best entry: of the best type, and among those the first in the file."""
    start = 0
    for row in range(rows.key.size):
        place = rows.key[row] >> _PLACE
        if row == 0 or rows.key[row] < rows.key[row - 1]:
            start = 0
        start = _advance(entries.key, start, place << _PLACE)
        at = start
        kind = NO_TYPE
        while at < entries.key.size and entries.key[at] >> _PLACE == place:
            fits = NO_TYPE
            if not rules.by_id or rows.key[row] & _PAIR == at - start:
                effect, other = rows.effect[row], rows.other[row]
                fits = type_of(effect, other, entries.ref[at], entries.alt[at], rules.flip)
            is_earlier = fits == kind and kind != NO_TYPE and entries.variant[at] < entries.variant[found.entry[row]]
            if fits < kind or is_earlier:
                kind = fits
                found.entry[row] = at
            at += 1
        found.type[row] = kind
        found.reason[row] = _reason_of(kind, at > start)


@compiled
def _reason_of(kind: int, is_place_known: bool) -> int:  # noqa: FBT001 - compiled code has no keywords
    if kind == NO_TYPE:
        return _OTHER_ALLELES if is_place_known else _NOT_IN_PANEL
    if kind >= 4:
        return _ONE_ALLELE
    if kind >= 2:
        return _FLIPPED_SWAPPED if kind == 2 else _FLIPPED
    return _SWAPPED if kind == 0 else _EXACT


@compiled
def _advance(keys: NDArray[np.uint64], start: int, wanted: np.uint64) -> int:
    """Give the first place from `start` on whose key is not below `wanted`: in steps that double, then by halves."""
    step = 1
    low = start
    high = start
    while high < keys.size and keys[high] < wanted:
        low = high + 1
        high += step
        step *= 2
    high = min(high, keys.size)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def type_of(
    effect: np.uint64,
    other: np.uint64,
    ref: np.uint64,
    alt: np.uint64,
    may_flip: bool,  # noqa: FBT001
) -> int:
    """Give the best type by which these alleles fit; the order is that of MATCH_TYPES."""
    kind = _as_written(effect, other, ref, alt)
    if kind == NO_TYPE and may_flip and is_base(effect):
        if other == NONE:
            kind = _as_written(flipped(effect), other, ref, alt)
        elif is_base(other):
            kind = _as_written(flipped(effect), flipped(other), ref, alt)
        if kind != NO_TYPE:
            kind += 2
    return kind


@compiled
def _as_written(effect: np.uint64, other: np.uint64, ref: np.uint64, alt: np.uint64) -> int:
    if other == NONE:
        if effect == ref:
            return 4
        return 5 if effect == alt else NO_TYPE
    if effect == ref and other == alt:
        return 0
    return 1 if effect == alt and other == ref else NO_TYPE


@compiled
def _judge(rows: Rows, entries: Entries, rules: _Rules, found: Matches) -> None:
    """Leave out what the policy leaves out, and turn a palindromic row whose frequency says so."""
    for row in range(rows.key.size):
        at = found.entry[row]
        if at < 0:
            continue
        is_ambiguous = is_base(entries.ref[at]) and flipped(entries.ref[at]) == entries.alt[at]
        if is_ambiguous and rules.drop_ambiguous:
            found.reason[row] = _AMBIGUOUS
        elif rules.drop_multiallelic and entries.multiallelic[at]:
            found.reason[row] = _MULTIALLELIC
        elif rules.needs_frequency and np.isnan(entries.frequency[at]):
            found.reason[row] = _NO_CALLS
        elif is_ambiguous and rules.ask_frequency:
            _ask_frequency(row, _told(rows, row), entries.frequency[at], rules.margin, found)


@compiled
def _told(rows: Rows, row: int) -> float:
    return float(rows.frequency[row]) if rows.frequency.size else np.nan


@compiled
def _ask_frequency(row: int, told: float, of_alt: float, margin: float, found: Matches) -> None:
    in_panel = 0.5 - of_alt if found.type[row] % 2 == 0 else of_alt - 0.5
    in_file = told - 0.5
    if not (abs(in_panel) >= margin and abs(in_file) >= margin):
        found.reason[row] = _AMBIGUOUS
    elif (in_panel > 0) != (in_file > 0):
        # The other strand of A/T is T/A: the effect allele is the other one of the two.
        found.type[row] ^= 3
        if found.reason[row] != _ONE_ALLELE:
            found.reason[row] = _FLIPPED_SWAPPED if found.type[row] % 2 == 0 else _FLIPPED


@compiled
def _is_found(reason: int) -> bool:
    return bool(reason < _AMBIGUOUS or reason == _DUPLICATE)


@compiled
def _part_duplicates(rows: Rows, entries: Entries, found: Matches, keep_first: bool) -> None:  # noqa: FBT001
    """Leave out rows of one score that met at one variant: all of them, or all but the one that stands first."""
    low = 0
    while low < rows.key.size:
        high = low + 1
        place = rows.key[low] >> _PLACE
        while high < rows.key.size and rows.score[high] == rows.score[low] and rows.key[high] >> _PLACE == place:
            high += 1
        for one in range(low, high):
            for other in range(one + 1, high):
                if not (_is_found(found.reason[one]) and _is_found(found.reason[other])):
                    continue
                if entries.variant[found.entry[one]] == entries.variant[found.entry[other]]:
                    is_one_later = rows.row[one] > rows.row[other]
                    if is_one_later or not keep_first:
                        found.reason[one] = _DUPLICATE
                    if not (is_one_later and keep_first):
                        found.reason[other] = _DUPLICATE
        low = high


@compiled
def _more(
    rows: Rows,
    entries: Entries,
    found: Matches,
    row: NDArray[np.int64],
    entry: NDArray[np.int64],
    kind: NDArray[np.uint8],
) -> int:
    """Count the further entries of rows matched by one allele, and write them where there is room."""
    count = 0
    for each in range(rows.key.size):
        if found.reason[each] != _ONE_ALLELE:
            continue
        place = rows.key[each] >> _PLACE
        at = found.entry[each]
        while at > 0 and entries.key[at - 1] >> _PLACE == place:
            at -= 1
        while at < entries.key.size and entries.key[at] >> _PLACE == place:
            fits = _as_written(rows.effect[each], NONE, entries.ref[at], entries.alt[at])
            if fits != NO_TYPE and at != found.entry[each]:
                if count < row.size:
                    row[count], entry[count], kind[count] = each, at, fits
                count += 1
            at += 1
    return count
