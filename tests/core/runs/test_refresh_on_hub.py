"""Whole refreshes that publish to a hub: one commit for each data set, or none and the next one makes up for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sluiceway.core.catalog.catalog import Catalog
from sluiceway.core.errors import AuthenticationFailed, HubMoved, PublicationRefused, UpstreamFailed
from sluiceway.core.publish.hub import MetadataOnHub
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_hub import CATALOGUE, DISTRIBUTIONS, EXPIRED, LoopbackHub, empty_hub
from tests.refreshing import GOOD, Invented, Site, file_name

IDS = GOOD[:3]


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"), variants=1_500, people=30)


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue(*IDS).served() as catalogue:
        yield catalogue


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    with empty_hub(monkeypatch, tmp_path) as served:
        yield served


def site_in(folder: Path, upstream: LoopbackCatalog, invented: Invented) -> Site:
    return Site(
        upstream=upstream,
        home=folder / "home",
        cache=folder / "cache",
        out=folder / "out",
        panel=invented.panel,
        options={"publish": True, "panel_name": "made"},
    )


@pytest.fixture(scope="module")
def scored(invented: Invented, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a refresh leaves that publishes to a folder alone."""
    folder = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as user, invented.catalogue(*IDS).served() as catalogue:
        user.setenv("SLUICEWAY_HOME", str(folder / "home"))
        user.setenv("SLUICEWAY_CACHE_DIR", str(folder / "cache"))
        site_in(folder, catalogue, invented).run()
    return folder


@pytest.fixture
def site(place: Path, upstream: LoopbackCatalog, invented: Invented, hub: LoopbackHub) -> Site:
    """An empty home that publishes to the hub."""
    return replace(site_in(place, upstream, invented), hub=hub.place())


@pytest.fixture
def ready(site: Site, scored: Path) -> Site:
    """A home where everything is scored, and nothing is on the hub yet."""
    shutil.copytree(scored, site.home.parent, symlinks=True, dirs_exist_ok=True)
    return site


def commits(hub: LoopbackHub) -> list[int]:
    """How many commits of somebody each data set has, beside its first, empty one."""
    return [len(hub.repositories[name]) - 1 for name in (DISTRIBUTIONS, CATALOGUE)]


def published(site: Site, name: str) -> dict[str, bytes]:
    folder = (site.out / "published" / name / "current").resolve()
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def on_hub(hub: LoopbackHub, name: str) -> dict[str, bytes]:
    return {path: content for path, content in hub.head(name).files.items() if path != ".gitattributes"}


@pytest.mark.slow
def test_a_whole_refresh_is_one_commit_in_each_data_set_and_the_next_one_asks_the_hub_nothing(
    site: Site, hub: LoopbackHub
) -> None:
    before = [hub.head(name).sha for name in (DISTRIBUTIONS, CATALOGUE)]
    done = site.run()
    heads = [hub.head(name) for name in (DISTRIBUTIONS, CATALOGUE)]
    assert [each.commit for each in done.published] == [each.sha for each in heads]
    assert [each.parent for each in heads] == before
    assert commits(hub) == [1, 1]
    for repository in (DISTRIBUTIONS, CATALOGUE):
        assert on_hub(hub, repository) == published(site, repository.partition("/")[2])
    hub.asked.clear()
    assert site.run().did_nothing
    assert hub.asked == []


@pytest.mark.nightly
def test_a_revised_score_is_one_more_commit_in_each_and_sends_what_changed_alone(
    ready: Site, hub: LoopbackHub, invented: Invented
) -> None:
    ready.run()
    hub.sent.clear()
    ready.upstream.revise(IDS[0], invented.content("PGS900031"))
    done = ready.run()
    assert (done.scored, commits(hub)) == (2, [2, 2])
    assert "1 moved" in hub.head(DISTRIBUTIONS).description
    changed = {path for each in done.published for path in each.changed}
    assert f"data/scores/{IDS[0]}_hmPOS_GRCh38.parquet" in changed
    assert f"data/scores/{IDS[1]}_hmPOS_GRCh38.parquet" not in changed
    assert 0 < len(hub.sent) < len(on_hub(hub, DISTRIBUTIONS)) + len(on_hub(hub, CATALOGUE))


@pytest.mark.nightly
def test_what_the_audit_refuses_never_reaches_the_hub(site: Site, hub: LoopbackHub) -> None:
    """Red on: core/publish/publication.py: `if audit.blocking: raise` -> `if False: raise`."""
    site.upstream.serve_garbage(file_name(IDS[0]), times=2)
    with pytest.raises(PublicationRefused):
        site.run()
    assert commits(hub) == [0, 0]
    assert [each.is_partial for each in site.run().published] == [False, False]
    assert commits(hub) == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moved", "there", "at_last"),
    [(DISTRIBUTIONS, [1, 0], [2, 1]), (CATALOGUE, [1, 1], [1, 2])],
    ids=["distributions", "catalogue"],
)
def test_a_commit_of_somebody_else_in_the_middle_keeps_ours_away_and_the_next_refresh_comes_on_top_of_it(
    ready: Site, hub: LoopbackHub, moved: str, there: list[int], at_last: list[int]
) -> None:
    """Red on: core/publish/hub.py: `parent_commit=seen.head,` -> `parent_commit=None,`."""

    def somebody() -> None:
        hub.before_commit.clear()
        hub.push(moved, {"theirs.txt": b"1"})

    hub.before_commit.append(somebody)
    with pytest.raises(HubMoved, match="A commit has happened since"):
        ready.run()
    assert commits(hub) == there
    done = ready.run()
    assert (done.scored, commits(hub)) == (0, at_last)
    assert "theirs.txt" in on_hub(hub, moved)
    assert [each.commit for each in done.published] == [hub.head(name).sha for name in (DISTRIBUTIONS, CATALOGUE)]


@pytest.mark.slow
def test_after_an_upload_that_failed_the_next_refresh_only_sends(ready: Site, hub: LoopbackHub) -> None:
    """Red on: core/runs/refresh.py: `!= account.published:` -> `is None:`."""
    hub.refuse_uploads = True
    with pytest.raises(UpstreamFailed):
        ready.run()
    assert commits(hub) == [0, 0]
    hub.refuse_uploads = False
    done = ready.run()
    assert (done.brought, done.scored, commits(hub)) == (0, 0, [1, 1])
    for repository in (DISTRIBUTIONS, CATALOGUE):
        assert on_hub(hub, repository) == published(ready, repository.partition("/")[2])


@pytest.mark.slow
def test_a_token_that_has_expired_is_told_before_anything_is_published_and_costs_no_result(
    site: Site, hub: LoopbackHub
) -> None:
    """Red on: core/publish/hub.py: `status in _REFUSED or status == _NOT_THERE` -> `status == _NOT_THERE`."""
    with pytest.raises(AuthenticationFailed, match="expired"):
        replace(site, hub=hub.place(EXPIRED)).run()
    assert not (site.out / "published").exists()
    done = site.run()
    assert (done.brought, done.scored, commits(hub)) == (0, 0, [1, 1])


@pytest.mark.slow
def test_the_metadata_that_a_refresh_published_serve_a_machine_that_has_none(
    ready: Site, hub: LoopbackHub, tmp_path: Path
) -> None:
    ready.run()
    ready.upstream.asked.clear()
    elsewhere = replace(ready.refresh().place, home=tmp_path / "elsewhere", hub=MetadataOnHub(hub.place(), CATALOGUE))
    assert Catalog(elsewhere).search(IDS[0])["pgs_id"].to_list() == [IDS[0]]
    assert ready.upstream.count() == 0
