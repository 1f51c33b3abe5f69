"""Scores compared with plink2 by the product itself: every score that it can count agrees, a wrong sum does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sluiceway.core.errors import OthersDisagree, PackagesMissing
from sluiceway.core.genetics import results
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.provenance import manifest
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from tests.conftest import Missing, User

EVERY = 99
POLICIES: dict[str, dict[str, object]] = {
    "defaults": {},
    "skip": {"missing": "skip"},
    "zero": {"missing": "zero", "multiallelic": "keep"},
    "one copy": {"male_x": 1, "multiallelic": "keep", "duplicates": "sum"},
    "dosages": {"genotypes": "dosages"},
    "centred": {"copies": "centred", "missing": "skip"},
    "every allele": {"no_other_allele": "every", "ambiguous": "keep", "duplicates": "sum", "missing": "skip"},
}


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panel with dosages, which plink2 prefers wherever it is not kept from them."""
    folder = tmp_path_factory.mktemp("invented")
    make_panel(folder / "panel", variants=6_000, people=100, dosages=True)
    make_scores(folder / "scores", folder / "panel")
    return folder


@pytest.fixture
def home(user: User) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user.folder


@pytest.fixture
def _plink2(missing: Missing) -> None:
    if shutil.which("plink2") is None:
        missing.part("plink2", why="there is no plink2", get="apt-get install plink2")


def run(invented: Path, home: Path, policy: dict[str, object] | None = None, *, most: int = EVERY) -> Summary:
    asked = Asked(
        panel=invented / "panel",
        scores=(invented / "scores",),
        out=home / "out",
        policy=Policy.model_validate(policy or {}),
        compare="plink2",
        compare_most=most,
    )
    return ReferenceScoring(asked, clock=SystemClock()).run()


@pytest.mark.plink2
@pytest.mark.usefixtures("_plink2")
@pytest.mark.parametrize("policy", POLICIES)
def test_every_score_that_plink2_can_count_agrees(invented: Path, home: Path, policy: str) -> None:
    summary = run(invented, home, POLICIES[policy])
    summary.require_agreement()
    table = pl.read_parquet(home / "out" / "compare_plink2.parquet")
    compared = table.filter("compared")
    assert compared.height >= 25
    assert table.height == summary.n_total - summary.n_failed
    assert (compared["in_units"] <= 0.5 * (1 + 1e-6)).all()
    assert (compared["denom_difference"].fill_null(0) == 0).all()
    assert table.filter(~pl.col("compared"))["reason"].str.starts_with("plink2 cannot count").all()
    assert "compare_plink2.parquet" in {
        each.name for each in manifest.read(home / "out" / "manifest.json").outputs or ()
    }


@pytest.mark.plink2
@pytest.mark.usefixtures("_plink2")
def test_a_few_scores_are_compared_from_the_smallest_to_the_largest(invented: Path, home: Path) -> None:
    summary = run(invented, home, most=3)
    assert summary.comparison is not None
    rows = summary.comparison.filter("compared")["rows"].sort()
    assert rows.len() == 3
    assert rows[-1] > 10 * rows[0]


@pytest.mark.plink2
@pytest.mark.usefixtures("_plink2")
@pytest.mark.parametrize("off", [1e-3, -1e-3])
def test_one_wrong_sum_of_one_person_is_a_failure_that_names_the_score(
    invented: Path, home: Path, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    """A result that was damaged before it was kept: no digest tells."""
    right = results.find

    def wrong(*arguments: object) -> ScoreResult | None:
        result = right(*arguments)  # type: ignore[arg-type]
        if result is None:
            return None
        sums = result.people["sum_2"].to_numpy().copy()
        sums[7] += off * max(float(np.std(sums)), 1e-9)
        return replace(result, people=result.people.with_columns(sum_2=pl.Series(sums)))

    monkeypatch.setattr(results, "find", wrong)
    summary = run(invented, home, most=4)
    assert summary.comparison is not None
    with pytest.raises(OthersDisagree, match=r"plink2 gives other sums for PGS\d+.*compare_plink2\.parquet"):
        summary.require_agreement()
    assert manifest.read(home / "out" / "manifest.json").ending.status == "ok"


def test_without_plink2_nothing_is_begun(invented: Path, home: Path, user: User) -> None:
    user.export("PATH", str(home))
    with pytest.raises(PackagesMissing, match="plink2"):
        run(invented, home)
    assert list(home.iterdir()) == []
