"""What is wrong with single scores: each a line that readers of the data set know; an ERROR keeps the score out of it.

A score that is left out vanishes for every population, so an ERROR is said only where it is sure; and everything is
measured on the score's own scale, for the scales of scores lie many orders of magnitude apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.publish.audit import Finding, about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.publish.distributions import Tables
    from sluiceway.core.publish.scored import Scored

SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(), "superpopulation": pl.String(), "severity": pl.String(), "issue": pl.String(),
        "recommended_action": pl.String(), "mean": pl.Float64(), "std": pl.Float64(), "n": pl.Int64(),
        "median": pl.Float64(), "p5": pl.Float64(), "p25": pl.Float64(), "p75": pl.Float64(), "p95": pl.Float64(),
    }
)  # fmt: skip

_ACTIONS: Final = {
    "mean_nonfinite": "recompute_score", "std_nonfinite": "recompute_score", "std_zero": "do_not_use_row",
    "robust_outlier_suspected": "check_weights_and_recompute", "heavy_tail": "compare_by_percentiles",
    "quality_row_missing": "score_again", "quality_match_metadata_missing": "score_again",
    "quality_low_match_rate": "do_not_use_score", "quality_sample_count_mismatch": "recompute_distribution",
    "quality_score_mean_mismatch": "recompute_distribution", "quality_score_std_mismatch": "recompute_distribution",
    "canary_collapsed_percentile": "check_scale_and_recompute",
}  # fmt: skip
# A sum cannot differ between two people by more than twice the mass of its weights, but for baselines of weights by
# dosage that a missing call leaves out; far beyond that it is garbage.
_IMPOSSIBLE: Final = 100
_HEAVY: Final = 100
_TOLERANCE: Final = 0.01


def issues_of(tables: Tables, scored: Scored, rules: Rules, collapsed: pl.DataFrame) -> pl.DataFrame:
    """Give a line for everything that is wrong with a score.

    Args:
        tables: The tables of a panel.
        scored: What they were made of.
        rules: What is let pass.
        collapsed: The scores that canaries do not fit.
    """
    rows = tables.distributions.join(_masses(scored), on="pgs_id", how="left")
    found = [*_about_rows(rows), *_about_scores(tables, rules)]
    flagged = collapsed.select("pgs_id", issue=pl.lit("canary_collapsed_percentile"), severity=pl.lit("ERROR"))
    shaped = [_shaped(each) for each in (*found, flagged)]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *shaped]).sort("pgs_id", "issue", "superpopulation")


def left_out(issues: pl.DataFrame) -> frozenset[str]:
    """Give the scores that are kept out of the tables."""
    return frozenset(issues.filter(severity="ERROR")["pgs_id"])


def told(issues: pl.DataFrame) -> list[Finding]:
    """Give the issues as findings, one for each kind."""
    found: list[Finding] = []
    for (severity, issue), rows in issues.group_by("severity", "issue", maintain_order=True):
        scores = rows["pgs_id"].unique(maintain_order=True)
        outcome = "are left out" if severity == "ERROR" else "should be used with care"
        found += about(
            "ERROR" if severity == "ERROR" else "WARN", str(issue), f"{len(scores)} scores {outcome}", scores
        )
    return found


def _about_rows(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    mean, std, median = pl.col("mean"), pl.col("std"), pl.col("median")
    spread, mass = pl.col("p95") - pl.col("p5"), pl.col("weight_mass_matched")
    finite = mean.is_finite() & std.is_finite()
    flat = pl.col("zero_variance").fill_null(value=False) | (std <= 0)
    heavy = (spread > 0) & (pl.max_horizontal((mean - median).abs(), std) > _HEAVY * spread)
    for severity, issue, wrong in (
        ("ERROR", "mean_nonfinite", ~mean.is_finite()),
        ("ERROR", "std_nonfinite", std.is_null() | ~std.is_finite()),
        ("WARN", "std_zero", finite & flat),
        ("ERROR", "robust_outlier_suspected", finite & (pl.col("max") - pl.col("min") > _IMPOSSIBLE * mass) & ~flat),
        ("WARN", "heavy_tail", finite & heavy),
    ):
        yield rows.filter(wrong).with_columns(severity=pl.lit(severity), issue=pl.lit(issue))


def _about_scores(tables: Tables, rules: Rules) -> Iterator[pl.DataFrame]:
    quality = tables.quality
    odd = quality.filter(pl.col("status") != "ok")
    graver = pl.when(pl.col("status") == "failed").then(pl.lit("ERROR")).otherwise(pl.lit("WARN"))
    yield odd.with_columns(severity=graver, issue=pl.lit("quality_status_") + pl.col("status"))
    there = _pooled(tables.distributions).join(quality, on="pgs_id", how="left")
    unknown = pl.col("match_rate").is_null()
    std, off = pl.col("score_std"), _TOLERANCE * pl.col("score_std")
    comparable = std.is_finite() & (std > 0)
    for severity, issue, wrong in (
        ("WARN", "quality_row_missing", pl.col("status").is_null()),
        ("WARN", "quality_match_metadata_missing", pl.col("status").is_not_null() & unknown),
        ("ERROR", "quality_low_match_rate", pl.col("match_rate") < rules.match_rate),
        ("ERROR", "quality_sample_count_mismatch", pl.col("n_samples") != pl.col("n")),
        ("ERROR", "quality_score_mean_mismatch", comparable & ((pl.col("score_mean") - pl.col("mean")).abs() > off)),
        ("ERROR", "quality_score_std_mismatch", comparable & ((std - pl.col("std")).abs() > off)),
    ):
        yield there.filter(wrong).with_columns(severity=pl.lit(severity), issue=pl.lit(issue))


def _pooled(distributions: pl.DataFrame) -> pl.DataFrame:
    """Put a score's populations together; from deviations, for a difference of squares would cancel."""
    n, mean, std = pl.col("n").cast(pl.Int64), pl.col("mean"), pl.col("std")
    together = (n * mean).sum() / n.sum()
    within, between = ((n - 1) * std**2).sum(), (n * (mean - together) ** 2).sum()
    squares = (within + between) / (n.sum() - 1)
    return distributions.group_by("pgs_id").agg(n.sum().alias("n"), together.alias("mean"), squares.sqrt().alias("std"))


def _masses(scored: Scored) -> pl.DataFrame:
    return scored.quality.select("pgs_id", "weight_mass_matched").unique("pgs_id", keep="first")


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    action = pl.col("issue").replace_strict(_ACTIONS, default="see_reason_in_quality", return_dtype=pl.String)
    rows = rows.with_columns(action.alias("recommended_action"))
    lacking = [name for name in SCHEMA if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, SCHEMA[name]).alias(name) for name in lacking)
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
