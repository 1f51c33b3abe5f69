"""Rows of scores as the matcher takes them, and what is said of those that it never sees.

A row that has no place, no weight, or alleles that are none, cannot match whatever the panel has. It gets its reason
here and stays in every denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluiceway.core.genetics.alleles import INVALID, NONE
from sluiceway.core.genetics.match import ROW, Reason
from sluiceway.core.genetics.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.ranges import Range

COLUMNS: Final = ("row_nr", "key", "effect", "other", "weight", "model")
"""What every score's table has; OPTIONAL may be there as well."""
OPTIONAL: Final = ("weight_0", "weight_1", "weight_2", "frequency", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One score's rows: those to be matched, by key, and those that are not, with their reasons."""

    rows: NDArray[np.void]
    left: NDArray[np.void]
    reason: NDArray[np.uint8]


def pack(table: pl.DataFrame, number: int, policy: Policy) -> Packed:
    """Turn a score's table, sorted by key, into rows of the batch's score `number`."""
    rows = np.zeros(table.height, ROW)
    rows["score"] = number
    rows["row"] = table["row_nr"].to_numpy()
    for name in ("key", "effect", "other", "model"):
        rows[name] = table[name].to_numpy()
    rows["frequency"] = table["frequency"].fill_null(np.nan).to_numpy() if "frequency" in table.columns else np.nan
    weight = _weights(table, policy)
    _fill_counts(rows, weight, table)
    reason = _reasons(rows, table, policy)
    is_left = reason != 0
    return Packed(rows=rows[~is_left], left=rows[is_left], reason=reason[is_left])


def _weights(table: pl.DataFrame, policy: Policy) -> NDArray[np.float64]:
    weight = table["weight"].fill_null(np.nan).to_numpy()
    if "ratio" in table.columns and policy.odds_ratios == "log":
        ratio = table["ratio"].fill_null(np.nan).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(ratio)
        weight = np.where(np.isnan(weight) & np.isfinite(logarithm), logarithm, weight)
    return weight


def _fill_counts(rows: NDArray[np.void], weight: NDArray[np.float64], table: pl.DataFrame) -> None:
    """Write what none, one and two copies of the effect allele count, by each row's model."""
    model = rows["model"]
    rows["one"] = np.where(model == Model.RECESSIVE, 0.0, weight)
    rows["two"] = np.where((model == Model.RECESSIVE) | (model == Model.DOMINANT), weight, 2 * weight)
    by_dosage = model == Model.DOSAGE
    if by_dosage.any():
        for name, column in (("none", "weight_0"), ("one", "weight_1"), ("two", "weight_2")):
            rows[name][by_dosage] = table[column].fill_null(np.nan).to_numpy()[by_dosage]


def _reasons(rows: NDArray[np.void], table: pl.DataFrame, policy: Policy) -> NDArray[np.uint8]:
    """Give the reason of each row that cannot be matched, and 0 for the others; what is named first wins."""
    effect, other = rows["effect"], rows["other"]
    has_no_weight = np.isnan(rows["none"]) | np.isnan(rows["one"]) | np.isnan(rows["two"])
    has_ratio = table["ratio"].is_not_null().to_numpy() if "ratio" in table.columns else np.zeros(rows.size, bool)
    lacks_other = other == NONE
    refuses_one = policy.no_other_allele == "drop" or (policy.no_other_allele == "every" and not lacks_other.all())
    found = np.zeros(rows.size, np.uint8)
    for reason, is_so in (
        (Reason.NOT_SCORED_MODEL, rows["model"] >= Model.INTERACTION),
        (Reason.RATIO_ONLY, has_no_weight & has_ratio),
        (Reason.NO_WEIGHT, has_no_weight),
        (Reason.NO_PLACE, rows["key"] == 0),
        (Reason.BAD_ALLELE, (effect == INVALID) | (effect == NONE) | (other == INVALID)),
        (Reason.SAME_ALLELES, effect == other),
        (Reason.NO_OTHER_ALLELE, lacks_other & refuses_one),
    ):
        found[(found == 0) & is_so] = reason
    return found


class Stage:
    """The rows of a batch on disk, by range: written score by score, read range by range, so memory stays flat."""

    def __init__(self, folder: Path, ranges: Sequence[Range]) -> None:
        self._folder = folder
        self._bounds = np.array([each.first_key for each in ranges[1:]], np.uint64)
        self._files = [(folder / f"{each.number}.rows").open("ab") for each in ranges]

    def add(self, rows: NDArray[np.void]) -> None:
        """Add the rows of the next score, sorted by key."""
        ends = [*np.searchsorted(rows["key"], self._bounds).tolist(), rows.size]
        start = 0
        for file, end in zip(self._files, ends, strict=True):
            if end > start:
                file.write(rows[start:end].tobytes())
            start = end

    def close(self) -> None:
        """Finish writing."""
        for file in self._files:
            file.close()

    def rows(self, number: int) -> NDArray[np.void]:
        """Read all rows of one range."""
        return np.fromfile(self._folder / f"{number}.rows", ROW)
