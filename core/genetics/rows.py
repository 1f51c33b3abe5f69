"""Rows of scores as the matcher takes them, and what is said of those that it never sees.

A row that has no place, no weight, or alleles that are none, cannot match whatever the panel has. It gets its reason
here and stays in every denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from sluiceway.core.genetics.alleles import INVALID, NONE
from sluiceway.core.genetics.match import Reason
from sluiceway.core.genetics.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.ranges import Range

    Column = NDArray[Any]

COLUMNS: Final = ("row_nr", "key", "effect", "other", "weight", "model")
"""What every score's table has; OPTIONAL may be there as well."""
OPTIONAL: Final = ("weight_0", "weight_1", "weight_2", "frequency", "ratio")


class Rows(NamedTuple):
    """Rows of scores, sorted by score and key, a column each.

    Attributes:
        key: The packed key of the place and the alleles.
        effect: The code of the effect allele.
        other: The code of the other allele.
        weight: The weight; where the model is DOSAGE it is not looked at.
        counts: What none, one and two copies count where the model is DOSAGE; without lines where no row's is.
        frequency: How often the file says that the effect allele is, NaN for unknown; empty where no file says so.
        row: The row's number in its file.
        score: Its score's number in the batch.
        model: A Model.
        only: Which of the entries at its place alone it may be, from 1 on; 0 for any; empty where no row knows.
    """

    key: NDArray[np.uint64]
    effect: NDArray[np.uint64]
    other: NDArray[np.uint64]
    weight: NDArray[np.float64]
    counts: NDArray[np.float64]
    frequency: NDArray[np.float32]
    row: NDArray[np.uint32]
    score: NDArray[np.uint32]
    model: NDArray[np.uint8]
    only: NDArray[np.uint8]

    @property
    def n(self) -> int:
        """How many rows these are."""
        return self.key.size

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """Give some of the rows."""
        return self._replace(**{name: column[which] for name, column in self._asdict().items() if len(column)})

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Self:
        """Give all rows of these parts; what one of them does not know is NaN or 0 for its rows."""
        columns = zip(*parts, strict=True)
        return cls(*(_joined(column, [part.n for part in parts]) for column in columns))


def _joined(columns: tuple[Column, ...], lengths: Sequence[int]) -> Column:
    if not any(len(column) for column in columns):
        return columns[0]
    return np.concatenate([_padded(*each) for each in zip(columns, lengths, strict=True)])


def _padded(column: Column, length: int) -> Column:
    unknown = np.nan if column.dtype.kind == "f" else 0
    return column if len(column) == length else np.full((length, *column.shape[1:]), unknown, column.dtype)


