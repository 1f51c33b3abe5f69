from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from sluiceway.core.report.reasons import REASONS, STATUSES
from sluiceway.core.report.scoring import PICTURES, TABLES, ScoringReport, render
from tests.core.report.builders import SPREAD, distributions, nothing, quality, report

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """A page as a reader meets it: its text, its ids and links, what it loads, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.ids, self.links, self.loads = "", [""], [""], [""]
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in VOID or tag in {"path", "circle", "rect"} else [tag]
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if (tag, name) == ("a", "href") else []
            self.loads += [value or ""] if name in {"src", "srcset", "data"} or (tag, name) == ("link", "href") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "circle", "rect"}:
            assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if not set(self.open) & {"style", "script"}:
            self.text += f" {text}"


def page(*scores: dict[str, Any], **changes: Any) -> Page:
    return Page(render(report(*scores, **changes)))


def test_the_page_loads_nothing_and_is_whole() -> None:
    html = render(report(quality("PGS1"), nothing("PGS2", "line 3 is cut off")))
    found = Page(html)
    assert found.open == []
    assert set(found.loads) == {"", "data:,"}
    assert not re.search(r"url\(|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)", html)


def test_every_link_leads_to_a_part_of_the_page() -> None:
    found = page(quality("PGS1"), quality("PGS2"))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_the_summary_counts_scores_people_and_populations() -> None:
    scores = [quality("PGS1"), quality("PGS2", status="low_match", reason="half"), nothing("PGS3", "cut off")]
    text = page(*scores).text
    assert "Scores 3 1 without a remark People 6 5 unrelated Populations 2" in text
    assert "Rows matched 70.0% of 20 rows Weight covered 80.0%" in text
    assert all(f"{STATUSES[name][1]} 1" in text for name in ("ok", "low_match", "failed"))


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_are_announced_and_real_ones_are_not(synthetic: bool) -> None:
    assert ("These data are synthetic" in page(quality("PGS1"), synthetic=synthetic).text) is synthetic


def test_a_score_that_failed_is_listed_with_its_reason() -> None:
    assert "PGS2 line 3 is cut off" in page(quality("PGS1"), nothing("PGS2", "line 3 is cut off")).text


def test_a_page_without_trouble_says_so() -> None:
    assert "None: every score matched well enough" in page(quality("PGS1")).text


def test_each_reason_that_befell_a_row_is_explained_and_no_other() -> None:
    text = page(quality("PGS1")).text
    befallen = {"exact", "ambiguous", "not_in_panel"}
    assert {name for name, words in REASONS.items() if words.text in text} == befallen
    assert "strand cannot be told excluded 1 10.0% 1" in text


def test_a_reason_not_known_here_is_told_by_its_name() -> None:
    assert "not yet thought of other 2" in page(quality("PGS1", rows_not_yet_thought_of=2)).text


@pytest.mark.parametrize(("male_x", "median"), [(1, 4.0), (2, 8.0)])
def test_a_score_with_x_is_told_of_as_the_policy_counts_men(male_x: int, median: float) -> None:
    by_coding = [distributions("PGS1", [each * coding for each in SPREAD], coding=coding) for coding in (1, 2)]
    text = page(quality("PGS1"), distributions=pl.concat(by_coding), policy={"male_x": male_x}).text
    assert f"median {median:.0f} " in text
    assert f"median {12 - median:.0f} " not in text


def test_rows_without_a_reason_are_shown_as_such() -> None:
    assert "no reason told: 5" in page(quality("PGS1", rows=15)).text


def test_the_heaviest_rows_left_out_come_first_and_matched_ones_do_not_come() -> None:
    matches = pl.DataFrame(
        {"pgs_id": ["PGS1"] * 3, "reason": ["exact", "ambiguous", "not_in_panel"], "weight": [9.0, 0.5, -2.0]}
    )
    text = page(quality("PGS1"), matches=matches).text
    assert "pgs id reason weight PGS1 not in the panel -2.0 PGS1 strand cannot be told 0.5" in text


def test_provenance_shows_key_versions_policy_and_panel() -> None:
    text = page(quality("PGS1")).text
    assert "content_key sha256:0ba9 versions numpy 2.4.0" in text
    assert "min_overlap 0.75 flip yes" in text
    assert "digest sha256:77" in text


@pytest.mark.parametrize("column", ["pgs_id", "trait", "reason"])
def test_a_score_cannot_put_a_script_on_the_page(column: str) -> None:
    score = quality("PGS1", status="low_match", reason="half") | {column: HOSTILE}
    found = page(score)
    assert found.tags.count("script") == 1
    assert HOSTILE in found.text


@pytest.mark.parametrize(
    "changes",
    [
        {"title": HOSTILE},
        {"manifest": {HOSTILE: [{HOSTILE: HOSTILE}]}},
        {"panel": {"name": HOSTILE}},
        {"matches": pl.DataFrame({HOSTILE: [HOSTILE], "reason": [HOSTILE], "weight": [1.0]})},
    ],
)
def test_what_stands_around_the_scores_cannot_either(changes: dict[str, Any]) -> None:
    assert page(quality("PGS1"), **changes).tags.count("script") == 1


def test_nothing_but_failures_is_a_page_too() -> None:
    assert "PGS1 cut off" in page(nothing("PGS1", "cut off")).text


def test_a_page_of_many_scores_stays_small_and_says_what_it_leaves_out() -> None:
    many = report(*(quality(f"PGS{number:06}") for number in range(PICTURES + 5)))
    html = render(many)
    assert html.count("Distribution of ") == PICTURES
    assert (
        f"The first {PICTURES} scores have pictures; the others, up to {TABLES}, have their figures." in Page(html).text
    )
    assert len(html) / (PICTURES + 5) < 15_000


def test_the_same_report_is_the_same_page() -> None:
    def one() -> ScoringReport:
        return report(quality("PGS1"), quality("PGS2"))

    assert render(one()) == render(one())
