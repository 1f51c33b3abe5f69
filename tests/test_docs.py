"""The documents tell the truth: no dead link, and what they list is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluiceway import cli
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def links() -> list[tuple[Path, str]]:
    found = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    return [(page, link) for page, link in found if not link.startswith(("http:", "https:", "mailto:"))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "link"), links(), ids=lambda value: getattr(value, "name", value))
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    place, _, anchor = link.partition("#")
    target = (page.parent / place).resolve() if place else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize("marker", ["wire", "engine", "cluster", "slow", "nightly", "plink2", "browser", "postgres"])
def test_each_marker_is_documented(marker: str) -> None:
    assert f"`{marker}`" in (ROOT / "CONTRIBUTING.md").read_text()


def test_each_exit_code_of_the_command_line_is_documented() -> None:
    codes = set(re.findall(r"(\d+) [a-z]", (cli.__doc__ or "").partition("Exit codes:")[2]))
    assert codes == set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE))


def test_each_core_file_stands_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    files = [path for path in (ROOT / "core").rglob("*.py") if path.name != "__init__.py"]
    assert [path.name for path in files if path.name not in text] == []


def test_a_decision_takes_five_lines_at_most() -> None:
    decisions = re.split(r"^## ", (ROOT / "docs" / "decisions.md").read_text(), flags=re.MULTILINE)[1:]
    assert [each.splitlines()[0] for each in decisions if len(each.strip().splitlines()) > 7] == []
