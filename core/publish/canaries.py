"""Canaries: people whose sums are looked up in the tables as a reader would; tables on another scale kill them all.

A table can have every column right and still be of averages where readers compare sums. Some people of the panel are
therefore looked up in every release, the same ones each time, and whoever else is given with known sums.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.errors import InputMissing
from sluiceway.core.publish.audit import Finding, about
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.publish.scored import People, Scored

SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(), "flag": pl.String(), "severity": pl.String(), "exclude_from_catalog": pl.Boolean(),
        "n_canary_samples": pl.Int64(), "n_extreme": pl.Int64(), "min_percentile": pl.Float64(),
        "max_percentile": pl.Float64(), "median_abs_z": pl.Float64(), "median_match_rate": pl.Float64(),
        "reason": pl.String(),
    }
)  # fmt: skip
FLAG: Final = "canary_collapsed_percentile"

_COLUMNS: Final = {"sample": pl.String(), "superpopulation": pl.String(), "pgs_id": pl.String(), "sum": pl.Float64()}
_EXTREME: Final = 1.0
_FAR: Final = 6.0
_MATCHED: Final = 0.5


def flags_of(
    distributions: pl.DataFrame, scored: Scored, people: People, rules: Rules, given: Path | None
) -> pl.DataFrame:
    """Give a line for each score that most canaries do not fit: far outside, or few of their variants matched."""
    everybody = pl.concat([_of_panel(scored, people, rules.canaries), *_given(given)], how="diagonal")
    curves = distributions.filter(pl.col("std") > 0).select("pgs_id", "superpopulation", "mean", "std")
    looked_up = everybody.join(curves, on=["pgs_id", "superpopulation"], how="inner")
    z = (pl.col("sum") - pl.col("mean")) / pl.col("std")
    stood = looked_up.with_columns(z=z, percentile=z.map_batches(_phi, return_dtype=pl.Float64))
    return _judged(stood).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("pgs_id")


def told(flags: pl.DataFrame, n_scores: int, rules: Rules) -> list[Finding]:
    """Say when more scores collapse than single bad scores explain: then it is the tables that are wrong."""
    if flags.height <= rules.collapsed * n_scores:
        return []
    said = f"of {n_scores} scores, {flags.height} fit no canary: the tables are not on the scale of people's sums"
    return about("BLOCK", "canaries_collapsed", said, flags["pgs_id"])


def _of_panel(scored: Scored, people: People, each: int) -> pl.DataFrame:
    """Choose people by their names alone, so that they stay the same from one release to the next."""
    chance = pl.col("sample").map_elements(lambda name: hashlib.sha256(name.encode()).hexdigest(), pl.String)
    ordered = people.table.with_columns(chance=chance).sort("chance")
    chosen = ordered.group_by("superpopulation", maintain_order=True).head(each).select("sample", "superpopulation")
    sums = scored.sums.filter(pl.col("sum").is_finite()).select("sample", "pgs_id", "sum")
    found = sums.join(chosen.lazy(), on="sample", how="inner").collect()
    return found.select(pl.col(name).cast(kind) for name, kind in _COLUMNS.items())


def _given(path: Path | None) -> list[pl.DataFrame]:
    if path is None:
        return []
    if not path.is_file():
        raise InputMissing(what="the table of canaries", path=path)
    table = frames.read_parquet(path)
    known = {**_COLUMNS, "match_rate": pl.Float64()}
    return [table.select(pl.col(name).cast(kind) for name, kind in known.items() if name in table.columns)]


def _judged(stood: pl.DataFrame) -> pl.DataFrame:
    if "match_rate" not in stood.columns:
        stood = stood.with_columns(match_rate=pl.lit(None, pl.Float64))
    place = pl.col("percentile")
    extreme = (place <= _EXTREME) | (place >= 100 - _EXTREME)
    scores = stood.group_by("pgs_id").agg(
        pl.len().alias("n_canary_samples"), extreme.sum().alias("n_extreme"), place.min().alias("min_percentile"),
        place.max().alias("max_percentile"), pl.col("z").abs().median().alias("median_abs_z"),
        pl.col("match_rate").median().alias("median_match_rate"),
    )  # fmt: skip
    most = pl.col("n_extreme") * 2 > pl.col("n_canary_samples")
    why = (pl.col("median_abs_z") >= _FAR) | (pl.col("median_match_rate") < _MATCHED).fill_null(value=False)
    said = pl.format("{} of {} canaries stand at an end of the distribution", "n_extreme", "n_canary_samples")
    return scores.filter(most & why).with_columns(
        flag=pl.lit(FLAG), severity=pl.lit("ERROR"), exclude_from_catalog=pl.lit(value=True), reason=said
    )


def _phi(z: pl.Series) -> pl.Series:
    return pl.Series([None if each is None else 50 * math.erfc(-each / math.sqrt(2)) for each in z], dtype=pl.Float64)
