from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sluiceway.core.genetics.distributions import (
    ALL,
    SCHEMA,
    Group,
    QualityStatus,
    groups_of,
    percentile,
    quality_status,
    summarise,
)

Values = NDArray[np.float64]

PEOPLE = pl.DataFrame(
    {
        "sample": ["a", "b", "c", "d", "e", "f"],
        "sex": [1, 2, 1, 2, 0, 1],
        "population": ["EUR", "EUR", "AFR", "AFR", "AFR", None],
        "unrelated": [True, True, True, False, True, True],
    },
    schema_overrides={"sex": pl.UInt8},
)
STATISTICS = ("mean", "std", "min", "max", "skew", "p05", "p25", "p50", "p75", "p95", "percentiles", "zero_variance")


def everybody(count: int) -> Group:
    return Group(population=ALL, subset="all", sex="all", coding=None, members=np.arange(count))


def told(values: list[float], *, scale: float = 1.0) -> dict[str, Any]:
    """The one row of one score over everybody."""
    return summarise(["PGS"], np.array([values]), [everybody(len(values))], scales=np.array([scale])).row(0, named=True)


def test_each_population_is_a_group_in_whole_and_unrelated_only() -> None:
    groups = groups_of(PEOPLE, sex_linked=False)
    assert {(each.population, each.subset): each.members.tolist() for each in groups} == {
        ("all", "all"): [0, 1, 2, 3, 4, 5],
        ("all", "unrelated"): [0, 1, 2, 4, 5],
        ("AFR", "all"): [2, 3, 4],
        ("AFR", "unrelated"): [2, 4],
        ("EUR", "all"): [0, 1],
        ("EUR", "unrelated"): [0, 1],
    }


def test_a_score_with_x_is_told_of_men_and_women_too() -> None:
    groups = groups_of(PEOPLE, sex_linked=True, coding=1)
    found = {each.sex: each.members.tolist() for each in groups if (each.population, each.subset) == (ALL, "all")}
    assert found == {"all": [0, 1, 2, 3, 4, 5], "male": [0, 2, 5], "female": [1, 3]}
    assert {each.coding for each in groups} == {1}


def test_a_population_called_all_is_everybody_once() -> None:
    alike = PEOPLE.with_columns(population=pl.lit("all"))
    assert [each.subset for each in groups_of(alike, sex_linked=False)] == ["all", "unrelated"]


def test_the_table_has_a_row_for_each_score_and_group_in_the_order_given() -> None:
    groups = groups_of(PEOPLE, sex_linked=False)
    names = [f"PGS{number:06}" for number in range(130)]
    table = summarise(names, np.random.default_rng(1).normal(size=(130, 6)), groups, scales=np.ones(130))
    assert table.schema == SCHEMA
    assert table["pgs_id"].to_list() == [name for name in names for _ in groups]
    assert table["population"].to_list() == [each.population for each in groups] * 130


@pytest.mark.parametrize(("names", "groups"), [([], [everybody(3)]), (["PGS"], [])])
def test_nothing_to_tell_of_is_an_empty_table(names: list[str], groups: list[Group]) -> None:
    table = summarise(names, np.zeros((len(names), 3)), groups, scales=np.zeros(len(names)))
    assert (table.height, table.schema) == (0, SCHEMA)


VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(VALUES | st.just(math.nan), min_size=1, max_size=40))
def test_every_statistic_is_what_one_score_at_a_time_gives(values: list[float]) -> None:
    known = [each for each in values if not math.isnan(each)]
    row = told(values)
    assert row["n"] == len(known)
    if len(known) < 2:
        return
    rough = 1e-9 * max(1.0, *map(abs, known))
    assert row["mean"] == pytest.approx(statistics.fmean(known), abs=rough)
    assert row["std"] == pytest.approx(statistics.stdev(known), abs=rough)
    assert (row["min"], row["max"]) == (min(known), max(known))
    assert row["percentiles"] == pytest.approx(np.percentile(known, range(101)).tolist(), abs=rough)
    assert [row[f"p{each:02}"] for each in (5, 25, 50, 75, 95)] == [
        row["percentiles"][at] for at in (5, 25, 50, 75, 95)
    ]


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=40).filter(lambda found: len(set(found)) > 1))
def test_skew_is_the_third_moment_in_units_of_the_second(values: list[int]) -> None:
    mean = statistics.fmean(values)
    second, third = (statistics.fmean((each - mean) ** power for each in values) for power in (2, 3))
    assert told([float(each) for each in values])["skew"] == pytest.approx(third / second**1.5, abs=1e-9)


