"""Alleles as numbers, and the packed key by which scores and panels meet.

An allele of up to 29 bases is its bases, two bits each, with its length above them: the number is the allele. A longer
one is a hash with the highest bit set. Two numbers are reserved: NONE where a file says nothing, and INVALID where it
says something that is no string of A, C, G and T.

A packed key is one number that sorts as the genome does: five bits of chromosome, 28 of position, and 31 that tell
which pair of alleles, whatever their order and, for single bases, whatever their strand. Rows that could be the same
variant have the same key; that they really are is told by comparing their alleles. A row without other allele
has the pair ANY_PAIR, and a row without a place has the key 0.

>>> import polars as pl
>>> place = pl.Series([7, 7]), pl.Series([1000, 1000])
>>> a, g, t, c = (pl.Series([each]) for each in "AGTC")
>>> one, other = packed_keys(*place, allele_codes(pl.Series(["A", "C"])), allele_codes(pl.Series(["G", "T"])))
>>> bool(one == other), int(one >> POSITION_SHIFT) & MAX_POSITION
(True, 1000)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.genetics.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.uint64]

NONE: Final = np.uint64(0)
INVALID: Final = np.uint64(1)
CHROMOSOME_SHIFT: Final = 59
POSITION_SHIFT: Final = 31
MAX_POSITION: Final = (1 << 28) - 1
ANY_PAIR: Final = (1 << POSITION_SHIFT) - 1

_LONGEST_EXACT: Final = 29
_LONG: Final = 1 << 63
_DIGITS: Final = str.maketrans("ACGT", "0123")
_COMPLEMENT: Final = str.maketrans("ACGT", "TGCA")


def allele_code(allele: str | None) -> int:
    """Give the number of one allele, in upper or lower case.

    >>> allele_code("A"), allele_code("t"), allele_code("AC"), allele_code("-"), allele_code(None)
    (4, 7, 17, 1, 0)
    """
    if not allele:
        return int(NONE)
    bases = allele.upper()
    if bases.strip("ACGT"):
        return int(INVALID)
    if len(bases) <= _LONGEST_EXACT:
        return (1 << 2 * len(bases)) + int(bases.translate(_DIGITS), 4)
    return _LONG | (int.from_bytes(hashlib.sha256(bases.encode()).digest()[:8], "little") >> 1)


def allele_codes(alleles: pl.Series) -> Codes:
    """Give the number of each allele of a column.

    Nearly all are one base, and those are told by their byte alone.

    >>> [int(code) for code in allele_codes(pl.Series(["A", "t", "AC", "-", None, ""]))]
    [4, 7, 17, 1, 0, 0]
    """
    longer = (alleles.str.len_bytes() != 1).fill_null(value=True)
    bases = alleles.set(longer, "-") if longer.any() else alleles
    codes: Codes = _BY_BYTE[np.frombuffer(bases.str.join("").item().encode(), np.uint8)]
    if longer.any():
        codes[longer.to_numpy()] = _listed_codes(alleles.filter(longer))
    return codes


def _listed_codes(alleles: pl.Series) -> Codes:
    """Give the numbers by way of a list of the different alleles; most columns hold few."""
    different = alleles.unique()
    numbers = pl.Series([allele_code(each) for each in different], dtype=pl.UInt64)
    return alleles.replace_strict(different, numbers, return_dtype=pl.UInt64).to_numpy()


_BY_BYTE: Final = np.array([allele_code(chr(byte)) for byte in range(128)], np.uint64)


def complement(allele: str) -> str:
    """Give the bases of the other strand, each in its place.

    >>> complement("AC")
    'TG'
    """
    return allele.upper().translate(_COMPLEMENT)


def packed_keys(
    chromosomes: NDArray[np.uint8] | pl.Series,
    positions: NDArray[np.uint32] | pl.Series,
    first: Codes,
    second: Codes,
) -> Codes:
    """Give the key of each row; chromosome 0 or position 0 is no place, and its key is 0."""
    return _keys(np.asarray(chromosomes, np.uint64), np.asarray(positions, np.uint64), first, second)


def place_key(chromosome: int, position: int) -> int:
    """Give the smallest key at a position."""
    return chromosome << CHROMOSOME_SHIFT | position << POSITION_SHIFT


@compiled
def is_base(code: np.uint64) -> bool:
    """Whether an allele is one base."""
    return bool(4 <= code <= 7)


@compiled
def flipped(code: np.uint64) -> np.uint64:
    """Give the base on the other strand; only for a single base."""
    return np.uint64(11) - code


@compiled
def _mixed(low: np.uint64, high: np.uint64) -> np.uint64:
    mixed = low * np.uint64(0x9E3779B97F4A7C15) ^ high
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return mixed >> np.uint64(33)


@compiled
def _pair(first: np.uint64, second: np.uint64) -> np.uint64:
    """Give the number of an unordered pair: below 64 for two bases, strand left out."""
    low, high = min(first, second), max(first, second)
    if is_base(low) and is_base(high):
        other_low, other_high = flipped(high), flipped(low)
        return min(low * np.uint64(8) + high, other_low * np.uint64(8) + other_high)
    return min(max(_mixed(low, high), np.uint64(64)), np.uint64(ANY_PAIR - 1))


@compiled
def _keys(chromosomes: Codes, positions: Codes, first: Codes, second: Codes) -> Codes:
    keys = np.zeros(positions.size, np.uint64)
    for row in range(positions.size):
        if chromosomes[row] == 0 or positions[row] == 0 or positions[row] > MAX_POSITION:
            continue
        pair = np.uint64(ANY_PAIR) if second[row] == NONE else _pair(first[row], second[row])
        keys[row] = chromosomes[row] << np.uint64(CHROMOSOME_SHIFT) | positions[row] << np.uint64(POSITION_SHIFT) | pair
    return keys
