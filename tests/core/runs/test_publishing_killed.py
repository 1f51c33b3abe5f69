"""Refreshes that are killed while they publish to a hub: the next one makes it one commit in each data set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, User
from tests.core.runs.killed_publishing import own_sets
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_hub import LoopbackHub, empty_hub
from tests.refreshing import GOOD, Invented, Site


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"), variants=1_500, people=30)


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue(*GOOD[:2]).served() as catalogue:
        yield catalogue


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    with empty_hub(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture
def scored(user: User, upstream: LoopbackCatalog, invented: Invented) -> Site:
    """A home where everything is scored, and nothing is published."""
    site = site_in(user.folder / "scored", user, upstream, invented)
    refresh = site.refresh()
    looked = refresh.look()
    refresh.prepare()
    seen = refresh.plan(looked)
    for chunk in seen.backlog.chunks(2):
        refresh.bring(chunk)
        refresh.score(chunk)
    refresh.lay_out(looked, seen)
    return site


def site_in(own: Path, user: User, upstream: LoopbackCatalog, invented: Invented) -> Site:
    user.export("SLUICEWAY_HOME", str(own / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(own / "cache"))
    return Site(
        upstream=upstream, home=own / "home", cache=own / "cache", out=own / "out", panel=invented.panel,
        options={"publish": True, "panel_name": "made"},
    )  # fmt: skip


def killed(hub: LoopbackHub, scored: Site, *steps: str, most: int) -> list[str]:
    """Kill one at each of these steps, or at each that there is, and give where they died."""
    for number in range(most):
        for name in own_sets(number).values():
            hub.create(name)
    words = [hub.base, scored.upstream.base, scored.panel, scored.home.parent.parent, *steps]
    own = {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(scored.home.parent.parent / "hf")}
    # Not as many threads as here: what is published must not depend on that.
    own["POLARS_MAX_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.runs.killed_publishing", *map(str, words)],
        cwd=ROOT, env={**os.environ, **own},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line.partition("\t")[2] for line in done.stdout.splitlines()]


def on_hub(hub: LoopbackHub, name: str) -> dict[str, bytes]:
    return {path: content for path, content in hub.head(name).files.items() if path != ".gitattributes"}


def published(site: Site, name: str) -> dict[str, bytes]:
    folder = (site.out / "published" / name.partition("/")[2] / "current").resolve()
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def commits(hub: LoopbackHub, number: int) -> list[int]:
    """How many commits each data set of one that was killed has, beside its first, empty one."""
    return [len(hub.repositories[name]) - 1 for name in own_sets(number).values()]


def require_recovery(user: User, hub: LoopbackHub, scored: Site, invented: Invented, number: int) -> None:
    sets = own_sets(number)
    site = site_in(user.folder / str(number), user, scored.upstream, invented)
    site = replace(site, hub=hub.place(**sets))
    done = site.run()
    assert (done.brought, done.scored, commits(hub, number)) == (0, 0, [1, 1])
    assert ([each.number for each in done.published], done.did_nothing) == ([1, 1], False)
    for name in sets.values():
        assert on_hub(hub, name) == published(site, name)
    hub.asked.clear()
    assert site.run().did_nothing
    assert hub.asked == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_refresh_killed_between_the_folder_and_the_hub_is_sent_by_the_next_one(
    user: User, hub: LoopbackHub, scored: Site, invented: Invented
) -> None:
    """Red on: core/runs/refresh.py: `!= account.published:` -> `is None:`."""
    assert killed(hub, scored, "commit 1", most=1) == ["commit 1"]
    assert commits(hub, 0) == [0, 0]
    assert published(site_in(user.folder / "0", user, scored.upstream, invented), "ada0/prs-percentiles") != {}
    require_recovery(user, hub, scored, invented, 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_refresh_killed_before_it_notes_what_the_hub_has_is_not_sent_twice(
    user: User, hub: LoopbackHub, scored: Site, invented: Invented
) -> None:
    """Red on: core/publish/hub.py: `if not new and not gone: return seen.head` -> `if False: return seen.head`."""
    steps = {"hear POST commit 1": [1, 0], "published 1": [1, 1]}
    assert killed(hub, scored, *steps, most=len(steps)) == list(steps)
    for number, there in enumerate(steps.values()):
        assert commits(hub, number) == there
        require_recovery(user, hub, scored, invented, number)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_a_refresh_killed_at_any_step_of_publishing_is_finished_by_the_next_one(
    user: User, hub: LoopbackHub, scored: Site, invented: Invented
) -> None:
    """Red on: core/publish/hub.py: `if not new and not gone: return seen.head` -> `if False: return seen.head`."""
    died = killed(hub, scored, most=200)
    assert died[0] == "survived"
    assert {
        "commit 1",
        "hear PUT uploads 1",
        "hear POST commit 1",
        "commit 2",
        "hear POST commit 2",
        "published 1",
    } <= set(died)
    for number in range(len(died)):
        require_recovery(user, hub, scored, invented, number)
