"""The page about a panel's scores: one file that needs nothing else, for people who judge whether to use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
import polars as pl

from sluiceway.core.report.figures import (
    COLOURS,
    EVERYBODY,
    Segment,
    bar_svg,
    distribution_svg,
    pictured,
    rates_svg,
)
from sluiceway.core.report.reasons import EXCLUDED, MATCHED, OTHER, STATUSES, UNMATCHED, Wording, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.provenance.key import Json

PICTURES: Final = 60
"""For how many scores the page has pictures; beyond `TABLES` a score's figures are in the results' own tables."""
TABLES: Final = 300

_TOP_SCORES: Final = 5
_HEAVIEST_ROWS: Final = 20
_LONGEST_LIST: Final = 12
_COLOUR_OF: Final = {MATCHED: "#2f7fb8", EXCLUDED: "#e69f00", UNMATCHED: "#b5456b", OTHER: "#808894"}
_COLOUR_OF_STATUS: Final = {"ok": "#2f7fb8", "low_match": "#e69f00", "zero_variance": "#808894", "failed": "#b5456b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringReport:
    """What the page tells of.

    Args:
        quality: A row per score: pgs_id, status, reason, rows, matched, excluded, unmatched, match_rate, coverage,
            variants_used, sex_linked, and rows_REASON for each reason; `trait`, where it is there, is shown.
        distributions: The rows that `core.genetics.distributions.summarise` gives.
        matches: Rows of scoring files with pgs_id, reason, weight and whatever else is worth showing; none where the
            page is not to name single rows.
        manifest: The results' manifest; of every table and list in it, each entry becomes a line.
    """

    title: str
    synthetic: bool
    quality: pl.DataFrame
    distributions: pl.DataFrame
    matches: pl.DataFrame | None = None
    manifest: Mapping[str, Json]
    policy: Mapping[str, Json]
    panel: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """One score: its line in the table, its bar, its picture and its figures."""

    quality: dict[str, Any]
    bar: str
    picture: str | None
    groups: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """One reason: how many rows it befell, and which scores it befell most."""

    words: Wording
    rows: int
    share: float
    scores: int
    top: Sequence[tuple[str, int]]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """One line of the provenance; a long list is folded away."""

    name: str
    value: str | None
    entries: Sequence[tuple[str, str]]


def render(report: ScoringReport) -> str:
    """Give the page as one HTML text; it loads nothing, and everything from outside is escaped."""
    # Where every score failed, whole columns are null and have no type to add up.
    report = replace(report, quality=report.quality.with_columns(pl.selectors.by_dtype(pl.Null).cast(pl.Int64)))
    cards = list(_cards(report))
    statuses = _statuses(report.quality)
    template = _environment().get_template("scoring.html.j2")
    return template.render(
        report=report,
        cards=cards,
        statuses=statuses,
        status_bar=bar_svg(
            "Scores by status: " + ", ".join(f"{count} {STATUSES[name][1]}" for name, count in statuses.items()),
            [Segment(name=STATUSES[name][1], amount=n, colour=_COLOUR_OF_STATUS[name]) for name, n in statuses.items()],
        ),
        status_words=STATUSES,
        totals=_totals(report),
        rates=rates_svg(report.quality["match_rate"].drop_nulls().to_list(), least=_least(report.policy)),
        losses=list(_losses(report.quality)),
        heaviest=_heaviest(report.matches),
        populations=_populations(report.distributions),
        everybody_colour=EVERYBODY,
        colour_of=_COLOUR_OF,
        pictures=PICTURES,
        tables=TABLES,
        provenance={
            "Result": list(_facts(report.manifest)),
            "Policy": list(_facts(report.policy)),
            "Panel": list(_facts(report.panel)),
        },
    )


def _environment() -> jinja2.Environment:
    # By hand, for jinja2's own guess looks at the end of the name, and would escape nothing in a file .j2.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "share": _share, "number": _number}
    return environment


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _statuses(quality: pl.DataFrame) -> dict[str, int]:
    counts = dict(quality["status"].value_counts().iter_rows())
    return {name: int(counts.get(name, 0)) for name in STATUSES}


def _totals(report: ScoringReport) -> dict[str, Any]:
    everybody = report.distributions.filter(population="all", subset="all", sex="all")
    unrelated = report.distributions.filter(population="all", subset="unrelated", sex="all")
    rows, matched = (int(report.quality[column].sum()) for column in ("rows", "matched"))
    return {
        "scores": report.quality.height,
        "people": everybody["n"].max(),
        "unrelated": unrelated["n"].max(),
        "populations": len(_populations(report.distributions)),
        "rows": rows,
        "matched": matched / rows if rows else None,
        "coverage": report.quality["coverage"].median(),
    }


def _least(policy: Mapping[str, Json]) -> float | None:
    least = policy.get("min_overlap")
    return float(least) if isinstance(least, int | float) else None


def _populations(distributions: pl.DataFrame) -> list[tuple[str, str]]:
    names = distributions.filter(pl.col("population") != "all")["population"].unique().sort()
    return [(name, COLOURS[at % len(COLOURS)]) for at, name in enumerate(names)]


def _cards(report: ScoringReport) -> Iterator[_Card]:
    # Men's X is told of by the policy's own count; where the policy is not known, by the picture's.
    coding = report.policy.get("male_x")
    counted = pl.lit(coding is None) | pl.col("coding").is_null() | (pl.col("coding") == pl.lit(coding))
    told = pictured(report.distributions.filter(counted))
    number = 0
    for quality in report.quality.iter_rows(named=True):
        name = quality["pgs_id"]
        rows = told.get(name, [])
        number += bool(rows)
        yield _Card(
            quality=quality,
            bar=_bar(quality),
            picture=distribution_svg(name, rows) if rows and number <= PICTURES else None,
            groups=rows if number <= TABLES else [],
        )


def _bar(quality: Mapping[str, Any]) -> str:
    """Draw a score's rows by reason, the matched first; rows that no reason was told for come last."""
    segments = []
    for status, colour in _COLOUR_OF.items():
        found = [reason for reason in _reasons(quality) if wording(reason).status == status and _rows(quality, reason)]
        segments += [
            Segment(
                name=f"{status}: {wording(reason).title}",
                amount=_rows(quality, reason),
                colour=colour,
                opacity=max(1 - 0.18 * at, 0.4),
            )
            for at, reason in enumerate(sorted(found, key=lambda reason: -_rows(quality, reason)))
        ]
    rest = (quality["rows"] or 0) - sum(segment.amount for segment in segments)
    if rest > 0:
        segments.append(Segment(name="no reason told", amount=rest, colour=_COLOUR_OF[OTHER], opacity=0.5))
    told = ", ".join(f"{quality[status] or 0:,} {status}" for status in (MATCHED, EXCLUDED, UNMATCHED))
    return bar_svg(f"Rows: {told}", segments)


