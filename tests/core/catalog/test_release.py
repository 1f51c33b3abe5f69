"""What the catalogue has now, what has changed since, and how little is asked for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluiceway.core.catalog.history import History
from sluiceway.core.catalog.metadata_folder import metadata_folder, read_metadata
from sluiceway.core.catalog.refresh import CatalogPlace, Refreshed, refresh
from sluiceway.core.catalog.release import Release, Upstream, changes
from sluiceway.core.errors import CatalogOffline, MetadataBroken, OutputBusy, UpstreamFailed
from sluiceway.core.genetics.build import Build
from sluiceway.core.store.lock import exclusive
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_content import scoring_file, served_score

NOTHING: dict[str, list[str]] = {"added": [], "withdrawn": [], "revised": [], "redated": []}


def told(seen: Refreshed) -> dict[str, list[str]]:
    return {kind: [each.pgs_id for each in seen.changes if each.kind == kind] for kind in NOTHING}


async def test_the_first_look_finds_everything_new(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    seen = await refresh(kept)
    assert told(seen) == {**NOTHING, "added": sorted(upstream.scores)}
    assert (seen.release.number, seen.release.release.date) == (1, "2026-11-01")
    assert {each.md5 is not None for each in seen.release.release.scores.values()} == {True}


async def test_a_second_look_is_told_of_each_file_only_that_it_is_the_same(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    await refresh(kept)
    upstream.asked.clear()
    seen = await refresh(kept)
    assert (told(seen), seen.n_asked) == (NOTHING, len(upstream.asked))
    assert {each.status for each in upstream.asked if "/files/" in each.path} == {304}
    assert History(kept.home, kept.build).numbers() == [1]


async def test_a_file_that_was_revised_and_nothing_else_is_seen(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/release.py: `return None if self.md5 == other.md5 else` -> `return None if True else`."""
    await refresh(kept)
    upstream.revise("PGS000003", scoring_file("PGS000003", seed=1))
    seen = await refresh(kept)
    assert told(seen) == {**NOTHING, "revised": ["PGS000003"]}
    assert "md5" in seen.changes[0].why


