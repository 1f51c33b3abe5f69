"""Folders may be called anything: what URLs, patterns, shells and SQL take for signs of their own are letters there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.deployments.server import address, running
from tests.command_line import commands
from tests.conftest import User

ODD = pytest.mark.parametrize("name", ["what? #1 %41 & co;", "it's [mine] {x} * ~"], ids=["url", "pattern"])
SCRIPT = "printf 'n\\n1\\n' >made.csv; cat ../inputs/*\n"
Run = Callable[..., str]


@pytest.fixture
def odd(user: User, name: str) -> Path:
    """The only folder of somebody: the home and all else is in it, and nothing is ever beside it."""
    folder = user.folder / name
    folder.mkdir()
    user.export("SLUICEWAY_HOME", str(folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(folder / "cache"))
    return folder


@pytest.fixture
def run(odd: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    asked = commands(capsys)

    def command(*words: object) -> str:
        code, said, remarked = asked(*words)
        assert code == 0, (words, said, remarked)
        return said

    return command


def require_whole(run: Run, odd: Path, *outputs: Path) -> None:
    """Look at all that provenance knows, and make it anew."""
    run("registry", "check")
    run("registry", "rebuild")
    run("registry", "check")
    assert run("events")
    for each in outputs:
        run("status", each)
        run("verify", each)
    assert [each.name for each in odd.parent.iterdir()] == [odd.name]
    assert (odd / "home/registry.sqlite").is_file()


@ODD
def test_a_script_is_run_once_kept_and_proved_in_any_home(odd: Path, run: Run) -> None:
    """Red on: core/registry/database.py: `URL.create(_DRIVERS["sqlite"], database=place)` ->
    `make_url(f"{_DRIVERS['sqlite']}:///{place}")`.
    """
    (odd / "script.sh").write_text(SCRIPT)
    (odd / "in put").write_text("said\n")
    words = [
        odd / "script.sh",
        "--on",
        "local",
        "--input",
        odd / "in put",
        "--output",
        "made.csv:table",
        "--out",
        odd / "out",
    ]
    assert run("run", *words) == "said\n"
    assert run("run", *words) == ""
    (known,) = json.loads(run("runs", "--json"))
    require_whole(run, odd, Path(known["folder"]))
    assert run("artifacts", "keep", odd / "out", "--tag", "best")
    run("artifacts", "link", "best", odd / "link")
    assert (odd / "link/made.csv").read_text() == "n\n1\n"
    run("gc", "--grace", "0s", "--do")
    run("export", known["folder"], "--to", odd / "crate")


@ODD
def test_scores_are_made_asked_and_proved_in_any_home(odd: Path, run: Run) -> None:
    """Red on: core/store/frames.py: `pl.read_parquet, glob=False` -> `pl.read_parquet`."""
    make_panel(odd / "panel", variants=400, people=8)
    make_scores(odd / "scores", odd / "panel")
    words = ["score", "--panel", odd / "panel", "--scores", odd / "scores", "--limit", "3", "--out", odd / "out"]
    run(*words, "--match-log")
    run(*words, "--match-log")
    answer = json.loads(run("query", "SELECT count(*) AS n FROM quality", odd / "out", "--json"))
    assert answer == [{"n": 3}]
    require_whole(run, odd, odd / "out")


@pytest.mark.engine
@pytest.mark.nightly
@ODD
async def test_a_server_has_its_database_in_any_home(odd: Path) -> None:
    """Red on: deployments/server.py: `elif "?" in str(self.home):` -> `elif "??" in str(self.home):`."""
    async with running(address(), home=odd / "home"):
        pass
    assert (odd / "home/prefect.db").stat().st_size > 0
    assert [each.name for each in odd.parent.iterdir()] == [odd.name]