def _reasons(columns: Mapping[str, Any] | Sequence[str]) -> list[str]:
    return [column.removeprefix("rows_") for column in columns if column.startswith("rows_")]


def _rows(quality: Mapping[str, Any], reason: str) -> int:
    return quality[f"rows_{reason}"] or 0


def _losses(quality: pl.DataFrame) -> Iterator[_Loss]:
    """Tell each reason that befell a row, what was left out first, the most frequent first."""
    total = int(quality["rows"].sum()) or 1
    counts = {reason: int(quality[f"rows_{reason}"].sum()) for reason in _reasons(quality.columns)}
    for reason in sorted(counts, key=lambda each: (wording(each).status == MATCHED, -counts[each])):
        befallen = quality.filter(pl.col(f"rows_{reason}") > 0).sort(f"rows_{reason}", descending=True)
        if befallen.is_empty():
            continue
        yield _Loss(
            words=wording(reason),
            rows=counts[reason],
            share=counts[reason] / total,
            scores=befallen.height,
            top=befallen.select("pgs_id", f"rows_{reason}").head(_TOP_SCORES).rows(),
            colour=_COLOUR_OF[wording(reason).status],
        )


def _heaviest(matches: pl.DataFrame | None) -> pl.DataFrame | None:
    """Give the rows with the largest weights among those that were left out."""
    if matches is None:
        return None
    used = [reason for reason in matches["reason"].unique() if wording(reason).status == MATCHED]
    left_out = matches.filter(~pl.col("reason").is_in(used))
    heaviest = left_out.sort(pl.col("weight").abs(), descending=True, nulls_last=True).head(_HEAVIEST_ROWS)
    titles = [wording(reason).title for reason in heaviest["reason"]]
    return heaviest.with_columns(pl.Series("reason", titles, dtype=pl.String))


def _facts(facts: Mapping[str, Json]) -> Iterator[_Fact]:
    for name, value in facts.items():
        entries = list(_flat(value))
        if not isinstance(value, Mapping | list | tuple):
            yield _Fact(name=name, value=_text(value), entries=())
        elif len(entries) == 1 and not entries[0][0]:
            yield _Fact(name=name, value=entries[0][1], entries=())
        else:
            yield _Fact(name=name, value=None, entries=entries)


def _flat(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """Give every single value with the way that leads to it."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if all(not isinstance(each, Mapping | list | tuple) for each in value) and len(value) <= _LONGEST_LIST:
            yield path, ", ".join(map(_text, value)) or "none"
            return
        for number, each in enumerate(value):
            yield from _flat(each, f"{path}[{number}]")
    else:
        yield path, _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
