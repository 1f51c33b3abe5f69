"""The tables of the data set of distributions, under the names and in the types that its readers know.

Sums are never averaged. `{panel}_distributions` has the sums of just-prs's policy over everybody of a population, as
its readers expect; `{panel}_distributions_v2` has those of our own policy over every group there is. Our own columns
stand behind those that readers know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.publish.scored import People, Results, Scored

CODINGS: Final = {1: "copies", 2: "dosage_compensation"}
"""What a man's one copy of X counts: one allele, or two as a woman's."""

STATISTICS: Final = ("mean", "std", "n", "median", "p5", "p25", "p75", "p95")
_RENAMED: Final = {"p05": "p5", "p50": "median"}
_EFFECTS: Final = tuple(
    f"{metric}_{part}" for metric in ("auroc", "or", "hr", "cindex") for part in ("estimate", "ci_lower", "ci_upper")
)
ENRICHED: Final = {
    **dict.fromkeys(("name", "trait_reported", "trait_efo", "trait_efo_id", "genome_build"), pl.String()),
    "n_variants": pl.Int64(),
    "pgp_id": pl.String(),
    "pmid": pl.Int64(),
    **dict.fromkeys(_EFFECTS, pl.Float64()),
    "ancestry_broad": pl.String(),
    "n_individuals": pl.Int64(),
    "abs_risk_at_mean": pl.Float64(),
    "abs_risk_method": pl.String(),
    "abs_risk_prevalence": pl.Float64(),
}
"""What is known of a score beside its distribution; null where it is not known."""

QUALITY: Final = {
    "pgs_id": pl.String(), "status": pl.String(), "variants_total": pl.Int64(), "variants_matched": pl.Int64(),
    "match_rate": pl.Float64(), "n_samples": pl.Int64(), "score_mean": pl.Float64(), "score_std": pl.Float64(),
    "elapsed_sec": pl.Float64(), "error": pl.String(),
}  # fmt: skip
_PGS_ID: Final = r"^PGS\d{6}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the scores: their metadata, and the md5 of the file of each that was scored."""

    scores: pl.DataFrame
    best: pl.DataFrame
    md5: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of one panel before anything is left out; each row still says whether its spread is nothing."""

    distributions: pl.DataFrame
    by_sex: pl.DataFrame
    quality: pl.DataFrame
    v2: pl.DataFrame | None


def tables_of(results: Results, facts: Facts, rules: Rules) -> Tables:
    """Make all tables of one panel."""
    scored, own, people = results.compatible, results.own, results.people
    totals = _totals(scored, people)
    curves = _curves(scored, people)
    return Tables(
        distributions=_enriched(_main(curves, scored, totals), facts, scored),
        by_sex=_by_sex(curves),
        quality=_quality(scored, totals, rules),
        v2=None if own is None else _enriched(_own(own, people), facts, own),
    )


def _curves(scored: Scored, people: People) -> pl.DataFrame:
    """Give the distributions in the populations that are published, under the names that readers know."""
    label = pl.col("population").replace_strict(people.labels, default=None, return_dtype=pl.String)
    named = scored.distributions.with_columns(superpopulation=label).rename(_RENAMED)
    wanted = pl.col("superpopulation").is_not_null() & pl.col("pgs_id").str.contains(_PGS_ID)
    return named.filter(wanted & pl.col("mean").is_not_null())


def _main(curves: pl.DataFrame, scored: Scored, totals: pl.DataFrame) -> pl.DataFrame:
    key = ["pgs_id", "superpopulation"]
    # Readers compare with everybody of a population, men's X counted as two copies.
    main = curves.filter((pl.col("coding") == 2) | pl.col("coding").is_null(), sex="all")
    unrelated = main.filter(subset="unrelated").select(*key, pl.col("n").alias("n_unrelated"))
    ours = main.filter(subset="all").select(
        *key, *STATISTICS, "min", "max", _coding(), *_tails(), "skew", "zero_variance",
        pl.lit(scored.policy.missing).alias("missing_policy"), pl.lit("sum").alias("score_scale"),
        pl.lit(scored.panel).alias("panel_version"),
    )  # fmt: skip
    alleles = totals.select("pgs_id", "allele_ct")
    return ours.join(unrelated, on=key, how="left").join(alleles, on="pgs_id", how="left").sort(key)


def _own(scored: Scored, people: People) -> pl.DataFrame:
    """Give every group of our own distributions; everybody, with those of no population, is the population ALL."""
    label = pl.col("population").replace_strict({**people.labels, "all": "ALL"}, default=None, return_dtype=pl.String)
    named = scored.distributions.with_columns(superpopulation=label).rename(_RENAMED)
    scale = "sum" if scored.policy.copies == "plain" else f"sum of {scored.policy.copies} copies"
    wanted = pl.col("superpopulation").is_not_null() & pl.col("pgs_id").str.contains(_PGS_ID)
    return (
        named.filter(wanted & pl.col("mean").is_not_null())
        .select(
            "pgs_id", "superpopulation", "subset", "sex", _coding(), *STATISTICS, "min", "max", *_tails(), "skew",
            "percentiles", "zero_variance", pl.lit(scored.policy.missing).alias("missing_policy"),
            pl.lit(scale).alias("score_scale"),
            pl.lit(scored.panel).alias("panel_version"),
        )
        .sort("pgs_id", "superpopulation", "subset", "sex", "x_coding")
    )  # fmt: skip


def _by_sex(curves: pl.DataFrame) -> pl.DataFrame:
    """Give curves by either coding of X; a score that does not depend on it has the same curve under both names."""
    whole = curves.filter(subset="all")
    depends = whole.filter(pl.col("coding").is_not_null()).with_columns(_coding())
    same = [
        whole.filter(pl.col("coding").is_null()).with_columns(pl.lit(coding).alias("x_coding"))
        for coding in CODINGS.values()
    ]
    columns = ("pgs_id", "superpopulation", "sex", "x_coding", *STATISTICS, "zero_variance")
    return pl.concat([each.select(columns) for each in (depends, *same)]).sort(columns[:4])


def _quality(scored: Scored, totals: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    own = scored.quality.filter(pl.col("pgs_id").str.contains(_PGS_ID)).unique("pgs_id", keep="first")
    joined = own.join(totals, on="pgs_id", how="left").rename({"rows": "variants_total", "matched": "variants_matched"})
    low = pl.col("match_rate").fill_null(0) < rules.low_match
    graver = pl.col("status").is_in(["failed", "zero_variance"])
    status = pl.when(graver).then("status").when(low).then(pl.lit("low_match")).otherwise(pl.lit("ok"))
    told = joined.with_columns(status.alias("status"), error=pl.when(status == "failed").then("reason"))
    return (
        told.with_columns(elapsed_sec=None)
        .select(pl.col(name).cast(kind) for name, kind in QUALITY.items())
        .sort("pgs_id")
    )


def _totals(scored: Scored, people: People) -> pl.DataFrame:
    """Add up everybody's sums, from the people themselves: what the distributions are later held against."""
    labelled = people.table.lazy().select("sample")
    value = pl.col("sum").fill_nan(None).drop_nulls()
    # A score's values one after another: what several threads add up differs in its last digits by how many they are.
    each = (
        scored.sums.join(labelled, on="sample", how="semi", maintain_order="left")
        .group_by("pgs_id", maintain_order=True)
        .agg(value, pl.col("allele_ct").max())
    )
    values = pl.col("sum").list
    return (
        each.select(
            "pgs_id", values.len().cast(pl.Int64).alias("n_samples"), values.mean().alias("score_mean"),
            values.std().alias("score_std"), "allele_ct",
        )
        .sort("pgs_id")
        .collect()
    )  # fmt: skip


