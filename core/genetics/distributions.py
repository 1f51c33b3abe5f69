"""How each score is spread over each group of reference people, and where one value stands in that spread.

Statistics are computed from sorted values, so that the order of people in a panel changes no digit, and score by score
in one order of adding up, so that neither do the other scores of a batch. A sum that is NaN was not computed for that
person, who is then not counted. Where fewer than two people are left there is no spread to tell of, and every statistic
is null.

>>> sums = np.array([[1.0, 2.0, 4.0, np.nan]])
>>> everybody = Group(population=ALL, subset="all", sex="all", coding=None, members=np.arange(4))
>>> summarise(["PGS1"], sums, [everybody], scales=np.ones(1)).select("n", "min", "p50", "max").row(0)
(3, 1.0, 2.0, 4.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Subset = Literal["all", "unrelated"]
Sex = Literal["all", "male", "female"]

ALL: Final = "all"
SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(),
        "population": pl.String(),
        "subset": pl.String(),
        "sex": pl.String(),
        "coding": pl.UInt8(),
        "n": pl.UInt32(),
        "mean": pl.Float64(),
        "std": pl.Float64(),
        "min": pl.Float64(),
        "max": pl.Float64(),
        "skew": pl.Float64(),
        "p05": pl.Float64(),
        "p25": pl.Float64(),
        "p50": pl.Float64(),
        "p75": pl.Float64(),
        "p95": pl.Float64(),
        "percentiles": pl.List(pl.Float64),
        "zero_variance": pl.Boolean(),
    }
)
"""The columns of a table of distributions: std divides by n - 1; skew is m3 / m2 ** 1.5, not adjusted for n."""

_SEX_CODES: Final[dict[Sex, int]] = {"male": 1, "female": 2}
# Of the sum of absolute weights. Rounding of a sum of a million terms stays below it; people who differ, above.
_NO_SPREAD: Final = 1e-12
# So many that a block of scores stays in the processor's cache, whatever the number of scores.
_SCORES_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some people of a panel, as their columns in the sums; `coding` is the men's X where that matters, 1 or 2."""

    population: str
    subset: Subset
    sex: Sex
    coding: int | None
    members: NDArray[np.intp]


class QualityStatus(StrEnum):
    """What can be said of a whole score, the gravest first."""

    FAILED = "failed"
    ZERO_VARIANCE = "zero_variance"
    LOW_MATCH = "low_match"
    OK = "ok"


def groups_of(samples: pl.DataFrame, *, sex_linked: bool, coding: int | None = None) -> list[Group]:
    """Give everybody and each population, in whole and unrelated only; by sex too where the score depends on it.

    Args:
        samples: Columns sample, sex (1 male, 2 female, 0 unknown), population (null where not known), unrelated.
        sex_linked: Whether men, women and both are groups of their own.
        coding: How men's X was counted in the sums that these groups are for.
    """
    populations = samples["population"].drop_nulls().unique().sort()
    unrelated = samples["unrelated"].to_numpy()
    everybody = np.ones(samples.height, bool)
    subsets: dict[Subset, NDArray[np.bool_]] = {"all": everybody, "unrelated": unrelated}
    return [
        Group(population=population, subset=subset, sex=sex, coding=coding, members=np.flatnonzero(of & within & sexed))
        for population, of in _members_by_population(samples, [each for each in populations if each != ALL])
        for subset, within in subsets.items()
        for sex, sexed in _members_by_sex(samples, sex_linked=sex_linked)
    ]


def summarise(names: Sequence[str], sums: Values, groups: Sequence[Group], *, scales: Values) -> pl.DataFrame:
    """Give one row per score and group; see SCHEMA.

    Args:
        names: The name of each score.
        sums: A row per score and a column per person; NaN where a score was not computed for a person.
        groups: Which people to tell of.
        scales: Each score's sum of absolute weights over its matched rows: what counts as no variance depends on it.
    """
    blocks = (slice(at, at + _SCORES_AT_ONCE) for at in range(0, len(names) if groups else 0, _SCORES_AT_ONCE))
    tables = [_summarised(names[block], sums[block], groups, scales[block]) for block in blocks]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *tables])


def percentile(value: float, table: Sequence[float]) -> float:
    """Give the share of a distribution, 0 to 100, that lies below a value.

    The table is a column `percentiles`: equally spaced percentiles from the smallest value to the largest. Between
    two entries the share grows in a straight line; a value that several entries have stands in their middle; outside
    of the table it is 0 or 100. NaN stands nowhere, and stays NaN.

    >>> percentile(2.5, [1, 2, 3]), percentile(2, [1, 2, 2, 2, 3]), percentile(9, [1, 2, 3])
    (75.0, 50.0, 100.0)
    """
    if math.isnan(value):
        return math.nan
    entries = np.asarray(table, np.float64)
    below, upto = (int(np.searchsorted(entries, value, side)) for side in ("left", "right"))
    if upto > below:
        place = (below + upto - 1) / 2
    elif below in {0, entries.size}:
        place = below and entries.size - 1
    else:
        low, high = entries[below - 1 : below + 1]
        place = below - 1 + (value - low) / (high - low)
    return float(100 * place / (entries.size - 1))


