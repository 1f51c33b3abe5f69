"""Looks at the cleaned metadata before they are relied on: what is wrong with them, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from sluiceway.core.catalog.metadata import BUILDS
from sluiceway.core.catalog.metrics import METRICS, unparsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IDS: Final = {
    "scores": ("pgs_id", r"^PGS\d{6}$"),
    "performance": ("ppm_id", r"^PPM\d{6}$"),
    "publications": ("pgp_id", r"^PGP\d{6}$"),
    "traits": ("trait_efo_id", r"^[A-Za-z]+_\d+$"),
    "cohorts": ("cohort_id", r"."),
}
_MAY_REPEAT: Final = frozenset({"cohorts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about one table: an error, which keeps it from being used, or a warning; how many, and some of them."""

    table: str
    severity: Literal["ERROR", "WARN"]
    code: str
    n: int
    examples: tuple[str, ...]


def audit(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Give everything that is worth knowing about the tables before they are used; nothing where all is well."""
    return [
        *_about_ids(tables),
        *_about_builds(tables["scores"]),
        *_about_metrics(tables["performance"]),
        *_about_references(tables),
    ]


def has_errors(findings: list[Finding]) -> bool:
    """Whether one of these keeps the tables from being used."""
    return any(each.severity == "ERROR" for each in findings)


def _about_ids(tables: Mapping[str, pl.DataFrame]) -> Iterator[Finding]:
    for table, (column, form) in _IDS.items():
        ids = tables[table][column]
        if ids.is_empty():
            yield Finding(table=table, severity="ERROR", code="empty", n=0, examples=())
        missing = ids.null_count()
        if missing:
            yield Finding(table=table, severity="ERROR", code="id_missing", n=missing, examples=())
        repeated = ids.filter(ids.is_duplicated() & ids.is_not_null()).unique(maintain_order=True)
        yield from _some(table, "id_repeated", repeated, error=table not in _MAY_REPEAT)
        yield from _some(table, "id_odd", ids.filter(~ids.str.contains(form)).unique(maintain_order=True))


def _about_builds(scores: pl.DataFrame) -> Iterator[Finding]:
    written = scores["genome_build_upstream"]
    known = written.str.to_lowercase().is_in([each.lower() for each in BUILDS]).fill_null(value=True)
    yield from _some("scores", "build_unknown", written.filter(~known).unique(maintain_order=True))
    yield from _some("scores", "build_approximated", scores.filter(written == "NCBI35")["pgs_id"])
    yield from _some("scores", "no_variants", scores.filter(pl.col("n_variants").is_null())["pgs_id"])


def _about_metrics(performance: pl.DataFrame) -> Iterator[Finding]:
    for metric, n in unparsed(performance).items():
        if n:
            texts = performance.filter(pl.col("metrics_unparsed").list.contains(metric))[f"{metric}_raw"]
            yield Finding(table="performance", severity="WARN", code=f"{metric}_unparsed", n=n, examples=_few(texts))
    for metric in METRICS:
        value, low, high = (pl.col(f"{metric}_{part}") for part in ("estimate", "ci_lower", "ci_upper"))
        outside = performance.filter((value < low) | (value > high))
        yield from _some("performance", f"{metric}_outside_interval", outside["ppm_id"])


def _about_references(tables: Mapping[str, pl.DataFrame]) -> Iterator[Finding]:
    """Look for rows that speak of what is not there."""
    scores, publications = tables["scores"]["pgs_id"], tables["publications"]["pgp_id"]
    performance = tables["performance"]
    yield from _some(
        "performance", "score_unlisted", performance.filter(~performance["pgs_id"].is_in(scores.implode()))["ppm_id"]
    )
    unknown = tables["scores"].filter(~tables["scores"]["pgp_id"].is_in(publications.implode()))
    yield from _some("scores", "publication_unlisted", unknown["pgs_id"])


def _some(table: str, code: str, rows: pl.Series, *, error: bool = False) -> Iterator[Finding]:
    if len(rows):
        severity: Literal["ERROR", "WARN"] = "ERROR" if error else "WARN"
        yield Finding(table=table, severity=severity, code=code, n=len(rows), examples=_few(rows))


def _few(rows: pl.Series) -> tuple[str, ...]:
    return tuple(str(each) for each in rows.head(5))
