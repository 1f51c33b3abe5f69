"""What the ranges add up to: a score's sums, alleles and missing calls for everybody, by either coding of men's X."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import polars as pl

from sluiceway.core.genetics.match import Reason
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.score import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from sluiceway.core.genetics.score import Batch, Partial

_MALE: Final = 1
Number = TypeVar("Number", np.float64, np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult:
    """One score: a line per person, and what became of its rows.

    Attributes:
        people: sum_1 and sum_2, alleles_1 and alleles_2 (by the coding of men's X), missing (calls), missing_alleles_1
            and missing_alleles_2.
        reasons: How many rows have each reason, by its lower-case name.
        mass: The sum of what one more effect allele can change, by the same names.
        missing_mass: Of that of matched rows, what a person on average has no call for; not on Y, nor of complex rows.
        used: How many variants counted, by ploidy.
    """

    people: pl.DataFrame
    reasons: dict[str, int]
    mass: dict[str, float]
    missing_mass: float
    used: dict[str, int]

    @property
    def is_sex_linked(self) -> bool:
        """Whether men and women are counted differently."""
        return self.used["x"] + self.used["y"] > 0


class Totals:
    """Adds up the partial results of one batch, in the order in which they are given."""

    def __init__(self, batch: Batch, sexes: NDArray[np.uint8]) -> None:
        self._batch = batch
        self._is_male = sexes == _MALE
        self._copies = {coding: _copies(self._is_male, coding) for coding in (1, 2)}
        self._diploid: dict[Ploidy, NDArray[np.float64]] = {}
        self._haploid: dict[Ploidy, NDArray[np.float64]] = {}
        self._missing: dict[Ploidy, NDArray[np.int32]] = {}
        self._used = np.zeros((len(Ploidy), batch.scores), np.int64)
        self.reasons = np.zeros((batch.scores, REASONS), np.int64)
        self.mass = np.zeros((batch.scores, REASONS))
        self._missing_mass = np.zeros(batch.scores)

    def add(self, part: Partial) -> None:
        """Add what one range gives."""
        for sums, its in ((self._diploid, part.diploid), (self._haploid, part.haploid)):
            if its is not None:
                _add(sums, part.ploidy, its)
        _add(self._missing, part.ploidy, part.missing)
        self._used[part.ploidy] += part.used
        self.reasons += part.reasons
        self.mass += part.mass
        self._missing_mass += part.missing_mass

    def state(self) -> dict[str, NDArray[Any]]:
        """Give everything that was added up, by name; each array has a row per score."""
        sums = {
            f"{kind} {ploidy.name}": array
            for kind, by_ploidy in (("diploid", self._diploid), ("haploid", self._haploid), ("missing", self._missing))
            for ploidy, array in by_ploidy.items()
        }
        counts = {"used": self._used.T, "reasons": self.reasons, "mass": self.mass}
        return {**sums, **counts, "missing mass": self._missing_mass}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what `state` gave in place of everything that was added up so far; the arrays become its own."""
        for kind, by_ploidy in (("diploid", self._diploid), ("haploid", self._haploid), ("missing", self._missing)):
            by_ploidy.clear()
            found = {ploidy: state[name] for ploidy in Ploidy if (name := f"{kind} {ploidy.name}") in state}
            by_ploidy.update(found)
        self._used = np.ascontiguousarray(state["used"].T)
        self.reasons, self.mass, self._missing_mass = state["reasons"], state["mass"], state["missing mass"]

    def result(self, score: int) -> ScoreResult:
        """Give one score of the batch."""
        columns: dict[str, Any] = {}
        for coding in (1, 2):
            copies = self._copies[coding]
            columns[f"sum_{coding}"] = self._sum(score, coding)
            columns[f"alleles_{coding}"] = _counts(copies[each] * self._used[each, score] for each in Ploidy)
            columns[f"missing_alleles_{coding}"] = _counts(copies[each] * self._missed(each, score) for each in Ploidy)
        columns["missing"] = _counts((self._copies[2][each] > 0) * self._missed(each, score) for each in Ploidy)
        return ScoreResult(
            people=pl.DataFrame(columns),
            reasons={each.name.lower(): int(self.reasons[score, each]) for each in Reason},
            mass={each.name.lower(): float(self.mass[score, each]) for each in Reason},
            missing_mass=float(self._missing_mass[score]),
            used={each.name.lower(): int(self._used[each, score]) for each in Ploidy},
        )

    def _missed(self, ploidy: Ploidy, score: int) -> NDArray[np.int32] | int:
        return self._missing[ploidy][score] if ploidy in self._missing else 0

    def _sum(self, score: int, coding: int) -> NDArray[np.float64]:
        total = np.zeros(self._batch.samples)
        for ploidy in Ploidy:
            if ploidy is Ploidy.Y:
                if ploidy in self._haploid:
                    total += np.where(self._is_male, self._haploid[ploidy][score], 0.0)
            elif ploidy is Ploidy.X and ploidy in self._diploid and coding == 1:
                total += np.where(self._is_male, self._haploid[ploidy][score], self._diploid[ploidy][score])
            elif ploidy in self._diploid:
                total += self._diploid[ploidy][score]
            elif ploidy in self._haploid:
                total += self._haploid[ploidy][score]
        return total


def _copies(is_male: NDArray[np.bool_], coding: int) -> dict[Ploidy, NDArray[np.int64]]:
    """Tell how many alleles each person has at a variant."""
    everybody = np.ones(is_male.size, np.int64)
    return {
        Ploidy.AUTOSOME: 2 * everybody,
        Ploidy.X: np.where(is_male & (coding == 1), 1, 2),
        Ploidy.Y: is_male.astype(np.int64),
        Ploidy.MT: everybody,
    }


def _counts(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.uint32]:
    return np.asarray(functools.reduce(np.add, parts), np.uint32)


def _add(sums: dict[Ploidy, NDArray[Number]], ploidy: Ploidy, more: NDArray[Number]) -> None:
    if ploidy in sums:
        sums[ploidy] += more
    else:
        # What came from another process may lie in memory that cannot be written.
        sums[ploidy] = more if more.flags.writeable else more.copy()
