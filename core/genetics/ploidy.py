"""How many copies of a stretch of the genome people have, told by a chromosome's name and a position."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from sluiceway.core.genetics.build import MT, PSEUDOAUTOSOMAL, Build, X, Y

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

_PSEUDOAUTOSOMAL_NAMES: Final = ("XY", "25", "PAR", "PAR1", "PAR2")


class Ploidy(IntEnum):
    """Who has how many copies: two each, two for women and one for men, men alone one, everybody one."""

    AUTOSOME = 0
    X = 1
    Y = 2
    MT = 3


def ploidies(
    names: pl.Series, numbers: NDArray[np.uint8], positions: NDArray[np.int64], build: Build | None
) -> NDArray[np.uint8]:
    """Give each place's ploidy; X and Y are autosomes where they pair, by name, or by position in a known build."""
    found = np.full(numbers.size, Ploidy.AUTOSOME, np.uint8)
    for number, ploidy in ((X, Ploidy.X), (Y, Ploidy.Y), (MT, Ploidy.MT)):
        found[numbers == number] = ploidy
    short = names.str.to_uppercase().str.strip_prefix("CHR")
    found[short.is_in(_PSEUDOAUTOSOMAL_NAMES).to_numpy()] = Ploidy.AUTOSOME
    for number, stretches in (PSEUDOAUTOSOMAL.get(build, {}) if build else {}).items():
        for first, last in stretches:
            found[(numbers == number) & (positions >= first) & (positions <= last)] = Ploidy.AUTOSOME
    return found
