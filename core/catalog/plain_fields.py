"""Fields of plain text as numbers, in one pass over the bytes and without a string for any of them.

Plain is what nearly every file is: each line has as many fields as there are columns, positions are digits, ids are rs
and digits, weights have at most fifteen digits or so, and the other columns repeat a few words. Whatever is not plain
is left to a reader that takes its time; nothing is guessed here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sluiceway.core.genetics.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

NOTHING: Final = np.uint32(0xFFFFFFFF)
"""A position that is not given."""
MANY: Final = 4096
"""More different words than this are no column of words."""

_SLOTS: Final = 4 * MANY
_TAB: Final = 9
_NEWLINE: Final = 10
_TENS: Final = np.array([10.0**power for power in range(23)])
# Up to here a number of digits, and a power of ten, are exact as floating point, and so their quotient is rounded once.
_EXACT: Final = np.uint64(1 << 53)


class Kind(IntEnum):
    """How the fields of a column are read."""

    WORD = 0
    POSITION = 1
    RSID = 2
    NUMBER = 3


class Fields(NamedTuple):
    """The columns of a text, each by its number among those of its kind.

    Attributes:
        words: Which of the column's different words each row has.
        first: Where each different word is first.
        length: How long each is.
        different: How many there are.
        positions: Each row's position, or NOTHING.
        rsids: The number of each row's rsid; 0 for none.
        numbers: Weights and frequencies; NaN for none.
        is_odd: Of each column of the text, whether it has to be read in another way.
    """

    words: NDArray[np.uint16]
    first: Places
    length: Places
    different: Places
    positions: NDArray[np.uint32]
    rsids: NDArray[np.uint64]
    numbers: Floats
    is_odd: NDArray[np.bool_]


def read_fields(text: bytes, start: int, kinds: Sequence[Kind]) -> Fields | None:
    """Read the lines of a text from a place on; none where some line is not plain."""
    # Every line ends with its end, so no step has to look for the end of the text.
    lines = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    rows = int(np.count_nonzero(lines[start:] == _NEWLINE))
    words, positions, rsids, numbers = (sum(each is kind for each in kinds) for kind in Kind)
    fields = Fields(
        words=np.zeros((words, rows), np.uint16),
        first=np.zeros((words, MANY), np.int64),
        length=np.zeros((words, MANY), np.int64),
        different=np.zeros(words, np.int64),
        positions=np.zeros((positions, rows), np.uint32),
        rsids=np.zeros((rsids, rows), np.uint64),
        numbers=np.zeros((numbers, rows), np.float64),
        is_odd=np.zeros(len(kinds), np.bool_),
    )
    own = np.array([sum(each is kind for each in kinds[:at]) for at, kind in enumerate(kinds)], np.int64)
    slots = np.full((words, _SLOTS), -1, np.int64)
    return fields if _read(lines, start, np.array(kinds, np.int64), own, slots, *fields) else None


@compiled
def _read(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    text: Bytes,
    start: int,
    kinds: Places,
    places: Places,
    slots: NDArray[np.int64],
    words: NDArray[np.uint16],
    first: NDArray[np.int64],
    length: NDArray[np.int64],
    different: Places,
    positions: NDArray[np.uint32],
    rsids: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    is_odd: NDArray[np.bool_],
) -> bool:
    at, last = start, kinds.size - 1
    for row in range(words.shape[1]):
        for column in range(kinds.size):
            own, begin, is_read = places[column], at, True
            if kinds[column] == 0:
                at, word = _word(text, at)
                if at < 0:
                    return False
                which = _which(text, begin, at - begin, word, slots[own], first[own], length[own], different, own)
                is_read = which >= 0
                words[own, row] = max(which, 0)
            elif kinds[column] == 1:
                at, positions[own, row] = _position(text, at)
            elif kinds[column] == 2:
                at, rsids[own, row], is_read = _rsid(text, at)
            else:
                at, numbers[own, row], is_read = _number(text, at)
            if at < 0 or _byte(text, at) != (_NEWLINE if column == last else _TAB):
                return False
            if not is_read:
                is_odd[column] = True
            at += 1
    return bool(at == text.size)


@compiled
def _byte(text: Bytes, at: int) -> np.uint8:
    # An index that cannot be negative is not looked at twice.
    byte: np.uint8 = text[np.uint64(at)]
    return byte


@compiled
def _digit(text: Bytes, at: int) -> np.uint8:
    """Give a digit, or something above 9."""
    return np.uint8(text[np.uint64(at)] - np.uint8(48))


@compiled
def _ends(text: Bytes, at: int) -> bool:
    byte = _byte(text, at)
    return bool(byte in (_TAB, _NEWLINE))


@compiled
def _nothing(text: Bytes, at: int) -> int:
    """Give where a field ends that says nothing: empty, a dot, or NA; -1 for one that says something."""
    byte = _byte(text, at)
    if byte in (_TAB, _NEWLINE):
        return at
    if byte == ord(".") and _ends(text, at + 1):
        return at + 1
    if byte == ord("N") and _byte(text, at + 1) == ord("A") and _ends(text, at + 2):
        return at + 2
    return -1


@compiled
def _position(text: Bytes, at: int) -> tuple[int, np.uint32]:
    number, begin, digit = np.uint32(0), at, _digit(text, at)
    while digit <= 9 and at - begin < 9:
        number = np.uint32(number * np.uint32(10) + np.uint32(digit))
        at += 1
        digit = _digit(text, at)
    # What is no position ends where no field does, and so its line is not plain.
    return (at, number) if at > begin else (_nothing(text, at), NOTHING)


@compiled
def _rsid(text: Bytes, at: int) -> tuple[int, np.uint64, bool]:
    number = np.uint64(0)
    if _byte(text, at) == ord("r") and _byte(text, at + 1) == ord("s") and _byte(text, at + 2) != ord("0"):
        begin = end = at + 2
        digit = _digit(text, end)
        while digit <= 9 and end - begin < 18:
            number = np.uint64(number * np.uint64(10) + np.uint64(digit))
            end += 1
            digit = _digit(text, end)
        if end > begin and _ends(text, end):
            return end, number, True
    end = _nothing(text, at)
    if end >= 0:
        return end, np.uint64(0), True
    return _word(text, at)[0], np.uint64(0), False


@compiled
def _number(text: Bytes, at: int) -> tuple[int, float, bool]:
    """Read a number that is rounded but once: digits below 2**53, times or through a power of ten to the 22nd."""
    begin, digits, power = at, np.uint64(0), 0
    if _byte(text, at) == ord("-"):
        at += 1
    first = at
    digit = _digit(text, at)
    while digit <= 9:
        digits = np.uint64(digits * np.uint64(10) + np.uint64(digit))
        at += 1
        digit = _digit(text, at)
    size = at - first
    is_number = size > 0
    if is_number and _byte(text, at) == ord("."):
        at += 1
        first = at
        digit = _digit(text, at)
        while digit <= 9:
            digits = np.uint64(digits * np.uint64(10) + np.uint64(digit))
            at += 1
            digit = _digit(text, at)
        power = first - at
        is_number = power < 0
        size -= power
    byte = _byte(text, at)
    if byte in (ord("e"), ord("E")):
        at, more, has_power = _power(text, at + 1)
        power += more
        is_number &= has_power
    if is_number and size <= 18 and digits <= _EXACT and -22 <= power <= 22 and _ends(text, at):
        value = float(digits)
        value = value * _TENS[power] if power >= 0 else value / _TENS[-power]
        return at, -value if _byte(text, begin) == ord("-") else value, True
    end = _nothing(text, begin)
    if end >= 0:
        return end, np.nan, True
    return _word(text, begin)[0], 0.0, False


@compiled
def _power(text: Bytes, at: int) -> tuple[int, int, bool]:
    """Read what follows e: where it ends, the power, and whether it is one."""
    sign = -1 if _byte(text, at) == ord("-") else 1
    if sign < 0 or _byte(text, at) == ord("+"):
        at += 1
    begin, power, digit = at, 0, _digit(text, at)
    while digit <= 9 and at - begin < 4:
        power = power * 10 + int(digit)
        at += 1
        digit = _digit(text, at)
    return at, sign * power, at > begin


@compiled
def _word(text: Bytes, at: int) -> tuple[int, np.uint64]:
    """Give where a field ends and its last eight bytes, mixed with those before; -1 where one is not ASCII."""
    word, every, byte = np.uint64(0), np.uint8(0), _byte(text, at)
    while byte not in (_TAB, _NEWLINE):
        word = np.uint64((word << np.uint64(8)) ^ (word >> np.uint64(53)) ^ np.uint64(byte))
        every |= byte
        at += 1
        byte = _byte(text, at)
    return (at, word) if every < 128 else (-1, word)


@compiled
def _which(  # noqa: PLR0913, PLR0917 - compiled code has no keywords
    text: Bytes, begin: int, size: int, word: np.uint64, slots: Places, first: Places, length: Places,
    different: Places, own: int,
) -> int:  # fmt: skip
    """Give the number of a word among those of its column, -1 where there are too many."""
    slot = np.uint64((word * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(50))
    while slots[slot] >= 0:
        known = slots[slot]
        if length[known] == size and _is_same(text, first[known], begin, size):
            return int(known)
        slot = np.uint64((slot + np.uint64(1)) % np.uint64(_SLOTS))
    known = different[own]
    if known == MANY:
        return -1
    slots[slot], first[known], length[known] = known, begin, size
    different[own] += 1
    return int(known)


@compiled
def _is_same(text: Bytes, one: int, other: int, size: int) -> bool:
    for at in range(size):  # noqa: SIM110 - a loop compiles
        if _byte(text, one + at) != _byte(text, other + at):
            return False
    return True
