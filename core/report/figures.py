"""Pictures of scores as small SVG texts that need nothing else: no script, no style sheet, no font file.

Text takes the colour of the page, so that one picture serves light and dark. Every text from outside is escaped here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Row = dict[str, Any]
    Values = NDArray[np.float64]

# Okabe and Ito's colours, without black and yellow, which vanish on one of the two grounds.
COLOURS: Final = ("#d55e00", "#009e73", "#e69f00", "#0072b2", "#cc79a7", "#56b4e9")
EVERYBODY: Final = "#808894"

_SANS: Final = "font-family='system-ui,sans-serif' font-size='12' fill='currentColor'"
_WIDTH, _LEFT, _RIGHT, _TOP, _PITCH = 440, 92, 20, 24, 42
_PEAK: Final = 30
_POINTS: Final = 56
_MOST_ROWS: Final = 16
_LONGEST_NAME: Final = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar: what it is, how much, and its colour."""

    name: str
    amount: int
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ridge:
    label: str
    n: int
    colour: str
    table: Values | None
    is_flat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    low: float
    high: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _LEFT + min(max(share, 0), 1) * (_WIDTH - _LEFT - _RIGHT)


def pictured(distributions: pl.DataFrame) -> dict[str, list[Row]]:
    """Give the rows of each score that its picture shows: unrelated people where there are any, one coding of X.

    That is one row per population; where the score depends on sex, women and men together come after everybody.
    """
    score, everybody = "pgs_id", pl.col("population") == "all"
    of_unrelated = pl.col("n").filter(pl.col("subset") == "unrelated").sum().over(score)
    subset = pl.when(of_unrelated > 0).then(pl.lit("unrelated")).otherwise(pl.lit("all"))
    chosen = distributions.filter(pl.col("subset") == subset)
    chosen = chosen.filter(pl.col("coding").eq_missing(pl.col("coding").max().over(score)))
    shown = chosen.filter((pl.col("sex") == "all") | everybody)
    by = (everybody, pl.col("sex") == "all", "population", "sex")
    rows = shown.sort(by, descending=[True, True, False, False]).partition_by(score, as_dict=True)
    return {name: found.to_dicts() for (name,), found in rows.items()}


def distribution_svg(name: str, rows: Sequence[Row]) -> str:
    """Draw one score: a ridge for each population, its quartiles below, and everybody's median as a dashed line.

    Args:
        name: The score's name, for those who cannot see the picture.
        rows: Its rows as `pictured` gives them.
    """
    ridges = list(_ridges(rows))
    axis = _axis([ridge.table for ridge in ridges if ridge.table is not None])
    height = _TOP + _PITCH * len(ridges) + 34
    floor = height - 30
    drawn = "".join(_ridge(ridge, axis, _TOP + _PITCH * (at + 1) - 10) for at, ridge in _scaled(ridges, axis))
    return _svg(
        f"Distribution of {name} by population",
        _told(ridges),
        width=_WIDTH,
        height=height,
        body=f"{_ticks(axis, floor)}{drawn}{_reference(ridges, axis, floor)}",
    )


def bar_svg(title: str, segments: Sequence[Segment]) -> str:
    """Draw parts of a whole as one bar that takes the width it is given."""
    total = sum(segment.amount for segment in segments) or 1
    parts, left = [], 0.0
    for segment in segments:
        width = 100 * segment.amount / total
        parts.append(
            f"<rect x='{left:.2f}' width='{width:.2f}' height='8' fill='{segment.colour}'"
            f"{_opacity(segment.opacity)}><title>{escape(segment.name)}: {segment.amount:,}</title></rect>"
        )
        left += width
    return (
        f"<svg class='bar' viewBox='0 0 100 8' preserveAspectRatio='none' role='img' aria-label='{escape(title)}'>"
        f"{''.join(parts)}</svg>"
    )