def _enriched(table: pl.DataFrame, facts: Facts, scored: Scored) -> pl.DataFrame:
    """Add what is known of each score, then our own columns; readers choose columns by name."""
    scores = _known(facts.scores, ("ancestry_broad", "n_individuals", *_EFFECTS), keep=False)
    best = _known(facts.best, ("ancestry_broad", "n_individuals", *_EFFECTS), keep=True)
    told = table.join(scores, on="pgs_id", how="left").join(best, on="pgs_id", how="left")
    told = told.with_columns(pl.lit(None, kind).alias(name) for name, kind in ENRICHED.items() if name not in told)
    told = told.with_columns(pl.col(name).cast(kind) for name, kind in ENRICHED.items())
    md5 = pl.col("pgs_id").replace_strict(dict(facts.md5), default=None, return_dtype=pl.String)
    told = told.join(scored.variant_sets(), on="pgs_id", how="left").with_columns(scoring_file_md5=md5)
    groups = [name for name in ("pgs_id", "superpopulation", "subset", "sex") if name in table.columns]
    first = [*groups, *STATISTICS, *ENRICHED]
    return told.select(*first, pl.exclude(first)).sort(*groups, "x_coding")


def _known(table: pl.DataFrame, names: tuple[str, ...], *, keep: bool) -> pl.DataFrame:
    wanted = [name for name in ENRICHED if name in table.columns and (name in names) is keep]
    return table.select("pgs_id", *wanted).unique("pgs_id", keep="first")


def _coding() -> pl.Expr:
    """Say how men's X counts; nothing where a score does not depend on it."""
    return pl.col("coding").replace_strict(CODINGS, default=None, return_dtype=pl.String).alias("x_coding")


def _tails() -> tuple[pl.Expr, pl.Expr]:
    tables = pl.col("percentiles").list
    return tables.get(1).alias("p1"), tables.get(99).alias("p99")
