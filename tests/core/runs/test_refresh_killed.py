"""Refreshes that are killed: the next one does the rest, gives the same bytes, and the one after it does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway.core.runs.refresh_options import OWN
from tests.conftest import ROOT, User
from tests.core.runs.killed_refresh import PHASES
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, Site

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"), variants=1_500, people=12)


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue(*GOOD[:3]).served() as catalogue:
        yield catalogue


def killed(how: str, upstream: LoopbackCatalog, invented: Invented, folder: Path) -> dict[str, str]:
    """Kill refreshes, and give where each died, by the names of their folders."""
    words = [sys.executable, "-m", "tests.core.runs.killed_refresh", how, upstream.base, invented.panel, folder]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t") for line in done.stdout.splitlines())


def site_in(own: Path, user: User, upstream: LoopbackCatalog, invented: Invented) -> Site:
    user.export("SLUICEWAY_HOME", str(own / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(own / "cache"))
    return Site(upstream=upstream, home=own / "home", cache=own / "cache", out=own / "out", panel=invented.panel)


def tables(site: Site) -> list[bytes]:
    return [(site.out / OWN / name).read_bytes() for name in TABLES]


def require_recovery(user: User, upstream: LoopbackCatalog, invented: Invented, died: dict[str, str]) -> None:
    whole = site_in(user.folder / "whole", user, upstream, invented)
    whole.run()
    for number, place in died.items():
        site = site_in(user.folder / number, user, upstream, invented)
        site.run(workers=1, chunk=2)
        assert tables(site) == tables(whole), place
        assert site.run().did_nothing, place


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_refresh_killed_in_any_phase_is_finished_by_the_next_one(
    user: User, upstream: LoopbackCatalog, invented: Invented
) -> None:
    """Red on: core/runs/refresh_scores.py: `made_of == before and self.is_whole()` -> `self.folder.is_dir()`."""
    died = killed("phases", upstream, invented, user.folder)
    assert list(died.values()) == [name for _, name in PHASES]
    require_recovery(user, upstream, invented, died)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_a_refresh_killed_at_any_step_is_finished_by_the_next_one(
    user: User, upstream: LoopbackCatalog, invented: Invented
) -> None:
    """Red on: core/runs/refresh_scores.py: `made_of == before and self.is_whole()` -> `self.folder.is_dir()`."""
    died = killed("every", upstream, invented, user.folder)
    assert list(died.values()).count("survived") == 1
    assert len(died) > 100
    require_recovery(user, upstream, invented, died)
