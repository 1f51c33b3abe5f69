"""A release as one commit on a hub that is really asked: on top of what it was compared with, or not at all."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from tblib import pickling_support

from sluiceway.core.errors import AuthenticationFailed, HubMoved, SluicewayError, UpstreamFailed
from sluiceway.core.publish.hub import HubDataset, MetadataOnHub
from sluiceway.core.publish.publication import Publication, publish
from sluiceway.core.publish.snapshot import SEAL, Published
from sluiceway.core.remote.clock import SystemClock
from tests.loopback_hub import CATALOGUE, DISTRIBUTIONS, EXPIRED, TOKEN, LoopbackHub, empty_hub

Wish = Callable[..., Publication]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    with empty_hub(monkeypatch, tmp_path) as served:
        yield served


def published(wish: Publication) -> dict[str, Published]:
    return {each.dataset: each for each in publish(wish, clock=SystemClock())}


def test_a_release_is_one_commit_whose_parent_is_what_was_there(wish: Wish, hub: LoopbackHub) -> None:
    before = hub.head(DISTRIBUTIONS).sha
    made = published(wish(hub=hub.place()))["prs-percentiles"]
    commit = hub.head(DISTRIBUTIONS)
    assert (commit.sha, commit.parent, len(hub.repositories[DISTRIBUTIONS])) == (made.commit, before, 2)
    here = {str(each.relative_to(made.folder)): each.read_bytes() for each in made.folder.rglob("*") if each.is_file()}
    assert {path: content for path, content in commit.files.items() if path != ".gitattributes"} == here
    assert "Coverage of the catalogue" in commit.description


def test_the_same_release_is_not_committed_twice(wish: Wish, hub: LoopbackHub) -> None:
    first = published(wish(hub=hub.place()))
    again = published(wish(hub=hub.place()))
    assert {name: each.commit for name, each in again.items()} == {name: each.commit for name, each in first.items()}
    assert [len(each) for each in hub.repositories.values()] == [2, 2]


def test_only_files_that_changed_are_sent_and_those_of_others_stay(wish: Wish, hub: LoopbackHub) -> None:
    published(wish(hub=hub.place()))
    hub.push(DISTRIBUTIONS, {"data/chip_coverage.parquet": b"theirs"})
    hub.sent.clear()
    published(wish(hub=hub.place(), name="other"))
    names = set(hub.head(DISTRIBUTIONS).files)
    assert {"data/chip_coverage.parquet", "data/demo_quality.parquet", "data/other_quality.parquet"} <= names
    # The tables of the second panel are the same bytes, and its description alone is new.
    assert hub.sent == []


def test_a_file_that_a_release_no_longer_has_goes_in_the_same_commit(wish: Wish, hub: LoopbackHub) -> None:
    published(wish(hub=hub.place()))
    published(wish(hub=hub.place(), own=None))
    assert "data/demo_distributions_v2.parquet" not in hub.head(DISTRIBUTIONS).files
    assert len(hub.repositories[DISTRIBUTIONS]) == 3


def test_links_lead_to_files_that_the_hub_has(wish: Wish, hub: LoopbackHub) -> None:
    made = published(wish(hub=hub.place()))["pgs-catalog"]
    scores = pl.read_parquet(made.folder / "data/metadata/scores.parquet")
    address = f"{hub.base}/datasets/{CATALOGUE}/resolve/main/"
    paths = scores["ftp_link"].str.strip_prefix(address)
    assert set(paths) <= set(hub.head(CATALOGUE).files)
    assert scores["ftp_link_ebi"].str.starts_with("https://ftp.ebi.ac.uk").all()


def test_a_commit_that_came_between_keeps_ours_away(wish: Wish, hub: LoopbackHub) -> None:
    """Red on: core/publish/hub.py: `parent_commit=seen.head,` -> `parent_commit=None,`."""
    hub.before_commit.append(lambda: hub.push(DISTRIBUTIONS, {"theirs.txt": b"1"}))
    with pytest.raises(HubMoved, match="A commit has happened since"):
        publish(wish(hub=hub.place()), clock=SystemClock())
    assert set(hub.head(DISTRIBUTIONS).files) == {".gitattributes", "theirs.txt"}
    hub.before_commit.clear()
    assert published(wish(hub=hub.place()))["prs-percentiles"].commit == hub.head(DISTRIBUTIONS).sha


def test_a_failed_upload_commits_nothing_and_the_next_try_sends_it(wish: Wish, hub: LoopbackHub) -> None:
    """Red on: core/publish/hub.py: `(httpx2.HTTPError, OSError, RuntimeError, ValueError)` -> `httpx2.HTTPError`."""
    hub.refuse_uploads = True
    with pytest.raises(UpstreamFailed) as failed:
        publish(wish(hub=hub.place()), clock=SystemClock())
    assert "signature" not in str(failed.value)
    assert len(hub.repositories[DISTRIBUTIONS]) == 1
    hub.refuse_uploads = False
    assert published(wish(hub=hub.place()))["prs-percentiles"].commit == hub.head(DISTRIBUTIONS).sha


@pytest.mark.parametrize(
    ("place", "said"),
    [({"token": EXPIRED}, "expired"), ({"distributions": "ada/elsewhere"}, "no such repository")],
    ids=["expired token", "no such repository"],
)
def test_a_publisher_who_is_not_let_in_learns_it_before_anything_is_published(
    wish: Wish, hub: LoopbackHub, place: dict[str, str], said: str
) -> None:
    wanted = wish(hub=hub.place(**place))
    with pytest.raises(AuthenticationFailed, match=said):
        publish(wanted, clock=SystemClock())
    assert not wanted.folder.exists()


@pytest.mark.parametrize("trouble", ["none", "expired", "upload", "moved"])
def test_the_token_is_nowhere_but_in_what_is_sent_to_the_hub(
    wish: Wish, hub: LoopbackHub, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    # From then on errors are pickled with their causes, as they are where Dask is.
    pickling_support.install()
    caplog.set_level(logging.DEBUG)
    hub.refuse_uploads = trouble == "upload"
    if trouble == "moved":
        hub.before_commit.append(lambda: hub.push(DISTRIBUTIONS, {"theirs.txt": b"1"}))
    token = EXPIRED if trouble == "expired" else TOKEN
    wanted, said = wish(hub=hub.place(token)), ""
    try:
        said = repr(publish(wanted, clock=SystemClock()))
    except SluicewayError as error:
        said = f"{error} {error!r} {pickle.dumps(error)!r}"
    written = b"".join(each.read_bytes() for each in wanted.folder.rglob("*") if each.is_file())
    assert token not in f"{caplog.text} {said} {wanted}"
    assert token.encode() not in written


def test_a_release_that_was_made_elsewhere_is_what_ours_is_compared_with(wish: Wish, hub: LoopbackHub) -> None:
    published(wish(hub=hub.place()))
    elsewhere = wish(hub=hub.place(), folder=wish().folder.with_name("another machine"))
    made = published(elsewhere)["prs-percentiles"]
    assert pl.read_parquet(made.folder / "data/demo_changes.parquet").is_empty()
    assert made.commit == hub.head(DISTRIBUTIONS).sha


def test_a_file_on_the_hub_that_is_not_as_its_release_says_is_not_taken(
    wish: Wish, hub: LoopbackHub, tmp_path: Path
) -> None:
    """Red on: core/publish/hub.py: `digest_of_bytes(content) != entry.digest` -> `False`."""
    published(wish(hub=hub.place()))
    hub.push(DISTRIBUTIONS, {"data/demo_quality.parquet": b"damaged"})
    dataset = HubDataset(hub.place(), DISTRIBUTIONS)
    with pytest.raises(UpstreamFailed, match="not what its release says"):
        dataset.bring(dataset.look(), "data/demo_quality.parquet", tmp_path / "quality.parquet")
    assert SEAL in dataset.look().files


async def test_metadata_come_from_the_hub_to_whoever_has_none(wish: Wish, hub: LoopbackHub, tmp_path: Path) -> None:
    made = published(wish(hub=hub.place()))["pgs-catalog"]
    brought = MetadataOnHub(hub.place(), CATALOGUE)
    (tmp_path / "metadata").mkdir()
    assert await brought.bring_metadata(tmp_path / "metadata")
    names = {each.name for each in (tmp_path / "metadata").iterdir()}
    assert names == {each.name for each in (made.folder / "data/metadata").iterdir()}
    assert brought.name == f"hub:{CATALOGUE}"
