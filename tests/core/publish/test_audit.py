"""What an audit sees: each thing that can be wrong with a release is made wrong, and has to be named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sluiceway.core.publish import canaries, invariants
from sluiceway.core.publish.audit import Rules
from sluiceway.core.publish.comparison import Before, moved, told
from sluiceway.core.publish.distributions import Tables, tables_of
from sluiceway.core.publish.issues import issues_of
from sluiceway.core.publish.review import Against, Reviewed, reviewed
from sluiceway.core.publish.scored import Results
from tests.core.publish.conftest import Scenery

FIRST = (pl.col("pgs_id") == "PGS900001") & (pl.col("superpopulation") == "EAST")
NO_FLAGS = pl.DataFrame(schema=canaries.SCHEMA)
MADE_WITH = {"panel": "p", "policy": "q", "code": "c"}
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def results(scenery: Scenery) -> Results:
    return scenery.read()


@pytest.fixture(scope="module")
def tables(scenery: Scenery, results: Results) -> Tables:
    return tables_of(results, scenery.facts(), Rules())


@pytest.fixture(scope="module")
def seen(scenery: Scenery, results: Results) -> Reviewed:
    return reviewed("demo", results, scenery.facts(), Rules(), Against())


def put(value: pl.Expr | float, column: str) -> Change:
    """Change a column in one row."""
    wanted = value if isinstance(value, pl.Expr) else pl.lit(value)
    return lambda table: table.with_columns(pl.when(FIRST).then(wanted).otherwise(column).alias(column))


def test_nothing_blocks_a_release_that_is_right(seen: Reviewed) -> None:
    assert seen.audit.blocking == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda table: pl.concat([table, table.filter(FIRST)]), "rows_repeated"),
        (lambda table: table.filter(~FIRST), "population_missing"),
        (lambda table: table.with_columns(superpopulation=pl.col("superpopulation") + "X"), "population_unknown"),
        (put(pl.col("n") + 1, "n"), "people_miscounted"),
        (put(pl.col("n_unrelated") + 100, "n_unrelated"), "people_miscounted_unrelated"),
        (put(pl.col("p95") + 1, "p75"), "quantiles_unordered"),
        (put(pl.lit(None, pl.Float64), "p5"), "quantiles_unordered"),
        (put(pl.col("max") + 1, "mean"), "quantiles_unordered"),
        (put(pl.col("std") * 1.001, "std"), "by_sex_differs"),
        (put(pl.col("std") * (1 + 1e-5), "std"), "spot_check_differs"),
        (put(pl.col("median") + pl.col("std") * 1e-5, "median"), "spot_check_differs"),
    ],
)
def test_a_broken_invariant_blocks(tables: Tables, results: Results, change: Change, code: str) -> None:
    changed = replace(tables, distributions=change(tables.distributions))
    found = invariants.broken(changed, results.compatible, results.people, Rules())
    assert code in {each.code for each in found if each.severity == "BLOCK"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda table: table.with_columns(n=pl.col("n") + 1), "people_miscounted_v2"),
        (lambda table: table.with_columns(median=pl.col("p5") - 1), "quantiles_unordered"),
        (lambda table: pl.concat([table, table.head(1)]), "rows_repeated"),
    ],
)
def test_our_own_tables_are_held_to_the_same(tables: Tables, results: Results, change: Change, code: str) -> None:
    assert tables.v2 is not None
    changed = replace(tables, v2=change(tables.v2))
    found = invariants.broken(changed, results.compatible, results.people, Rules())
    assert code in {each.code for each in found}


@pytest.mark.parametrize(
    ("change", "issue", "severity"),
    [
        (put(float("inf"), "mean"), "mean_nonfinite", "ERROR"),
        (put(float("nan"), "std"), "std_nonfinite", "ERROR"),
        (lambda table: table.with_columns(zero_variance=FIRST | pl.col("zero_variance")), "std_zero", "WARN"),
        (put(1e30, "max"), "robust_outlier_suspected", "ERROR"),
        (put(pl.col("p95") + 1000 * (pl.col("p95") - pl.col("p5")), "mean"), "heavy_tail", "WARN"),
        (put(pl.col("mean") + 3 * pl.col("std"), "mean"), "quality_score_mean_mismatch", "ERROR"),
        (put(pl.col("std") * 3, "std"), "quality_score_std_mismatch", "ERROR"),
        (put(pl.col("n") + 1, "n"), "quality_sample_count_mismatch", "ERROR"),
    ],
)
def test_what_is_wrong_with_a_score_is_an_issue(
    tables: Tables, results: Results, change: Change, issue: str, severity: str
) -> None:
    changed = replace(tables, distributions=change(tables.distributions))
    found = issues_of(changed, results.compatible, Rules(), NO_FLAGS)
    assert (issue, severity) in set(found.filter(pgs_id="PGS900001").select("issue", "severity").iter_rows())


@pytest.mark.parametrize("scale", [1e-18, 1e12])
def test_no_scale_of_weights_makes_a_score_wrong_or_right(tables: Tables, results: Results, scale: float) -> None:
    """Scores' scales lie many orders of magnitude apart; a threshold that is a number would condemn the small ones."""
    names = ["mean", "std", "median", "p5", "p25", "p75", "p95", "min", "max"]
    scaled = tables.distributions.with_columns(pl.col(names) * scale)
    quality = tables.quality.with_columns(pl.col("score_mean", "score_std") * scale)
    heavy = results.compatible.quality.with_columns(pl.col("weight_mass_matched") * scale)
    compatible = replace(results.compatible, quality=heavy)
    before = issues_of(tables, results.compatible, Rules(), NO_FLAGS)
    after = issues_of(replace(tables, distributions=scaled, quality=quality), compatible, Rules(), NO_FLAGS)
    named = ("pgs_id", "superpopulation", "issue")
    assert after.select(named).equals(before.select(named))


