"""`sluiceway catalog publish`: what a refresh has made, looked at, then into a folder or to a hub, or held back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sluiceway import cli
from sluiceway.core.runs.refresh import alone_in
from tests.conftest import ROOT, User
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_hub import CATALOGUE, DISTRIBUTIONS, EXPIRED, TOKEN, LoopbackHub, empty_hub
from tests.refreshing import GOOD, Invented, Site

IDS = GOOD[:2]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after one refresh, of which nothing is published any more."""
    folder = tmp_path_factory.mktemp("made")
    invented = Invented.made(folder, variants=1_500, people=30)
    with pytest.MonkeyPatch.context() as undo, invented.catalogue(*IDS).served() as upstream:
        undo.setenv("SLUICEWAY_HOME", str(folder / "home"))
        undo.setenv("SLUICEWAY_CACHE_DIR", str(folder / "cache"))
        site = Site(
            upstream=upstream,
            home=folder / "home",
            cache=folder / "cache",
            out=folder / "out",
            panel=invented.panel,
            options={"publish": True, "panel_name": "made"},
        )
        site.run()
        shutil.rmtree(folder / "out" / "published")
    return folder


@pytest.fixture
def say(made: Path, user: User, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `sluiceway catalog publish` on what was made, and gives exit code, output and remarks."""
    user.export("SLUICEWAY_HOME", str(made / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(made / "cache"))

    def run(*words: str, out: Path = made / "out") -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["catalog", "publish", "--out", str(out), *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, user: User) -> Iterator[LoopbackHub]:
    with empty_hub(monkeypatch, user.folder) as served:
        user.export("SLUICEWAY_HUB_ENDPOINT", served.base)
        user.export("SLUICEWAY_HUB_TOKEN", TOKEN)
        yield served


def test_both_data_sets_are_published_into_a_folder_once(say: Say) -> None:
    code, told, _ = say("--to", "there", "--json")
    first = json.loads(told)["published"]
    assert (code, [(each["dataset"], each["number"], each["is_new"]) for each in first]) == (
        0,
        [("prs-percentiles", 1, True), ("pgs-catalog", 1, True)],
    )
    assert Path("there/prs-percentiles/current/data/made_distributions_v2.parquet").is_file()
    assert "prs-percentiles: version 1, as before" in say("--to", "there")[1]


def test_without_a_folder_it_is_that_of_the_refresh(say: Say, made: Path) -> None:
    assert say()[0] == 0
    assert (made / "out/published/pgs-catalog/current").is_symlink()


def test_a_dry_run_tells_what_the_audit_finds_and_publishes_nothing(say: Say) -> None:
    code, told, _ = say("--to", "there", "--dry-run", "--json")
    found = json.loads(told)
    assert (code, found["would_publish"], found["coverage"], found["is_partial"]) == (0, True, 1.0, False)
    assert {each["severity"] for each in found["findings"]} == {"WARN"}
    assert "coverage 1.000; nothing blocks" in say("--to", "there", "--dry-run")[1]
    assert not Path("there").exists()


@pytest.fixture
def lacking(say: Say, made: Path, user: User) -> Iterator[Say]:
    """The same, where the catalogue has a score by now that was not scored."""
    own = user.folder / "own"
    shutil.copytree(made / "home", own)
    user.export("SLUICEWAY_HOME", str(own))
    invented = Invented(panel=made / "panel", scores=made / "scores")
    with invented.catalogue(*IDS, GOOD[2]).served() as upstream:
        looked(upstream, user)
        yield say


def looked(upstream: LoopbackCatalog, user: User) -> None:
    user.export("SLUICEWAY_CATALOG_API", upstream.source.api)
    user.export("SLUICEWAY_CATALOG_FILES", upstream.source.files)
    user.export("SLUICEWAY_OFFLINE", "0")
    with pytest.raises(SystemExit):
        cli.main(["catalog", "refresh", "--json"])


def test_too_few_scores_are_held_back_with_the_reason_unless_that_is_allowed(lacking: Say) -> None:
    code, _, why = lacking("--to", "there")
    assert (code, "1 of 3 scores of the catalogue are not scored" in why) == (1, True)
    code, told, _ = lacking("--to", "there", "--dry-run")
    assert (code, "BLOCK\tincomplete" in told, "1 findings block" in told) == (1, True, True)
    assert not Path("there").exists()
    code, told, _ = lacking("--to", "there", "--allow-partial", "--json")
    assert (code, json.loads(told)["published"][0]["is_partial"]) == (0, True)


@pytest.mark.parametrize(
    ("to", "commits"),
    [
        ("hub:ada", [1, 1]),
        (f"hub:{DISTRIBUTIONS}", [1, 0]),
        (f"hub:{DISTRIBUTIONS},{CATALOGUE}", [1, 1]),
    ],
)
def test_a_hub_gets_a_commit_for_each_data_set_that_is_named(
    say: Say, hub: LoopbackHub, to: str, commits: list[int]
) -> None:
    code, told, _ = say("--to", "there", "--to", to, "--json")
    assert code == 0
    assert [len(hub.repositories[name]) - 1 for name in (DISTRIBUTIONS, CATALOGUE)] == commits
    heads = [hub.head(name).sha if n else None for name, n in zip((DISTRIBUTIONS, CATALOGUE), commits, strict=True)]
    assert [each["commit"] for each in json.loads(told)["published"]] == heads
    assert TOKEN not in told


def test_a_token_that_has_expired_is_exit_code_4_and_nothing_is_published(
    say: Say, hub: LoopbackHub, user: User
) -> None:
    user.export("SLUICEWAY_HUB_TOKEN", EXPIRED)
    code, told, why = say("--to", "there", "--to", "hub:ada")
    assert (code, "expired" in why, EXPIRED in told + why) == (4, True, False)
    assert not Path("there").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "hub:ada"), "SLUICEWAY_HUB_TOKEN"),
        (("--to", "hub:"), "name an owner"),
        (("--to", "a", "--to", "b"), "one folder"),
        (("--to", "hub:a", "--to", "hub:b"), "one hub"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(say: Say, words: tuple[str, ...], said: str) -> None:
    code, _, why = say(*words)
    assert (code, said in why) == (2, True)


def test_where_no_refresh_has_been_that_is_said(say: Say, user: User) -> None:
    code, _, why = say(out=user.folder / "nowhere")
    assert (code, "refreshed.json" in why) == (2, True)


def test_while_a_refresh_is_at_work_it_is_left_alone(say: Say, made: Path) -> None:
    with alone_in(made / "home", purpose="refresh into out"):
        code, _, why = say("--to", "there")
    assert (code, "is on its way: process" in " ".join(why.split())) == (2, True)


def test_a_panel_that_is_gone_is_an_error_that_names_its_place(say: Say, made: Path, user: User) -> None:
    moved = user.folder / "moved" / "out"
    shutil.copytree(made / "out", moved)
    code, _, why = say(out=moved)
    assert (code, "neither a .pgen nor a .bed" in why) == (2, True)


@pytest.mark.nightly
def test_the_commands_of_the_page_run_one_after_the_other(made: Path, user: User) -> None:
    (user.folder / "panels").mkdir()
    for file in made.glob("panel.*"):
        (user.folder / "panels" / file.name.replace("panel", "small", 1)).symlink_to(file)
    page = (ROOT / "docs" / "publishing.md").read_text()
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)).replace(
        "/srv", str(user.folder)
    )
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    invented = Invented(panel=made / "panel", scores=made / "scores")
    with invented.catalogue(*IDS).served() as upstream:
        looked(upstream, user)
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-ec", commands], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "coverage 1.000; nothing blocks" in done.stdout
    assert (user.folder / "tables/prs-percentiles/current/data/small_distributions.parquet").is_file()