NO_ROWS: Final = Rows(
    key=np.empty(0, np.uint64),
    effect=np.empty(0, np.uint64),
    other=np.empty(0, np.uint64),
    weight=np.empty(0, np.float64),
    counts=np.empty((0, 3), np.float64),
    frequency=np.empty(0, np.float32),
    row=np.empty(0, np.uint32),
    score=np.empty(0, np.uint32),
    model=np.empty(0, np.uint8),
    only=np.empty(0, np.uint8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One score's rows: those to be matched, by key, and those that are not, with their reasons."""

    rows: Rows
    left: Rows
    reason: NDArray[np.uint8]


def pack(table: pl.DataFrame, number: int, policy: Policy) -> Packed:
    """Turn a score's table, sorted by key, into rows of the batch's score `number`."""
    key, effect, other, model, row = (table[name].to_numpy() for name in ("key", "effect", "other", "model", "row_nr"))
    rows = Rows(
        key=key,
        effect=effect,
        other=other,
        weight=_weights(table, policy),
        counts=_counts(table, model == Model.DOSAGE),
        frequency=_numbers(table, "frequency").astype(np.float32)
        if "frequency" in table.columns
        else NO_ROWS.frequency,
        row=row,
        score=np.full(key.size, number, np.uint32),
        model=model,
        only=NO_ROWS.only,
    )
    reason = _reasons(rows, table, policy)
    is_left = reason != 0
    if not is_left.any():
        return Packed(rows=rows, left=rows.take(is_left), reason=reason[is_left])
    return Packed(rows=rows.take(~is_left), left=rows.take(is_left), reason=reason[is_left])


def _numbers(table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    """Give a column of numbers, NaN where there is none."""
    return table[column].fill_null(np.nan).to_numpy()


def _weights(table: pl.DataFrame, policy: Policy) -> NDArray[np.float64]:
    weight = _numbers(table, "weight")
    if "ratio" in table.columns and policy.odds_ratios == "log":
        ratio = _numbers(table, "ratio")
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(ratio)
        weight = np.where(np.isnan(weight) & np.isfinite(logarithm), logarithm, weight)
    return weight


def _counts(table: pl.DataFrame, is_by_dosage: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not is_by_dosage.any():
        return NO_ROWS.counts
    return np.stack([_numbers(table, f"weight_{copies}") for copies in range(3)], axis=1)


def steps(rows: Rows) -> NDArray[np.float64]:
    """Give the most that one more copy of the effect allele can change, by row; NaN where a weight is missing."""
    step = np.abs(rows.weight)
    if len(rows.counts):
        most = np.abs(np.diff(rows.counts, axis=1)).max(axis=1)
        step = np.where(rows.model == Model.DOSAGE, most, step)
    return step


def _reasons(rows: Rows, table: pl.DataFrame, policy: Policy) -> NDArray[np.uint8]:
    """Give the reason of each row that cannot be matched, and 0 for the others; what is named first wins."""
    effect, other = rows.effect, rows.other
    has_no_weight = np.isnan(steps(rows))
    has_ratio = table["ratio"].is_not_null().to_numpy() if "ratio" in table.columns else np.zeros(rows.n, np.bool_)
    lacks_other = other == NONE
    refuses_one = policy.no_other_allele == "drop" or (policy.no_other_allele == "every" and not lacks_other.all())
    found = np.zeros(rows.n, np.uint8)
    for reason, is_so in (
        (Reason.NOT_SCORED_MODEL, rows.model >= Model.INTERACTION),
        (Reason.NOT_SCORED_MODEL, (rows.model != Model.ADDITIVE) & (policy.copies != "plain")),
        (Reason.RATIO_ONLY, has_no_weight & has_ratio),
        (Reason.NO_WEIGHT, has_no_weight),
        (Reason.NO_PLACE, rows.key == 0),
        (Reason.BAD_ALLELE, (effect == INVALID) | (effect == NONE) | (other == INVALID)),
        (Reason.SAME_ALLELES, effect == other),
        (Reason.NO_OTHER_ALLELE, lacks_other & refuses_one),
    ):
        found[(found == 0) & is_so] = reason
    return found


class Stage:
    """The rows of a batch by range: added score by score, taken range by range.

    The first ones are held, as far as there is room; the others are written to files, so memory stays flat.
    """

    def __init__(self, folder: Path, ranges: Sequence[Range], *, room: int = 0) -> None:
        """Hold so many bytes at most, and write the rest to this folder."""
        self.held: dict[int, list[Rows]] = {each.number: [] for each in ranges}
        self._bounds = np.array([each.first_key for each in ranges[1:]], np.uint64)
        self._files = [(folder / f"{each.number}.rows").open("ab") for each in ranges]
        self._room = room

    def add(self, rows: Rows) -> None:
        """Add the rows of the next score, sorted by key."""
        ends = [*np.searchsorted(rows.key, self._bounds).tolist(), rows.n]
        self._room -= sum(column.nbytes for column in rows)
        start = 0
        for held, file, end in zip(self.held.values(), self._files, ends, strict=True):
            part = rows.take(slice(start, end))
            if end > start and self._room >= 0:
                held.append(part)
            elif end > start:
                file.writelines(_packets(part))
            start = end

    def close(self) -> None:
        """Finish writing."""
        for file in self._files:
            file.close()


def _packets(rows: Rows) -> Iterator[bytes | memoryview]:
    """Give the lengths of the columns, and then each column up to a multiple of eight bytes."""
    yield np.array([len(column) for column in rows], np.int64).tobytes()
    for column in rows:
        yield np.ascontiguousarray(column).data
        yield bytes(-column.nbytes % 8)


def rows_of(number: int, folder: Path, held: Sequence[Rows] = ()) -> Rows:
    """Give all rows of one range: those that a Stage held, and those that it wrote."""
    parts, file = [NO_ROWS, *held], folder / f"{number}.rows"
    if file.stat().st_size:
        content = np.memmap(file, np.uint8, "r")
        at = 0
        while at < content.size:
            part, at = _part(content, at)
            parts.append(part)
    return Rows.joined(parts)


def _part(content: NDArray[np.uint8], at: int) -> tuple[Rows, int]:
    """Give the rows that one score has here, which begin at this byte, and where those of the next begin."""
    lengths = content[at : (at := at + 8 * len(NO_ROWS))].view(np.int64)
    columns: list[Column] = []
    empty: tuple[Column, ...] = NO_ROWS
    for length, like in zip(lengths.tolist(), empty, strict=True):
        size = length * like.itemsize * int(np.prod(like.shape[1:]))
        columns.append(content[at : at + size].view(like.dtype).reshape(length, *like.shape[1:]))
        at += size + -size % 8
    return Rows(*columns), at
