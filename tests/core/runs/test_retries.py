"""What failed is a row with its reason, and is tried again as often as it may be, over however many runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.library import Library
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import BROKEN, make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.planned import Planned
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from sluiceway.core.store.objects import ObjectStore
from tests.conftest import User


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=2_000, people=20)
    make_scores(folder / "scores", folder / "panel")
    return folder


@pytest.fixture
def place(user: User, synthetic: Path) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    (user.folder / "scores").mkdir()
    for file in sorted((synthetic / "scores").iterdir())[:3]:
        shutil.copy(file, user.folder / "scores")
    return user.folder


def scoring(synthetic: Path, place: Path, **changes: object) -> ReferenceScoring:
    asked = {"panel": synthetic / "panel", "scores": (place / "scores",), "out": place / "out", **changes}
    return ReferenceScoring(Asked(**asked), clock=SystemClock())  # type: ignore[arg-type]


def run_with_one_unreadable(synthetic: Path, place: Path, **changes: object) -> tuple[Summary, list[Planned]]:
    """Lose the table and the file of the second score after they were planned."""
    run = scoring(synthetic, place, **changes)
    reference = run.prepare()
    planned = run.plan(reference)
    waiting = run.waiting(planned)
    score = planned[1].score
    assert score is not None
    aside = score.source.rename(place / "aside")
    ObjectStore(place / "cache" / "scores").remove(score.key)
    run.score(reference, waiting)
    summary = run.lay_out(reference, planned, n_cached=run.n_cached(planned, waiting))
    aside.rename(score.source)
    return summary, waiting


def test_a_score_that_cannot_be_read_fails_alone_and_is_scored_by_the_next_run(synthetic: Path, place: Path) -> None:
    summary, _ = run_with_one_unreadable(synthetic, place)
    assert (summary.n_total, summary.n_failed, summary.n_cached) == (3, 1, 0)
    assert "(attempt 1): No such file" in summary.quality["reason"][1]
    again = scoring(synthetic, place).run()
    assert (again.n_failed, again.n_cached) == (0, 2)


def test_the_budget_outlives_runs_and_is_put_aside_when_asked(synthetic: Path, place: Path) -> None:
    for attempt in (1, 2, 3):
        summary, waiting = run_with_one_unreadable(synthetic, place)
        assert f"(attempt {attempt})" in summary.quality["reason"][1]
        assert len(waiting) == (3 if attempt == 1 else 1)
    spent = scoring(synthetic, place).run()
    assert (spent.n_failed, spent.n_cached) == (1, 2)
    assert "failed 3 times, the last time because No such file" in spent.quality["reason"][1]
    run = scoring(synthetic, place)
    assert sorted(run.outlook(run.plan(run.prepare())).values()) == ["cached", "cached", "failed"]
    again = scoring(synthetic, place, retry_failed=True).run()
    assert (again.n_failed, again.n_cached) == (0, 2)
    assert scoring(synthetic, place).run().n_cached == 3


def test_a_file_that_changed_under_the_run_is_not_scored_under_its_old_name(synthetic: Path, place: Path) -> None:
    """Red on: core/catalog/library.py: `content_digest(parsed[score.part]) != score.digest` -> `False`."""
    run = scoring(synthetic, place)
    reference = run.prepare()
    planned = run.plan(reference)
    first, second = planned[0].score, planned[1].score
    assert first is not None
    assert second is not None
    ObjectStore(place / "cache" / "scores").remove(first.key)
    shutil.copy(second.source, first.source)
    run.score(reference, run.waiting(planned))
    summary = run.lay_out(reference, planned, n_cached=0)
    assert "it changed while it was used" in summary.quality["reason"][0]
    assert summary.n_failed == 1


def test_a_broken_file_is_not_parsed_again_until_it_changes(synthetic: Path, place: Path) -> None:
    """Red on: core/catalog/library.py: `if before is not None:` -> `if False:`."""
    broken, good = place / "scores" / "PGS1.txt", next((place / "scores").iterdir())
    source = next(each for each in (synthetic / "scores").iterdir() if each.name.startswith(BROKEN[-1]))
    shutil.copy(source, broken)
    first = scoring(synthetic, place).run()
    store = ObjectStore(place / "cache" / "scores")
    (note,) = (store.folder / "failures").rglob("*.json")
    before = note.stat().st_mtime_ns
    again = scoring(synthetic, place).run()
    assert again.quality.equals(first.quality)
    assert note.stat().st_mtime_ns == before
    assert scoring(synthetic, place, retry_failed=True).run().quality.equals(first.quality)
    assert note.stat().st_mtime_ns != before
    shutil.copy(good, broken)
    assert len(Library(store).load(broken)) == 1


def test_every_failure_has_a_row_with_a_reason(synthetic: Path, place: Path) -> None:
    summary, _ = run_with_one_unreadable(synthetic, place)
    failed = pl.read_parquet(place / "out" / "quality.parquet").filter(pl.col("status") == "failed")
    assert failed.height == summary.n_failed
    assert failed["reason"].null_count() == 0