def rates_svg(rates: Sequence[float], *, least: float | None) -> str:
    """Draw how many scores matched how well, in steps of five in a hundred, with the least share that is asked for."""
    counts, _ = np.histogram(rates, bins=20, range=(0, 1))
    highest = max(int(counts.max()), 1)
    bars = "".join(
        f"<rect x='{20 + 20 * at + 1}' y='{112 - 84 * count / highest:.1f}' width='18' "
        f"height='{84 * count / highest:.1f}' rx='1.5' fill='#0072b2'><title>{5 * at} to {5 * at + 5} %: {count} scores"
        f"</title></rect><text x='{30 + 20 * at}' y='{107 - 84 * count / highest:.1f}' text-anchor='middle' "
        f"font-size='11'>{count}</text>"
        for at, count in enumerate(counts.tolist())
        if count
    )
    labels = "".join(
        f"<text x='{20 + 4 * percent}' y='128' text-anchor='middle' font-size='11' opacity='.75'>{percent}%</text>"
        for percent in range(0, 101, 25)
    )
    line = "" if least is None else _marked(20 + 400 * least, 10, 112, f"asked for: {least:.0%}")
    told = f"{len(rates)} scores; {sum(rate < (least or 0) for rate in rates)} matched less than asked for."
    ground = "<path d='M20 112.5H420' stroke='currentColor' opacity='.4'/>"
    return _svg("Match rate of the scores", told, width=_WIDTH, height=134, body=ground + bars + labels + line)


def _ridges(rows: Sequence[Row]) -> Iterator[_Ridge]:
    populations = sorted({row["population"] for row in rows} - {"all"})
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(populations)}
    sexes = {"all": "everybody", "female": "women", "male": "men"}
    for row in rows[:_MOST_ROWS]:
        is_everybody = row["population"] == "all"
        yield _Ridge(
            label=sexes[row["sex"]] if is_everybody else row["population"],
            n=row["n"],
            colour=EVERYBODY if is_everybody else colours[row["population"]],
            table=None if row["percentiles"] is None else np.asarray(row["percentiles"], np.float64),
            is_flat=bool(row["zero_variance"]),
        )


def _axis(tables: Sequence[Values]) -> _Axis:
    """Reach over nearly everybody: one person far out must not press all others into a corner."""
    if not tables:
        return _Axis(low=0, high=1)
    low, high = min(table[1] for table in tables), max(table[-2] for table in tables)
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return _Axis(low=float(low - margin), high=float(high + margin))


def _scaled(ridges: Sequence[_Ridge], axis: _Axis) -> Iterator[tuple[int, tuple[_Ridge, Values | None]]]:
    """Give each ridge its heights, all with the same area below them."""
    heights = [
        None if ridge.table is None or ridge.is_flat else _density((ridge.table - axis.low) / (axis.high - axis.low))
        for ridge in ridges
    ]
    highest = max((float(each.max()) for each in heights if each is not None), default=0.0) or 1.0
    for at, (ridge, each) in enumerate(zip(ridges, heights, strict=True)):
        yield at, (ridge, None if each is None else each / highest)


def _density(table: Values) -> Values:
    """Smooth a table of percentiles, in widths of the axis: between two of them lies a hundredth of the people."""
    grid = np.linspace(0, 1, _POINTS)
    middles = (table[1:] + table[:-1]) / 2
    quartiles = (table[75] - table[25]) / 1.34
    width = 0.9 * min(float(middles.std()), quartiles or math.inf) * 100**-0.2
    width = max(width, 0.75 / _POINTS)
    away = (grid[:, None] - middles) / width
    return np.asarray(np.exp(-0.5 * away * away).mean(axis=1) / width)


def _ridge(scaled: tuple[_Ridge, Values | None], axis: _Axis, base: float) -> str:
    ridge, heights = scaled
    name = ridge.label if len(ridge.label) <= _LONGEST_NAME else f"{ridge.label[: _LONGEST_NAME - 1]}…"
    label = (
        f"<text y='{base - 5}' font-weight='600'>{escape(name)}</text>"
        f"<text y='{base + 7}' font-size='10' opacity='.75'>n = {ridge.n:,}</text>"
    )
    return label + (_shape(ridge, heights, axis, base) if heights is not None else _remark(ridge, axis, base))


