"""What must hold in every release, whatever its scores are; where it does not, our own work is wrong: that blocks."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.publish.audit import Finding, about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.publish.distributions import Tables
    from sluiceway.core.publish.scored import People, Scored

_ROW: Final = ("pgs_id", "superpopulation")
_QUANTILES: Final = ("min", "p5", "p25", "median", "p75", "p95", "max")
_PERCENTS: Final = (5, 25, 50, 75, 95)
# In units of the score's own spread, and of its largest value for what rounding alone does.
_OFF: Final = 1e-6
_ROUNDING: Final = 1e-12


def broken(tables: Tables, scored: Scored, people: People, rules: Rules) -> list[Finding]:
    """Give every invariant that does not hold; each of them blocks."""
    return [
        *_rows(tables.distributions, _ROW, "distributions"),
        *_populations(tables.distributions, people),
        *_ordered(tables.distributions, ("mean", *_QUANTILES), "distributions"),
        *_by_sex(tables),
        *_version_two(tables.v2, people),
        *_again(tables.distributions, scored, people, rules),
    ]


def _rows(table: pl.DataFrame, key: Sequence[str], name: str) -> list[Finding]:
    twice = table.filter(table.select(key).is_duplicated())["pgs_id"]
    return about("BLOCK", "rows_repeated", f"{name} has several rows of one score and group", twice)


def _populations(table: pl.DataFrame, people: People) -> list[Finding]:
    """Hold each count against the panel itself: no number of populations or people stands in the code."""
    sizes = people.sizes.filter(pl.col("n_panel") >= 2)
    scores = table.select("pgs_id").unique()
    full = scores.join(sizes, how="cross").join(table.select(*_ROW, "n", "n_unrelated"), on=list(_ROW), how="left")
    lacking = full.filter(pl.col("n").is_null())["pgs_id"]
    counted = full.filter(pl.col("n") != pl.col("n_panel"))["pgs_id"]
    alone = full.filter(pl.col("n_unrelated").fill_null(0) > pl.col("n_panel_unrelated"))["pgs_id"]
    odd = table.join(sizes, on="superpopulation", how="anti")["pgs_id"]
    return [
        *about("BLOCK", "population_missing", "scores lack a population that the panel has", lacking.sort()),
        *about("BLOCK", "population_unknown", "scores have a population that the panel has not", odd),
        *about("BLOCK", "people_miscounted", "a population has not as many people as the panel", counted.sort()),
        *about("BLOCK", "people_miscounted_unrelated", "there are more unrelated people than in the panel", alone),
    ]


def _ordered(table: pl.DataFrame, names: Sequence[str], where: str) -> list[Finding]:
    finite = table.filter(pl.col("mean").is_finite() & pl.col("std").is_finite())
    pairs = [pl.col(low) > pl.col(high) for low, high in pairwise(_QUANTILES)]
    outside = (pl.col("mean") < pl.col("min")) | (pl.col("mean") > pl.col("max"))
    missing = pl.any_horizontal(pl.col(name).is_null() for name in names)
    wrong = finite.filter(pl.any_horizontal(*pairs, outside, missing).fill_null(value=True))["pgs_id"]
    return about("BLOCK", "quantiles_unordered", f"quantiles in {where} are missing, or in no order", wrong)


def _by_sex(tables: Tables) -> list[Finding]:
    """Readers take a curve from either table, and must find the same."""
    both = tables.by_sex.filter(sex="all", x_coding="dosage_compensation")
    joined = tables.distributions.join(both, on=list(_ROW), how="left", suffix="_sexed")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_sexed")) for name in ("mean", "std", "n"))
    said = "the table by sex has another curve of both sexes than the table without"
    return [
        *_rows(tables.by_sex, (*_ROW, "sex", "x_coding"), "distributions_by_sex"),
        *about("BLOCK", "by_sex_differs", said, joined.filter(differs)["pgs_id"]),
    ]


def _version_two(table: pl.DataFrame | None, people: People) -> list[Finding]:
    if table is None:
        return []
    finite = table.filter(pl.col("mean").is_finite() & pl.col("std").is_finite())
    joined = finite.filter(sex="all").join(people.sizes, on="superpopulation", how="inner")
    panel = pl.when(pl.col("subset") == "all").then("n_panel").otherwise("n_panel_unrelated")
    said = "a population of distributions_v2 has not as many people as the panel"
    return [
        *_rows(table, (*_ROW, "subset", "sex", "x_coding"), "distributions_v2"),
        *_ordered(table, ("mean", *_QUANTILES), "distributions_v2"),
        *about("BLOCK", "people_miscounted_v2", said, joined.filter(pl.col("n") != panel)["pgs_id"]),
    ]


def _again(table: pl.DataFrame, scored: Scored, people: People, rules: Rules) -> list[Finding]:
    """Work some scores out again from everybody's sums, other ones in each release."""
    names = table["pgs_id"].unique().to_list()
    seed = f"{scored.panel} {scored.code} {scored.finished}"
    chosen = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[: rules.spot_checks]
    sums = scored.sums.filter(pl.col("pgs_id").is_in(chosen)).collect().join(people.table, on="sample", how="inner")
    values = {key: part["sum"].drop_nans() for key, part in sums.group_by("pgs_id", "superpopulation")}
    rows = table.filter(pl.col("pgs_id").is_in(chosen)).iter_rows(named=True)
    wrong = [row["pgs_id"] for row in rows if not _agrees(row, values.get((row["pgs_id"], row["superpopulation"])))]
    said = f"of {len(chosen)} scores that were worked out again from everybody's sums, some come out differently"
    return about("BLOCK", "spot_check_differs", said, wrong)


def _agrees(row: dict[str, float], values: pl.Series | None) -> bool:
    if values is None or len(values) != row["n"]:
        return False
    if not np.isfinite([row["mean"], row["std"]]).all():
        # Left out for that, and there is nothing to compare.
        return True
    found = np.array([values.mean(), values.std(), *np.percentile(values.to_numpy(), _PERCENTS)])
    told = np.array([row[name] for name in ("mean", "std", "p5", "p25", "median", "p75", "p95")], np.float64)
    allowed = _OFF * row["std"] + _ROUNDING * float(np.abs(values.to_numpy()).max())
    return bool((np.abs(found - told) <= allowed).all())
