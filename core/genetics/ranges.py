"""How a panel is divided for the work: ranges of entries, told by the panel alone.

A range never parts the entries of one place, never mixes ploidies, and begins where a block does; so results do not
depend on the batch or on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluiceway.core.genetics.alleles import POSITION_SHIFT

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST: Final = 1 << 16
_MOST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A stretch of a panel's entries, and of the keys whose rows belong there."""

    number: int
    low: int
    high: int
    first_key: int
    end_key: int
    ploidy: int


def plan_ranges(keys: NDArray[np.uint64], ploidy: NDArray[np.uint8]) -> tuple[Range, ...]:
    """Divide a panel's entries, sorted by key, into ranges that cover every key."""
    if keys.size == 0:
        return (Range(number=0, low=0, high=0, first_key=0, end_key=1 << 64, ploidy=0),)
    length = max(_SMALLEST, -(-keys.size // _MOST))
    changes = np.flatnonzero(ploidy[1:] != ploidy[:-1]) + 1
    bounds = [0]
    for end in [*changes.tolist(), keys.size]:
        while end - bounds[-1] > length:
            bounds.append(_where_a_place_begins(keys, bounds[-1] + length, end))
        if end != bounds[-1]:
            bounds.append(end)
    starts = [0, *(int(keys[low]) >> POSITION_SHIFT << POSITION_SHIFT for low in bounds[1:-1]), 1 << 64]
    return tuple(
        Range(
            number=number,
            low=bounds[number],
            high=bounds[number + 1],
            first_key=starts[number],
            end_key=starts[number + 1],
            ploidy=int(ploidy[bounds[number]]),
        )
        for number in range(len(bounds) - 1)
    )


def _where_a_place_begins(keys: NDArray[np.uint64], wanted: int, end: int) -> int:
    shift = np.uint64(POSITION_SHIFT)
    while wanted < end and keys[wanted] >> shift == keys[wanted - 1] >> shift:
        wanted += 1
    return wanted
