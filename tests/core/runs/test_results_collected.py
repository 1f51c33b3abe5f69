"""Results of scores from their making to the trash and back, as somebody does it at the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sluiceway.cli import app
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from tests.core.runs.test_refresh import invented, site, upstream
from tests.refreshing import Site

__all__ = ["invented", "site", "upstream"]

# A panel is made, and scored several times.
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(place: Path) -> Path:
    """A folder with a home, a panel, and scores."""
    make_panel(place / "panel", variants=1_000, people=30)
    make_scores(place / "scores", place / "panel")
    return place


def scored(place: Path, out: str, limit: int | None = None) -> Summary:
    asked = Asked(
        panel=place / "panel", scores=(place / "scores",), out=place / out, workers=1, memory="1G", limit=limit
    )
    return ReferenceScoring(asked, clock=SystemClock()).run()


def collected(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["gc", "--grace", "0d", "--json", *words])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_results_go_with_the_last_output_that_needs_them_and_come_back_with_one(folder: Path) -> None:
    """Red on: core/runs/reference_scoring.py: `self.want(planned, also=False)` -> `pass`."""
    first = scored(folder, "all")
    n_results = first.n_total - first.n_failed
    few = scored(folder, "few", limit=2)
    assert (few.n_cached, collected("--do")["results"]["kept"]) == (few.n_total - few.n_failed, n_results)
    scored(folder, "all", limit=2)
    told = collected()["results"]
    assert len(told["trashed"]) == n_results - few.n_cached > 0
    assert collected("--do")["results"]["trashed"] == told["trashed"]
    again = scored(folder, "all")
    # What went is scored anew, as if it had never been there.
    assert again.n_cached == few.n_cached
    for name in ("all", "few"):
        shutil.rmtree(folder / name)
    assert len(collected("--do")["results"]["trashed"]) == n_results
    (key, *_) = told["trashed"]
    assert CliRunner().invoke(app, ["gc", "--restore", key]).exit_code == 0
    assert scored(folder, "back").n_cached == 1


def test_results_stay_while_a_folder_of_before_their_lists_is_there(folder: Path) -> None:
    """Red on: core/runs/references.py: `if place not in known and _recipe_of(place) == SCORES:` -> `if False:`."""
    scored(folder, "old", limit=2)
    shutil.rmtree(folder / "home" / "store" / "wanted")
    assert collected("--do")["results"] is None
    scored(folder, "old", limit=2)
    assert collected("--do")["results"]["trashed"] == []


def test_results_of_a_refresh_stay_until_its_folder_goes(site: Site) -> None:
    """Red on: core/runs/references.py: `for each in folders if` -> `for each in () if`."""
    site.run()
    kept = collected("--do")["results"]
    assert (kept["trashed"], kept["kept"] > 0) == ([], True)
    for each in site.out.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
    assert collected("--do")["results"]["trashed"] == []
    shutil.rmtree(site.out)
    assert len(collected("--do")["results"]["trashed"]) == kept["kept"]
