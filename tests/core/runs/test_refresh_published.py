"""What a refresh publishes: when the audit lets it pass, once, and again where something of it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.errors import PublicationRefused
from sluiceway.core.runs.refresh_options import OWN
from tests.conftest import User
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, Site, file_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"))


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue().served() as catalogue:
        yield catalogue


@pytest.fixture
def site(invented: Invented, upstream: LoopbackCatalog, place: Path) -> Site:
    return Site(
        upstream=upstream,
        home=place / "home",
        cache=place / "cache",
        out=place / "out",
        panel=invented.panel,
        options={"publish": True, "panel_name": "made"},
    )


def published(site: Site) -> Path:
    return site.out / "published" / "prs-percentiles" / "current" / "data"


def test_both_policies_are_published_and_a_second_refresh_finds_them_so(site: Site) -> None:
    first = site.run()
    assert (first.scored, [each.number for each in first.published]) == (12, [1, 1])
    files = {each.name for each in published(site).iterdir()}
    assert {"made_distributions.parquet", "made_distributions_v2.parquet", "made_quality.parquet"} <= files
    second = site.run()
    assert (second.did_nothing, [each.is_new for each in second.published]) == (True, [False, False])


def test_a_published_file_that_is_gone_is_published_again(site: Site) -> None:
    """Red on: core/runs/refresh_published.py: `_size(version.folder, path) != each.size` -> `False`."""
    site.run()
    (published(site).resolve() / "made_quality.parquet").unlink()
    again = site.run()
    assert (again.scored, again.did_nothing) == (0, False)
    assert (published(site) / "made_quality.parquet").is_file()


def test_too_few_scores_are_not_published_unless_that_is_allowed(site: Site) -> None:
    for pgs_id in GOOD[:3]:
        site.upstream.serve_garbage(file_name(pgs_id), times=100)
    with pytest.raises(PublicationRefused):
        site.run()
    assert not published(site).exists()
    assert pl.read_parquet(site.out / OWN / "quality.parquet").height == 6
    partial = site.run(allow_partial=True)
    assert next(each.is_partial for each in partial.published) is True


def test_what_was_refused_is_tried_again_though_nothing_is_left_to_score(site: Site, user: User) -> None:
    for pgs_id in GOOD[:3]:
        site.upstream.serve_garbage(file_name(pgs_id), times=2)
    with pytest.raises(PublicationRefused):
        site.run()
    assert (user.folder / "out" / "refreshed.json").is_file()
    done = site.run()
    assert (done.brought, [each.is_new for each in done.published]) == (3, [True, True])
