from __future__ import annotations

from xml.etree import ElementTree as ET

import polars as pl
import pytest

from sluiceway.core.report.figures import Segment, bar_svg, distribution_svg, pictured, rates_svg
from tests.core.report.builders import SPREAD, distributions

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('1')</script>&\"|"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314


def drawn(name: str, distributions: pl.DataFrame) -> str:
    return distribution_svg(name, pictured(distributions).get("PGS1", []))


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in parsed(svg).iter(f"{SVG}text")]


def test_a_picture_has_a_hill_for_everybody_and_each_population() -> None:
    svg = drawn("PGS1", distributions("PGS1", SPREAD))
    assert len(parsed(svg).findall(f"{SVG}g")) == 3
    assert {"everybody", "AFR", "EUR", "n = 5", "n = 2", "n = 3", "median 4"} <= set(texts(svg))


def test_a_picture_of_a_score_with_x_shows_women_and_men_and_one_coding() -> None:
    both = pl.concat([distributions("PGS1", SPREAD, coding=coding) for coding in (1, 2)])
    assert [(row["population"], row["sex"], row["coding"]) for row in pictured(both)["PGS1"]] == [
        ("all", "all", 2), ("all", "female", 2), ("all", "male", 2), ("AFR", "all", 2), ("EUR", "all", 2),
    ]  # fmt: skip
    assert {"women", "men"} <= set(texts(drawn("PGS1", both)))


def test_a_panel_without_unrelated_people_is_pictured_whole() -> None:
    rows = distributions("PGS1", SPREAD).with_columns(n=pl.when(subset="unrelated").then(0).otherwise("n"))
    assert {row["subset"] for row in pictured(rows)["PGS1"]} == {"all"}


def test_each_score_of_many_is_pictured_as_it_is_alone() -> None:
    both = pl.concat([distributions("PGS2", SPREAD, coding=coding) for coding in (1, 2)])
    whole = distributions("PGS3", SPREAD).with_columns(n=pl.when(subset="unrelated").then(0).otherwise("n"))
    every = [distributions("PGS1", SPREAD), both, whole]
    assert pictured(pl.concat(every)) == {name: rows for each in every for name, rows in pictured(each).items()}


@pytest.mark.parametrize(
    ("sums", "remark"),
    [([0.5] * 6, "all the same"), ([0.0] * 6, "all the same"), ([float("nan")] * 6, "fewer than two people")],
)
def test_a_score_without_a_spread_has_a_picture_that_says_so(sums: list[float], remark: str) -> None:
    assert texts(drawn("PGS1", distributions("PGS1", sums))).count(remark) == 3


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e9, 1e200])
def test_a_picture_is_small_and_within_its_frame_in_any_unit(scale: float) -> None:
    svg = drawn("PGS1", distributions("PGS1", [each * scale for each in SPREAD]))
    assert len(svg) < 6000
    assert "nan" not in svg
    assert "inf" not in svg
    assert len([each for each in texts(svg) if each]) < 20


def test_a_picture_tells_its_figures_to_those_who_cannot_see_it() -> None:
    told = parsed(drawn("PGS1", distributions("PGS1", SPREAD))).findtext(f"{SVG}desc")
    assert told is not None
    assert "EUR: 3 people, median 5, 5 to 95 % 4.1 to 6.8" in told


def test_names_from_outside_stay_text_in_every_picture() -> None:
    rows = distributions(HOSTILE, SPREAD).with_columns(population=pl.col("population").replace("EUR", HOSTILE))
    bar = bar_svg(HOSTILE, [Segment(name=HOSTILE, amount=1, colour="#000")])
    assert not [svg for svg in (drawn(HOSTILE, rows), bar) if "<script" in svg]
    assert parsed(bar).get("aria-label") == HOSTILE


def test_the_parts_of_a_bar_fill_it() -> None:
    bar = bar_svg("rows", [Segment(name="a", amount=1, colour="#000"), Segment(name="b", amount=3, colour="#111")])
    assert [(each.get("x"), each.get("width")) for each in parsed(bar)] == [
        ("0.00", "25.00"),
        ("25.00", "75.00"),
    ]


@pytest.mark.parametrize("rates", [[], [0.0, 1.0], [0.5] * 40])
def test_every_score_is_in_the_picture_of_match_rates(rates: list[float]) -> None:
    counted = [int(each) for each in texts(rates_svg(rates, least=0.75)) if each.isdigit()]
    assert sum(counted) == len(rates)


def test_the_figures_of_a_picture_are_the_rows_of_a_table() -> None:
    rows = pictured(distributions("PGS1", SPREAD))["PGS1"]
    assert [(row["population"], row["n"], row["p50"]) for row in rows] == [
        ("all", 5, 4.0),
        ("AFR", 2, 1.5),
        ("EUR", 3, 5.0),
    ]


def test_no_rows_are_a_picture_of_nothing() -> None:
    empty = distributions("PGS1", SPREAD).clear()
    parsed(drawn("PGS1", empty))
