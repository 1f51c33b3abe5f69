"""Where one value stands among reference people, and what a folder of results has of the catalogue's scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from sluiceway.core.errors import InputMissing
from sluiceway.core.genetics import distributions
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """A group of reference people; sex and the coding of X matter to scores that depend on sex."""

    population: str = "all"
    subset: Literal["all", "unrelated"] = "all"
    sex: Literal["all", "male", "female"] = "all"
    coding: int | None = None

    def rows(self) -> pl.Expr:
        """Give what is true of this group's rows of the distributions."""
        group = {"population": self.population, "subset": self.subset, "sex": self.sex, "coding": self.coding}
        return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(value)) for name, value in group.items())


EVERYBODY: Final = Among()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a value stands in one population: among its people, and by a normal curve of their mean and spread.

    `percentile` is 100 times the share of people below, by the 101 percentiles that are kept; `by_curve` is what
    readers of the published tables compute, Phi of `z`.
    """

    pgs_id: str
    population: str
    percentile: float
    by_curve: float
    z: float
    n: int
    mean: float
    std: float
    status: str | None
    coverage: float | None


def standing(results: Path, pgs_id: str, value: float, *, among: Among = EVERYBODY) -> Standing | None:
    """Say where a score's value stands among the people of a folder of results; none where it has no spread there.

    Args:
        results: The folder that `sluiceway score` wrote.
        pgs_id: The score.
        value: Somebody's sum, computed by the same policy.
        among: With whom it is compared.
    """
    rows = _table(results, "distributions").filter(among.rows(), pl.col("pgs_id") == pgs_id)
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    if row["mean"] is None or row["std"] is None or not row["std"] > 0:
        return None
    z = (value - row["mean"]) / row["std"]
    quality = _table(results, "quality").filter(pgs_id=pgs_id).select("status", "coverage").rows()
    status, coverage = quality[0] if quality else (None, None)
    return Standing(
        pgs_id=pgs_id,
        population=among.population,
        percentile=distributions.percentile(value, row["percentiles"]),
        by_curve=100 * NormalDist().cdf(z) if math.isfinite(z) else math.nan,
        z=z,
        n=row["n"],
        mean=row["mean"],
        std=row["std"],
        status=status,
        coverage=coverage,
    )


def reference_status(scores: pl.DataFrame, kept: frozenset[str], results: Path | None) -> pl.DataFrame:
    """Tell of each score of the catalogue whether its table is here, and what a folder of results has of it."""
    listed = scores.select("pgs_id", "trait_reported", pl.col("pgs_id").is_in(sorted(kept)).alias("is_here"))
    if results is None:
        return listed.with_columns(status=pl.lit(None, pl.String), reason=pl.lit(None, pl.String))
    quality = _table(results, "quality").select("pgs_id", "status", "reason", "match_rate", "coverage")
    joined = listed.join(quality, on="pgs_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("status").fill_null("missing"))


def _table(results: Path, name: str) -> pl.DataFrame:
    path = results / f"{name}.parquet"
    if not path.is_file():
        raise InputMissing(what="the table", path=path)
    return frames.read_parquet(path)
