"""The tables of a folder of results; docs/scoring.md names every column, and names do not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.genetics.distributions import groups_of, quality_status, summarise
from sluiceway.core.genetics.match import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.totals import ScoreResult

STATUSES: Final = ("matched", "excluded", "unmatched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A score that was asked for: its result, or why there is none."""

    pgs_id: str
    trait: str | None
    result: ScoreResult | None
    failure: str | None
    notes: tuple[str, ...] = ()


def scores_table(people: Sequence[str], scores: Sequence[Named], policy: Policy) -> pl.DataFrame:
    """Give a line per score and person."""
    schema = {
        "sample": pl.String, "pgs_id": pl.String, "sum": pl.Float64, "avg": pl.Float64, "denom": pl.UInt32,
        "allele_ct": pl.UInt32, "missing_ct": pl.UInt32,
    }  # fmt: skip
    sample, coding = pl.Series("sample", people, pl.String), policy.male_x
    called = pl.col(f"alleles_{coding}") - pl.col(f"missing_alleles_{coding}")
    denominator = called if policy.missing == "skip" else pl.col(f"alleles_{coding}")
    tables = [
        each.result.people.select(
            sample,
            pl.lit(each.pgs_id).alias("pgs_id"),
            pl.col(f"sum_{coding}").alias("sum"),
            pl.when(denominator > 0).then(pl.col(f"sum_{coding}") / denominator).alias("avg"),
            denominator.alias("denom"),
            called.alias("allele_ct"),
            pl.col("missing").alias("missing_ct"),
        )
        for each in scores
        if each.result is not None
    ]
    return pl.concat([pl.DataFrame(schema=schema), *tables])


def distributions_table(samples: pl.DataFrame, scores: Sequence[Named], policy: Policy) -> pl.DataFrame:
    """Give a line per score and group of people; for scores that depend on sex by either coding, and by sex too."""
    there = [each for each in scores if each.result is not None]
    tables = []
    for sex_linked in (False, True):
        chosen = [each for each in there if each.result is not None and each.result.is_sex_linked is sex_linked]
        for coding in (1, 2) if sex_linked else (policy.male_x,):
            groups = groups_of(samples, sex_linked=sex_linked, coding=coding if sex_linked else None)
            sums = [each.result.people[f"sum_{coding}"].to_numpy() for each in chosen if each.result is not None]
            scales = [_mass(each.result, "matched") for each in chosen if each.result is not None]
            matrix = np.array(sums, np.float64).reshape(len(chosen), samples.height)
            tables.append(summarise([each.pgs_id for each in chosen], matrix, groups, scales=np.array(scales)))
    return pl.concat(tables)


def quality_table(scores: Sequence[Named], distributions: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Give a line per score that was asked for: whether it can be relied on, and what became of its rows."""
    everybody = (pl.col("population") == "all") & (pl.col("subset") == "all") & (pl.col("sex") == "all")
    flat = distributions.filter(everybody).group_by("pgs_id").agg(pl.col("zero_variance").all())
    is_flat = dict(flat.select("pgs_id", "zero_variance").iter_rows())
    lines = [_quality(each, policy, zero_variance=is_flat.get(each.pgs_id)) for each in scores]
    return pl.DataFrame(lines, infer_schema_length=None, schema_overrides={"reason": pl.String, "trait": pl.String})


def _quality(score: Named, policy: Policy, *, zero_variance: bool | None) -> dict[str, object]:
    result = score.result
    rows = sum(result.reasons.values()) if result else None
    counts = {status: _count(result, status) if result else None for status in STATUSES}
    rate = counts["matched"] / rows if rows and counts["matched"] is not None else None
    mass = sum(result.mass.values()) if result else None
    matched_mass = _mass(result, "matched") if result else None
    status, reason = quality_status(
        match_rate=rate, min_overlap=policy.min_overlap, zero_variance=zero_variance, failure=score.failure
    )
    return {
        "pgs_id": score.pgs_id,
        "trait": score.trait,
        "status": status.value,
        "reason": reason,
        "rows": rows,
        **counts,
        "match_rate": rate,
        "weight_mass": mass,
        "weight_mass_matched": matched_mass,
        "weight_mass_missing": result.missing_mass if result else None,
        "coverage": matched_mass / mass if mass and matched_mass is not None else None,
        "variants_used": sum(result.used.values()) if result else None,
        "sex_linked": result.is_sex_linked if result else None,
        "notes": "; ".join(score.notes),
        **{f"rows_{each.name.lower()}": result.reasons[each.name.lower()] if result else None for each in Reason},
    }


def _count(result: ScoreResult, status: str) -> int:
    return sum(result.reasons[each.name.lower()] for each in Reason if each.status == status)


def _mass(result: ScoreResult, status: str) -> float:
    return sum(result.mass[each.name.lower()] for each in Reason if each.status == status)