@given(st.lists(VALUES, min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_people_changes_no_digit(values: list[float], random: Any) -> None:
    assert told(random.sample(values, len(values))) == told(values)


@pytest.mark.parametrize("people", [2, 9, 129, 1_000, 9_001])
@pytest.mark.parametrize("company", [2, 7, 64, 130])
def test_a_score_has_the_same_bits_alone_and_in_company(people: int, company: int) -> None:
    rng = np.random.default_rng(people)
    sums = rng.normal(size=(company, people)) * rng.lognormal(size=(company, 1))
    sums[rng.random(sums.shape) < 0.01] = math.nan
    some = Group(
        population="EUR", subset="all", sex="all", coding=None, members=rng.permutation(people)[: people // 2 + 1]
    )
    groups, names = [everybody(people), some], [str(number) for number in range(company)]
    together = summarise(names, sums, groups, scales=np.ones(company))
    alone = [summarise([name], sums[[at]], groups, scales=np.ones(1)) for at, name in enumerate(names)]
    assert pl.concat(alone).equals(together)


@pytest.mark.parametrize("values", [[], [1.5], [1.5, math.nan], [math.nan, math.nan]])
def test_fewer_than_two_people_have_no_statistics(values: list[float]) -> None:
    row = told(values)
    assert row["n"] == sum(not math.isnan(each) for each in values)
    assert {row[column] for column in STATISTICS} == {None}


def test_a_person_without_the_score_is_left_out_of_that_score_alone() -> None:
    sums = np.array([[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]])
    table = summarise(["Y", "autosomes"], sums, [everybody(3)], scales=np.ones(2))
    assert table.select("n", "mean").rows() == [(2, 2.0), (3, 2.0)]


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1.0, 1e12, 1e150])
def test_a_score_in_any_unit_has_the_same_shape(scale: float) -> None:
    row = told([1 * scale, 2 * scale, 4 * scale], scale=scale)
    assert row["std"] / scale == pytest.approx(1.5275252)
    assert row["skew"] == pytest.approx(0.3818018)
    assert row["zero_variance"] is False


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("spread", "is_zero"), [(0.0, True), (1e-14, True), (1e-9, False)])
def test_whether_people_differ_is_judged_by_the_weights(scale: float, spread: float, is_zero: bool) -> None:
    assert told([0.1 * scale, (0.1 + spread) * scale], scale=scale)["zero_variance"] is is_zero


def test_equal_values_have_no_spread_and_no_skew_however_their_mean_is_rounded() -> None:
    row = told([0.1] * 7, scale=0.0)
    assert (row["mean"], row["std"], row["skew"], row["zero_variance"]) == (0.1, 0.0, None, True)


@pytest.mark.parametrize(
    ("value", "share"),
    [(0.5, 0.0), (1.0, 0.0), (1.5, 12.5), (2.0, 50.0), (2.5, 87.5), (3.0, 100.0), (9.0, 100.0), (-math.inf, 0.0)],
)
def test_a_value_is_placed_by_rank_and_ties_in_their_middle(value: float, share: float) -> None:
    assert percentile(value, [1.0, 2.0, 2.0, 2.0, 3.0]) == share


def test_no_value_has_no_place() -> None:
    assert math.isnan(percentile(math.nan, [1.0, 2.0]))


@given(st.lists(VALUES, min_size=2, max_size=30), VALUES, VALUES)
def test_a_higher_value_never_has_a_lower_place(table: list[float], one: float, other: float) -> None:
    low, high = (percentile(each, sorted(table)) for each in sorted((one, other)))
    assert 0 <= low <= high <= 100