def quality_status(
    *, match_rate: float | None, min_overlap: float, zero_variance: bool | None, failure: str | None
) -> tuple[QualityStatus, str | None]:
    """Judge a score, with the reason in words: the gravest of what is wrong, and no reason where nothing is.

    >>> quality_status(match_rate=0.5, min_overlap=0.75, zero_variance=False, failure=None)[0].value
    'low_match'
    """
    if failure is not None:
        return QualityStatus.FAILED, failure
    found = "no row" if not match_rate else f"{match_rate:.1%} of its rows"
    if zero_variance:
        return QualityStatus.ZERO_VARIANCE, f"everybody has the same score; {found} matched the panel"
    if match_rate is None or match_rate < min_overlap:
        return QualityStatus.LOW_MATCH, f"{found} matched the panel, less than {min_overlap:.1%}"
    return QualityStatus.OK, None


def _members_by_population(samples: pl.DataFrame, populations: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    each = [(name, (samples["population"] == name).fill_null(value=False).to_numpy()) for name in populations]
    return [(ALL, np.ones(samples.height, bool)), *each]


def _members_by_sex(samples: pl.DataFrame, *, sex_linked: bool) -> list[tuple[Sex, NDArray[np.bool_]]]:
    everybody: tuple[Sex, NDArray[np.bool_]] = ("all", np.ones(samples.height, bool))
    if not sex_linked:
        return [everybody]
    return [everybody, *((sex, (samples["sex"] == code).to_numpy()) for sex, code in _SEX_CODES.items())]


def _summarised(names: Sequence[str], sums: Values, groups: Sequence[Group], scales: Values) -> pl.DataFrame:
    found = [_statistics(sums[:, group.members], scales) for group in groups]
    count = len(names)
    columns: dict[str, object] = {
        "pgs_id": np.repeat(np.asarray(names, object), len(groups)),
        **{
            column: [getattr(group, column) for group in groups] * count
            for column in ("population", "subset", "sex", "coding")
        },
        **{column: np.stack([each[column] for each in found], axis=1).ravel() for column in found[0] if column != "q"},
    }
    tables = np.stack([each["q"] for each in found], axis=1).reshape(-1, 101)
    columns |= {f"p{percent:02}": tables[:, percent] for percent in (5, 25, 50, 75, 95)}
    columns["percentiles"] = pl.Series(tables, dtype=pl.Array(pl.Float64, 101)).cast(pl.List(pl.Float64))
    return _without_nan(pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))


def _without_nan(table: pl.DataFrame) -> pl.DataFrame:
    """Turn what could not be computed into nulls: NaN in statistics would spread into every mean over them."""
    known = pl.col("n") >= 2
    return table.with_columns(
        pl.selectors.float().fill_nan(None),
        pl.when(known).then(pl.col("percentiles")).alias("percentiles"),
        pl.when(known).then(pl.col("zero_variance")).alias("zero_variance"),
    )


def _statistics(values: Values, scales: Values) -> dict[str, NDArray[np.generic]]:
    """Give each statistic per score, NaN where there are fewer than two values; `q` is the table of percentiles."""
    ordered = np.full((len(values), 1), np.nan)
    if values.shape[1]:
        # Chosen columns lie in memory column by column, and numpy would add several scores in another order than one.
        ordered = np.sort(np.ascontiguousarray(values), axis=1)
    counts = ordered.shape[1] - np.isnan(ordered).sum(axis=1)
    tables = _percentiles(ordered, counts)
    low, high = tables[:, 0], tables[:, -1]
    sums = np.nansum(ordered, axis=1)
    # A mean cannot leave the values' range; rounding can, and would give equal values a spread.
    mean = np.clip(sums / np.where(counts > 1, counts, np.nan), low, high)
    std, skew = _moments(ordered, counts, mean, high - low)
    return {
        "n": counts, "mean": mean, "std": std, "min": low, "max": high, "skew": skew, "q": tables,
        "zero_variance": std <= _NO_SPREAD * scales,
    }  # fmt: skip


def _moments(ordered: Values, counts: NDArray[np.intp], mean: Values, spread: Values) -> tuple[Values, Values]:
    """Give standard deviation and skewness; in units of the spread, so that no square leaves what a float can hold."""
    unit = np.where(spread > 0, spread, 1)
    deviations = (ordered - mean[:, None]) / unit[:, None]
    np.nan_to_num(deviations, copy=False)
    squares = deviations * deviations
    second, third = squares.sum(axis=1), (squares * deviations).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        std = unit * np.sqrt(second / np.where(counts > 1, counts - 1, np.nan))
        variance = second / counts
        # A power of several numbers at once may be rounded otherwise than that of one.
        skew = third / counts / (variance * np.sqrt(variance))
    return std, skew


def _percentiles(ordered: Values, counts: NDArray[np.intp]) -> Values:
    """Interpolate between neighbours in a straight line, from whichever end of it is nearer."""
    places = np.arange(101) / 100 * np.maximum(counts - 1, 0)[:, None]
    before = np.floor(places).astype(np.intp)
    after = np.minimum(before + 1, np.maximum(counts - 1, 0)[:, None])
    low, high = np.take_along_axis(ordered, before, axis=1), np.take_along_axis(ordered, after, axis=1)
    part = places - before
    tables = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
    return np.where(counts[:, None] > 1, tables, np.nan)