def _shape(ridge: _Ridge, heights: Values, axis: _Axis, base: float) -> str:
    step = (_WIDTH - _LEFT - _RIGHT) / (_POINTS - 1)
    line = "".join(f"L{_LEFT + at * step:.0f} {base - _PEAK * each:.1f}" for at, each in enumerate(heights.tolist()))
    assert ridge.table is not None  # noqa: S101
    p05, p25, p50, p75, p95 = (f"{axis.at(float(ridge.table[at])):.1f}" for at in (5, 25, 50, 75, 95))
    bar = base + 5
    return (
        f"<g stroke='{ridge.colour}'><path d='M{_LEFT} {base}{line}L{_WIDTH - _RIGHT} {base}' fill='{ridge.colour}' "
        f"fill-opacity='.42' stroke-width='1.4'/><path d='M{p05} {bar}H{p95}' stroke-width='1.4'/>"
        f"<path d='M{p25} {bar}H{p75}' stroke-width='5'/></g><circle cx='{p50}' cy='{bar}' r='2.4' fill='#fff' "
        f"stroke='#222'/>"
    )


def _remark(ridge: _Ridge, axis: _Axis, base: float) -> str:
    if ridge.table is None:
        return f"<text x='{_LEFT}' y='{base}' font-size='11' opacity='.75'>fewer than two people</text>"
    place = axis.at(float(ridge.table[50]))
    return (
        f"<path d='M{place:.1f} {base + 5}v-22' stroke='{ridge.colour}' stroke-width='3'/>"
        f"<text x='{place + 7:.1f}' y='{base}' font-size='11' opacity='.75'>all the same</text>"
    )


def _reference(ridges: Sequence[_Ridge], axis: _Axis, floor: float) -> str:
    if not ridges or ridges[0].table is None:
        return ""
    median = float(ridges[0].table[50])
    return _marked(axis.at(median), 14, floor, f"median {median:.4g}")


def _marked(place: float, top: float, bottom: float, text: str) -> str:
    """Draw a dashed line with a text at its upper end, on the side where there is room."""
    side, anchor = (5, "start") if place < _WIDTH * 0.65 else (-5, "end")
    return (
        f"<path d='M{place:.1f} {top - 8}V{bottom}' stroke='currentColor' stroke-dasharray='3 3' opacity='.65'/>"
        f"<text x='{place + side:.1f}' y='{top + 1}' font-size='11' text-anchor='{anchor}'>{text}</text>"
    )


def _ticks(axis: _Axis, floor: float) -> str:
    lines = "".join(
        f"<path d='M{axis.at(value):.1f} 22V{floor}' stroke='currentColor' opacity='.13'/>"
        f"<text x='{axis.at(value):.1f}' y='{floor + 15}' text-anchor='middle' font-size='11'>{value:.6g}</text>"
        for value in _round_numbers(axis.low, axis.high)
    )
    return f"{lines}<path d='M{_LEFT} {floor}H{_WIDTH - _RIGHT}' stroke='currentColor' opacity='.4'/>"


def _round_numbers(low: float, high: float) -> list[float]:
    """Give three to six round numbers between two.

    >>> _round_numbers(-0.3, 3.2)
    [0.0, 1.0, 2.0, 3.0]
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _told(ridges: Sequence[_Ridge]) -> str:
    """Say what the picture shows, for those who cannot see it."""
    medians = (
        f"{ridge.label}: {ridge.n} people"
        + ("" if ridge.table is None else f", median {ridge.table[50]:.4g}, 5 to 95 % {_reach(ridge.table)}")
        for ridge in ridges
    )
    return ". ".join(medians) + "."


def _reach(table: Values) -> str:
    return f"{table[5]:.4g} to {table[95]:.4g}"


def _opacity(opacity: float) -> str:
    return "" if opacity == 1 else f" opacity='{opacity:.2f}'"


def _svg(title: str, told: str, *, width: int, height: float, body: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {_SANS}>"
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc>{body}</svg>"
    )