@pytest.mark.parametrize(
    ("rate", "zero_variance", "failure", "status"),
    [
        (0.9, False, None, QualityStatus.OK),
        (0.75, False, None, QualityStatus.OK),
        (0.74, False, None, QualityStatus.LOW_MATCH),
        (None, None, None, QualityStatus.LOW_MATCH),
        (0.9, None, None, QualityStatus.OK),
        (0.0, True, None, QualityStatus.ZERO_VARIANCE),
        (0.9, True, "no column effect_allele", QualityStatus.FAILED),
    ],
)
def test_the_gravest_trouble_of_a_score_is_told(
    rate: float | None, zero_variance: bool | None, failure: str | None, status: QualityStatus
) -> None:
    found, reason = quality_status(match_rate=rate, min_overlap=0.75, zero_variance=zero_variance, failure=failure)
    assert found is status
    assert (reason is None) == (status is QualityStatus.OK)


# 2,504 people of 1000 Genomes, three scores, sums by two other programs.
@pytest.mark.parametrize("program", ["PGS_SUM", "PGS_SUM_alpha5"])
def test_published_sums_have_their_published_distributions(real_data: Path, program: str) -> None:
    folder = real_data / "expected" / "1000G_PGS_SUM"
    labels = tsv(folder / "labels_1000G_phase3.tsv").rename({"SuperPop": "population"})
    sums = tsv(folder / f"{program}.tsv.gz").with_columns(pl.col("PGS").str.head(9), pl.col("SUM").cast(pl.Float64))
    wide = sums.pivot("PGS", index="IID", values="SUM").join(labels, on="IID", maintain_order="left")
    names = sums["PGS"].unique().sort().to_list()
    groups = groups_of(wide.with_columns(unrelated=True), sex_linked=False)
    found = summarise(names, wide.select(names).to_numpy().T, groups, scales=np.ones(3))
    expected = tsv(folder / "distribution.tsv").filter(pl.col("table") == program)
    assert_agree(found, expected, digits=8)


def test_a_panel_with_relatives_has_its_known_distributions(real_data: Path) -> None:
    folder = real_data / "expected" / "pygscatalog_legacy"
    people = tsv(folder / "ref.psam").rename({"#IID": "IID", "SuperPop": "population"})
    related = tsv(folder / "ref.king.cutoff.id")["#IID"].implode()
    scored = tsv(folder / "aggregated_scores.txt").join(people, on="IID")
    samples = scored.with_columns(unrelated=~pl.col("IID").is_in(related))
    sums = samples["SUM"].cast(pl.Float64).to_numpy()[None]
    found = summarise(["PGS001229"], sums, groups_of(samples, sex_linked=False), scales=np.ones(1))
    expected = tsv(folder.parent / "refdist_PGS001229_1000G_HGDP.tsv").filter(pl.col("set").str.starts_with("1000G"))
    expected = expected.with_columns(
        pl.col("set").str.strip_prefix("1000G_").alias("subset"),
        pl.lit("PGS001229").alias("pgs_id"),
        pl.col("group").alias("superpop"),
    )
    assert_agree(found, expected, digits=6)


def test_a_place_in_the_table_is_the_place_among_the_people(real_data: Path) -> None:
    sums = tsv(real_data / "expected" / "1000G_PGS_SUM" / "PGS_SUM.tsv.gz")["SUM"].cast(pl.Float64).to_numpy()[:2504]
    table = told(sums.tolist())["percentiles"]
    for value in sums[::100]:
        rank = 100 * ((sums < value).mean() + (sums == value).mean() / 2)
        assert percentile(value, table) == pytest.approx(rank, abs=0.5)


def tsv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", infer_schema=False)


def assert_agree(found: pl.DataFrame, expected: pl.DataFrame, *, digits: int) -> None:
    """Every group that was expected is there, and each of its figures agrees as far as it was written out."""
    subset = expected["subset"] if "subset" in expected.columns else ["all"] * expected.height
    groups = expected.with_columns(
        pl.col("superpop").replace("ALL", ALL).alias("population"), pl.Series("subset", subset)
    ).join(found.rename({"std": "sd", "p50": "median"}), on=["pgs_id", "population", "subset"], suffix="_found")
    assert groups.height == expected.height > 0
    for column in {"n", "mean", "sd", "min", "p05", "median", "p95", "max"} & set(expected.columns):
        ours, theirs = groups[f"{column}_found"], groups[column].cast(pl.Float64)
        assert ours.to_list() == pytest.approx(theirs.to_list(), abs=0.6 * 10**-digits)
