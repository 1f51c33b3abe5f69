"""What is published is read by the reader that it is made for: just-prs, from PyPI, in an environment of its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import polars as pl
import pytest

from sluiceway.core.publish.publication import Publication, publish
from sluiceway.core.publish.snapshot import Published
from sluiceway.core.remote.clock import SystemClock
from tests.conftest import ROOT, Missing
from tests.refreshing import Invented, Site

QUESTIONS = 1_000
READER = Path(__file__).with_name("just_prs_reader.py")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, missing: Missing) -> Path:
    """The Python of an environment with just-prs, which needs 3.13."""
    venv = tmp_path_factory.mktemp("just-prs") / "venv"
    uv = shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT / '.tools/bin'}") or "uv"
    wanted = [
        (uv, "venv", "--quiet", "--python", "3.13", str(venv)),
        (uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), "just-prs==0.11.0"),
    ]
    for command in wanted:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing.part("consumer", why=done.stderr.strip()[-300:], get="Python 3.13 and just-prs 0.11.0 by uv")
    return venv / "bin/python"


def by_a_refresh(folder: Path) -> Sequence[Published]:
    """Refresh an invented catalogue, of which some scores are broken, and publish all of it."""
    invented = Invented.made(folder, people=120)
    ids = sorted({each.name.partition("_")[0] for each in invented.scores.iterdir()})
    with invented.catalogue(*ids).served() as upstream:
        site = Site(
            upstream=upstream,
            home=folder / "home",
            cache=folder / "cache",
            out=folder / "out",
            panel=invented.panel,
        )
        return site.run(publish=True, panel_name="1000g", allow_partial=True).published


@pytest.fixture(params=["a release of results", "a whole refresh"])
def cache(
    request: pytest.FixtureRequest, wish: Callable[..., Publication], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The reader's cache, as a pull of both data sets lays it out."""
    monkeypatch.setenv("SLUICEWAY_HOME", str(tmp_path / "home"))
    if request.param == "a whole refresh":
        made = by_a_refresh(tmp_path)
    else:
        made = publish(wish(name="1000g"), clock=SystemClock())
    for each in made:
        source = "data" if each.dataset == "prs-percentiles" else "data/metadata"
        target = "percentiles" if each.dataset == "prs-percentiles" else "metadata"
        shutil.copytree(each.folder / source, tmp_path / "reader" / target)
    return tmp_path / "reader"


def ask(python: Path, cache: Path, questions: list[Row]) -> dict[str, list[Any]]:
    """Ask the reader, who may reach nobody."""
    (cache / "questions.json").write_text(json.dumps(questions))
    offline = {"PATH": os.environ["PATH"], "HOME": str(cache), "HF_HUB_OFFLINE": "1", "PRS_CACHE_DIR": str(cache)}
    command = (str(python), str(READER), str(cache), str(cache / "questions.json"))
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def about(row: Row, value: float, **more: str) -> Row:
    # The reader writes the population in capitals itself.
    return {"pgs_id": row["pgs_id"], "ancestry": row["superpopulation"].lower(), "value": value, **more}


def expected(row: Row, value: float) -> list[Any]:
    z = (value - row["mean"]) / row["std"]
    return ["reference_panel", round(NormalDist().cdf(z) * 100, 2), z, row["mean"], row["std"]]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_just_prs_answers_from_the_published_folder_alone(python: Path, cache: Path) -> None:
    chance = random.Random(7)
    main = pl.read_parquet(cache / "percentiles/1000g_distributions.parquet").rows(named=True)
    sexed = pl.read_parquet(cache / "percentiles/1000g_distributions_by_sex.parquet").rows(named=True)
    questions, answers = [], []
    for number in range(QUESTIONS):
        row = chance.choice(sexed if number % 4 == 0 else main)
        value = row["mean"] + row["std"] * chance.uniform(-4, 4)
        karyotype = {"male": "XY", "female": "XX"}.get(row.get("sex", ""), "XXY")
        more = {"karyotype": karyotype, "x_coding": row["x_coding"]} if "sex" in row else {}
        questions.append(about(row, value, **more))
        answers.append(expected(row, value))
    found = ask(python, cache, questions)["answers"]
    assert len(found) == QUESTIONS
    wrong = [(question, one, other) for question, one, other in zip(questions, found, answers, strict=True)
             if one[:2] != other[:2] or one[2:] != pytest.approx(other[2:], rel=1e-12)]  # fmt: skip
    assert wrong == []


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_just_prs_knows_the_scores_that_are_published_and_none_that_is_left_out(python: Path, cache: Path) -> None:
    issues = pl.read_parquet(cache / "percentiles/1000g_distribution_quality_issues.parquet")
    gone = set(issues.filter(severity="ERROR")["pgs_id"])
    known = ask(python, cache, [])["known"]
    published = pl.read_parquet(cache / "percentiles/1000g_distributions.parquet")["pgs_id"].unique().sort()
    assert known == published.to_list()
    assert gone
    assert gone.isdisjoint(known)
