"""Defects of other pipelines that refresh such tables, one test each: here they do not happen."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.metadata_folder import metadata_folder, read_metadata
from sluiceway.core.runs.refresh_options import OWN
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, Site, file_name

FIRST, SECOND, THIRD = GOOD[:3]


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"), variants=1_500, people=12)


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue(FIRST, SECOND, THIRD).served() as catalogue:
        yield catalogue


@pytest.fixture
def site(invented: Invented, upstream: LoopbackCatalog, place: Path) -> Site:
    return Site(upstream=upstream, home=place / "home", cache=place / "cache", out=place / "out", panel=invented.panel)


def statuses(site: Site) -> dict[str, str]:
    return dict(pl.read_parquet(site.out / OWN / "quality.parquet").select("pgs_id", "status").iter_rows())


def test_what_was_copied_or_restored_with_other_times_is_as_current_as_before(site: Site) -> None:
    site.run()
    chance = random.Random(1)
    for file in (each for folder in (site.home, site.out) for each in folder.rglob("*") if each.is_file()):
        os.utime(file, times=(chance.uniform(0, 2e9), chance.uniform(0, 2e9)))
    assert site.run().did_nothing


def test_u_metadata_that_were_revised_are_cleaned_anew_by_the_next_refresh(site: Site) -> None:
    """Red on: core/catalog/refresh.py: `sheets_of(folder) == dict(release.sheets)` -> `True`."""
    site.run()
    site.upstream.scores[FIRST].row["Reported Trait"] = "Something else"
    site.run()
    metadata = read_metadata(metadata_folder(site.home))
    assert metadata is not None
    assert metadata.table("scores").filter(pgs_id=FIRST)["trait_reported"].to_list() == ["Something else"]


def test_w_trying_again_what_failed_is_no_other_mode_and_ends_in_the_tables_of_everybody(site: Site) -> None:
    """Red on: core/catalog/backlog.py: `return State.FAILED, f"{what}` -> `return State.GIVEN_UP, f"{what}`."""
    site.upstream.serve_garbage(file_name(FIRST), times=2)
    before = dict(os.environ)
    site.run()
    folders = {each.name for each in site.out.iterdir()}
    assert statuses(site)[FIRST] == "failed"
    done = site.run(only=("failed",))
    assert (done.brought, done.n_failed, statuses(site)[FIRST]) == (1, 0, "ok")
    assert dict(os.environ) == before
    assert {each.name for each in site.out.iterdir()} == folders
    assert site.run().did_nothing