def test_tables_of_averages_are_seen_by_the_canaries(tables: Tables, results: Results) -> None:
    """Red on: core/publish/canaries.py: `_FAR: Final = 6.0` -> `_FAR: Final = 1e99`."""
    averages = tables.distributions.with_columns(pl.col("mean", "std") / 5_000)
    flags = canaries.flags_of(averages, results.compatible, results.people, Rules(), None)
    found = canaries.told(flags, averages["pgs_id"].n_unique(), Rules())
    assert [(each.severity, each.code) for each in found] == [("BLOCK", "canaries_collapsed")]
    assert flags["exclude_from_catalog"].all()


def test_people_with_known_sums_condemn_the_score_that_they_do_not_fit(
    scenery: Scenery, results: Results, tmp_path: Path
) -> None:
    known = pl.DataFrame(
        {
            "sample": [f"genome{number}" for number in range(40)],
            "superpopulation": "EAST",
            "pgs_id": "PGS900001",
            "sum": np.linspace(1e5, 2e5, 40),
            "match_rate": 0.9,
        }
    )
    known.write_parquet(tmp_path / "canaries.parquet")
    against = Against(canaries=tmp_path / "canaries.parquet")
    seen = reviewed("demo", results, scenery.facts(), Rules(collapsed=0.5), against)
    assert seen.audit.flags["pgs_id"].to_list() == ["PGS900001"]
    assert "PGS900001" not in seen.tables["distributions"]["pgs_id"]
    assert "canary_collapsed_percentile" in seen.audit.issues.filter(pgs_id="PGS900001")["issue"]


@pytest.mark.parametrize(
    ("change", "made_with", "why", "severity"),
    [
        (put(pl.col("mean") + pl.col("std") / 100, "mean"), {}, "nothing that is known", "BLOCK"),
        (put(pl.col("std") * 1.01, "std"), {"code": "old"}, "our code changed", "BLOCK"),
        (put(pl.col("n") + 1, "n"), {"panel": "old"}, "the panel changed", "WARN"),
        (put(pl.col("mean") + 1, "mean"), {"policy": "old"}, "the policy changed", "WARN"),
        (
            lambda table: put(pl.col("mean") + 1, "mean")(table).with_columns(
                variant_set_hash=pl.when(FIRST).then(pl.lit("old")).otherwise("variant_set_hash")
            ),
            {}, "its scoring file was revised", "WARN",
        ),
    ],
)  # fmt: skip
def test_a_score_that_moved_has_its_reason_or_keeps_the_release_back(
    seen: Reviewed, change: Change, made_with: dict[str, str], why: str, severity: str
) -> None:
    now = seen.tables["distributions"]
    before = Before(distributions=change(now), made_with={**MADE_WITH, **made_with})
    found = moved(now, MADE_WITH, before, {})
    assert found.select("pgs_id", "kind", "why").rows() == [("PGS900001", "moved", why)]
    assert [each.severity for each in told(found, Rules())] == [severity]


def test_moves_by_our_code_pass_once_somebody_accepts_them(seen: Reviewed) -> None:
    now = seen.tables["distributions"]
    before = Before(distributions=put(pl.col("mean") + 1, "mean")(now), made_with={**MADE_WITH, "code": "old"})
    found = told(moved(now, MADE_WITH, before, {}), Rules(accept_moved=True))
    assert [each.severity for each in found] == ["WARN"]


def test_what_came_and_went_is_told_with_its_reason(seen: Reviewed) -> None:
    now = seen.tables["distributions"]
    old = pl.concat(
        [now.filter(pl.col("pgs_id") != "PGS900001"), now.filter(FIRST).with_columns(pgs_id=pl.lit("PGS1"))]
    )
    found = moved(now, MADE_WITH, Before(distributions=old, made_with=MADE_WITH), {"PGS1": "it failed: x"})
    assert found.select("pgs_id", "kind", "why").rows() == [
        ("PGS1", "withdrawn", "it failed: x"),
        ("PGS900001", "added", "it was not published before"),
    ]