async def test_one_added_and_one_withdrawn_at_once_are_both_seen(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    await refresh(kept)
    upstream.withdraw("PGS000002")
    upstream.add("PGS000009", served_score("PGS000009"))
    seen = await refresh(kept)
    assert told(seen) == {**NOTHING, "added": ["PGS000009"], "withdrawn": ["PGS000002"]}
    assert History(kept.home, kept.build).numbers() == [1, 2]


async def test_other_etags_of_the_same_files_are_no_change(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    await refresh(kept)
    upstream.change_etags()
    assert told(await refresh(kept)) == NOTHING
    assert History(kept.home, kept.build).numbers() == [1]
    upstream.asked.clear()
    await refresh(kept)
    assert upstream.count("/files/", status=200) == 0


async def test_where_no_md5_is_published_etag_and_date_tell_versions_apart(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    upstream.scores["PGS000001"].publishes_md5 = False
    await refresh(kept)
    assert told(await refresh(kept)) == NOTHING
    upstream.revise("PGS000001", scoring_file("PGS000001", seed=1))
    assert told(await refresh(kept)) == {**NOTHING, "revised": ["PGS000001"]}


async def test_a_score_without_a_file_of_the_build_is_listed_as_such(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    upstream.scores["PGS000001"].files.clear()
    seen = await refresh(kept)
    assert [each.pgs_id for each in seen.release.release.scores.values() if not each.is_there] == ["PGS000001"]


@pytest.mark.parametrize("end", ["pgs_scores_list.txt", "PGS000002_hmPOS_GRCh38.txt.gz.md5", "current", "cohorts.csv"])
async def test_what_is_not_known_for_sure_is_no_release(
    upstream: LoopbackCatalog, kept: CatalogPlace, end: str
) -> None:
    """Red on: core/catalog/client.py: `raise _failed(url, tries, _said(trouble)) from trouble` -> `return None`."""
    upstream.answer(end, 500, times=99)
    with pytest.raises(UpstreamFailed):
        await refresh(kept)
    assert History(kept.home, kept.build).latest() is None


async def test_a_list_of_nothing_does_not_withdraw_every_score(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/release.py: `if not ids:` -> `if False:`."""
    await refresh(kept)
    upstream.change_etags()
    upstream.serve_garbage("pgs_scores_list.txt")
    with pytest.raises(UpstreamFailed, match="lists no score"):
        await refresh(kept)
    assert told(await refresh(kept)) == NOTHING


async def test_a_sheet_that_cannot_be_read_is_brought_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/refresh.py: `Seen.forget(sheet_path(place.sheets, name))` -> `pass`."""
    upstream.serve_garbage("pgs_all_metadata_cohorts.csv")
    with pytest.raises(MetadataBroken, match=r"cohorts\.csv"):
        await refresh(kept)
    assert len((await refresh(kept)).release.release.scores) == 6


async def test_metadata_with_errors_do_not_replace_those_that_are_here(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    """Red on: core/catalog/refresh.py: `if wrong is not None:` -> `if False:`."""
    await refresh(kept)
    before = read_metadata(metadata_folder(kept.home))
    upstream.sheets["performance_metrics"] *= 2
    with pytest.raises(MetadataBroken, match="performance: id_repeated, 6 times"):
        await refresh(kept)
    assert read_metadata(metadata_folder(kept.home)) == before


async def test_a_damaged_table_of_metadata_is_made_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/metadata_folder.py: `!= digest: raise Damage` -> `!= digest and 0: raise Damage`."""
    await refresh(kept)
    folder = metadata_folder(kept.home)
    whole = (folder / "scores.parquet").read_bytes()
    (folder / "scores.parquet").write_bytes(whole[:100] + b"\0" + whole[101:])
    assert read_metadata(folder) is None
    await refresh(kept)
    assert (folder / "scores.parquet").read_bytes() == whole


async def test_a_damaged_release_is_passed_over(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/history.py: `except (Damage, OSError) as error:` -> `except OSError as error:`."""
    await refresh(kept)
    upstream.withdraw("PGS000006")
    await refresh(kept)
    (kept.home / "catalog" / "releases" / "GRCh38" / "000002.json").write_bytes(b"{")
    latest = History(kept.home, kept.build).latest()
    assert latest is not None
    assert (latest.number, len(latest.release.scores)) == (1, 6)


async def test_each_build_has_releases_of_its_own(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    await refresh(kept)
    for score in upstream.scores.values():
        score.files.update({name.replace("38", "37"): content for name, content in score.files.items()})
    other = replace(kept, build=Build.GRCH37)
    assert len((await refresh(other)).changes) == 6
    assert told(await refresh(kept)) == told(await refresh(other)) == NOTHING


async def test_two_looks_at_once_are_refused(kept: CatalogPlace) -> None:
    with exclusive(kept.home / "catalog" / "refresh", purpose="catalog refresh"), pytest.raises(OutputBusy):
        await refresh(kept)


async def test_offline_nobody_is_asked(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    with pytest.raises(CatalogOffline, match="what the catalogue has now"):
        await refresh(replace(kept, offline=True))
    assert upstream.count() == 0


SCORE = Upstream(pgs_id="PGS000001", link="l", md5="a" * 32, etag='"1"', modified="Mon", released="2026-01-01")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, None),
        ({"etag": '"2"', "modified": "Tue"}, None),
        ({"md5": "b" * 32}, "revised"),
        ({"md5": None, "etag": '"2"'}, "revised"),
        ({"md5": None, "modified": "Tue"}, "revised"),
        ({"md5": None}, None),
        ({"is_there": False}, "revised"),
        ({"released": "2026-02-01"}, "redated"),
        ({"md5": None, "released": "2026-02-01"}, "revised"),
    ],
)
def test_one_version_is_told_from_another_by_what_is_known(change: dict[str, object], kind: str | None) -> None:
    now = replace(SCORE, **change)  # type: ignore[arg-type]
    old, new = (release(each) for each in (SCORE, now))
    assert [each.kind for each in changes(old, new)] == ([] if kind is None else [kind])


def release(score: Upstream) -> Release:
    return Release(date="2026-01-01", build=Build.GRCH38, scores={score.pgs_id: score}, sheets={})


def test_a_release_is_the_same_after_it_was_written_and_read() -> None:
    assert Release.of(release(SCORE).document()) == release(SCORE)
