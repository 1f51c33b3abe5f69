"""Refreshes of a loopback catalogue: what is done, what is left, and what is seen that others overlook."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sluiceway.core.catalog.backlog import State
from sluiceway.core.catalog.kept import KeptTables
from sluiceway.core.errors import NothingScored, RefreshRunning, ScoreUnknown, UpstreamFailed
from sluiceway.core.genetics import results
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.provenance.software import Software
from sluiceway.core.runs.refresh_options import OWN, READERS, RefreshOptions
from sluiceway.core.store.objects import ObjectStore
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, Site, file_name

FIRST, SECOND = GOOD[:2]
TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture(scope="session")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"))


@pytest.fixture
def upstream(invented: Invented) -> Iterator[LoopbackCatalog]:
    with invented.catalogue().served() as catalogue:
        yield catalogue


@pytest.fixture
def site(invented: Invented, upstream: LoopbackCatalog, place: Path) -> Site:
    return site_in(place, upstream, invented)


@pytest.fixture(scope="session")
def after_one(invented: Invented, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one refresh leaves."""
    folder = tmp_path_factory.mktemp("after-one")
    with pytest.MonkeyPatch.context() as user, invented.catalogue().served() as catalogue:
        user.setenv("SLUICEWAY_HOME", str(folder / "home"))
        user.setenv("SLUICEWAY_CACHE_DIR", str(folder / "cache"))
        site_in(folder, catalogue, invented).run()
    return folder


@pytest.fixture
def refreshed(site: Site, after_one: Path) -> Site:
    """A home that was refreshed once."""
    shutil.copytree(after_one, site.home.parent, dirs_exist_ok=True)
    return site


def site_in(folder: Path, upstream: LoopbackCatalog, invented: Invented) -> Site:
    return Site(
        upstream=upstream, home=folder / "home", cache=folder / "cache", out=folder / "out", panel=invented.panel
    )


def tables(site: Site, policy: str = OWN) -> list[bytes]:
    return [(site.out / policy / name).read_bytes() for name in TABLES]


def rows(site: Site) -> dict[str, str]:
    return dict(pl.read_parquet(site.out / OWN / "quality.parquet").select("pgs_id", "status").iter_rows())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def result_of(site: Site, pgs_id: str) -> Path:
    """The file of a score's result."""
    key = site.plan().entries[pgs_id].keys[OWN]
    stored = ObjectStore(site.home / "store").get(key)
    assert stored is not None
    return stored.path


def table_of(site: Site, pgs_id: str) -> Path:
    kept = KeptTables(site.home)
    found = kept.find(pgs_id, Build.GRCH38)
    assert found is not None
    stored = kept.store.get(found.keys[0])
    assert stored is not None
    return stored.path


def test_the_first_refresh_brings_and_scores_everything_and_the_second_does_nothing(site: Site) -> None:
    """Red on: core/runs/refresh.py: `n_cached=max(total` -> `n_cached=min(0, total`."""
    first = site.run()
    assert (first.planned, first.brought, first.scored) == ({"new": 6}, 6, 6)
    assert (first.n_total, first.n_failed, first.n_cached, first.coverage) == (6, 0, 0, 1)
    before, n_asked = tables(site), len(site.upstream.asked)
    second = site.run()
    assert (second.planned, second.did_nothing, second.n_cached) == ({"current": 6}, True, 6)
    assert second.said.startswith("Nothing to do: 6 scores")
    assert tables(site) == before
    asked = site.upstream.asked[n_asked:]
    assert not [each for each in asked if each.path.endswith("txt.gz")]
    assert {each.status for each in asked if each.path.endswith(".md5")} == {304}


def test_a_revised_file_is_the_only_one_that_is_brought(refreshed: Site, invented: Invented) -> None:
    """Red on: core/catalog/backlog.py: `return _other_md5(kept.md5, upstream.md5)` -> `return None`."""
    refreshed.upstream.revise(FIRST, invented.content("PGS900031"))
    assert refreshed.why(FIRST).startswith("md5 ")
    done = refreshed.run()
    assert (done.planned, done.brought, done.scored) == ({"revised": 1, "current": 5}, 1, 1)
    assert refreshed.run().did_nothing


def test_a_file_without_md5_is_revised_when_its_etag_is_another(site: Site, invented: Invented) -> None:
    site.upstream.scores[FIRST].publishes_md5 = False
    site.run()
    assert site.run().did_nothing
    site.upstream.revise(FIRST, invented.content("PGS900031"))
    assert site.run().planned == {"revised": 1, "current": 5}


@pytest.mark.parametrize("revised", [False, True])
def test_scores_whose_headers_bear_one_name_are_those_of_the_catalogue(
    site: Site, invented: Invented, revised: bool
) -> None:
    site.upstream.add("PGS900077", invented.served("PGS900077", of=FIRST))
    if revised:
        content = gzip.decompress(invented.content(SECOND)).replace(SECOND.encode(), FIRST.encode())
        site.upstream.revise("PGS900077", gzip.compress(content, mtime=0))
    done = site.run()
    assert (done.n_total, done.n_failed, rows(site)["PGS900077"]) == (7, 0, "ok")
    assert site.run().did_nothing


def test_one_added_and_one_withdrawn_at_once_is_seen_though_the_count_stays(
    refreshed: Site, invented: Invented
) -> None:
    """Red on: core/runs/refresh_plan.py: `else tuple(sorted(account.scores.keys() -` -> `else tuple(sorted(set() -`."""
    refreshed.upstream.withdraw(FIRST)
    refreshed.upstream.add("PGS900031", invented.served("PGS900031"))
    done = refreshed.run()
    assert (done.planned, done.withdrawn, done.brought) == ({"new": 1, "current": 5}, (FIRST,), 1)
    assert FIRST not in rows(refreshed)
    assert "PGS900031" in rows(refreshed)
    assert refreshed.run().did_nothing


def test_a_withdrawn_score_leaves_the_tables_though_nothing_is_scored(refreshed: Site) -> None:
    refreshed.upstream.withdraw(FIRST)
    done = refreshed.run()
    assert (done.scored, done.is_new, FIRST in rows(refreshed)) == (0, True, False)


@pytest.mark.parametrize("pgs_id", [FIRST, SECOND])
def test_a_gap_of_the_same_size_as_before_is_seen(refreshed: Site, pgs_id: str) -> None:
    """Red on: core/catalog/backlog.py: `return State.MISSING, f"its result` -> `return State.CURRENT, f"its result`."""
    for gone in (SECOND, pgs_id):
        shutil.rmtree(result_of(refreshed, gone).parent)
        assert refreshed.states()[gone] == "missing"
        assert refreshed.run().planned == {"missing": 1, "current": 5}


def test_a_damaged_result_is_scored_again_from_the_table_that_is_here(refreshed: Site) -> None:
    """Red on: core/runs/refresh_scores.py: `store.verified(key) is not None` -> `store.get(key) is not None`."""
    before = tables(refreshed)
    damage(result_of(refreshed, FIRST))
    done = refreshed.run()
    assert (done.planned, done.brought, done.scored) == ({"damaged": 1, "current": 5}, 0, 1)
    assert tables(refreshed) == before


def test_a_table_that_is_damaged_is_brought_again_before_it_is_scored(refreshed: Site) -> None:
    """Red on: core/runs/refresh_plan.py: `replace(facts, is_damaged=True)` -> `facts`."""
    shutil.rmtree(result_of(refreshed, FIRST).parent)
    damage(table_of(refreshed, FIRST))
    done = refreshed.run()
    assert (done.planned, done.brought, done.n_failed) == ({"damaged": 1, "current": 5}, 1, 0)


def test_a_damaged_folder_of_tables_is_laid_out_again(refreshed: Site) -> None:
    """Red on: core/runs/refresh_scores.py: `made_of == before and self.is_whole()` -> `made_of == before`."""
    before = tables(refreshed)
    damage(refreshed.out / OWN / "distributions.parquet")
    done = refreshed.run()
    assert (done.scored, done.is_new) == (0, True)
    assert tables(refreshed) == before


def test_a_download_that_breaks_leaves_the_others_and_is_tried_again(site: Site) -> None:
    site.upstream.serve_garbage(file_name(FIRST), times=2)
    first = site.run()
    assert (first.n_failed, first.n_cached, rows(site)[FIRST]) == (1, 0, "failed")
    assert site.states()[FIRST] == "failed"
    second = site.run()
    assert (second.brought, second.scored, second.n_failed) == (1, 1, 0)


def test_a_score_that_fails_is_given_up_when_its_tries_are_spent_over_restarts(site: Site) -> None:
    """Red on: core/runs/refresh_fetch.py: `return self._failures.failure(self._key(upstream))` -> `return None`."""
    site.upstream.serve_garbage(file_name(FIRST), times=100)
    seen = []
    for _ in range(4):
        site.run()
        seen.append(site.states()[FIRST])
    assert seen == ["failed", "failed", "given up", "given up"]
    done = site.run()
    assert (done.did_nothing, done.n_failed, rows(site)[FIRST]) == (True, 1, "failed")
    site.upstream.faults.clear()
    assert site.run(retry_failed=True).brought == 1


def test_a_revised_file_has_all_its_tries_again(site: Site, invented: Invented) -> None:
    site.upstream.serve_garbage(file_name(FIRST), times=100)
    for _ in range(3):
        site.run()
    site.upstream.faults.clear()
    site.upstream.revise(FIRST, invented.content("PGS900031"))
    assert site.run().n_failed == 0


def test_what_cannot_be_scored_is_a_row_with_its_reason_and_keeps_nothing_open(site: Site, invented: Invented) -> None:
    """Red on: core/catalog/backlog.py: `if failure.permanent:` -> `if False:`."""
    site.upstream.add("PGS900090", invented.served("PGS900090"))
    site.upstream.add("PGS900099", invented.served("PGS900099", of="PGS900001"))
    site.upstream.scores["PGS900099"].files.clear()
    first = site.run()
    assert (first.n_total, first.n_failed) == (8, 2)
    reasons = dict(pl.read_parquet(site.out / OWN / "quality.parquet").select("pgs_id", "reason").iter_rows())
    assert "gzip stream ends" in reasons["PGS900090"]
    assert "no such file" in reasons["PGS900099"]
    assert site.run().did_nothing


def test_a_catalogue_that_gives_no_file_at_all_costs_no_score_a_try(invented: Invented, site: Site) -> None:
    for number in range(8):
        site.upstream.add(f"PGS90010{number}", invented.served(f"PGS90010{number}", of=FIRST))
    site.upstream.answer(".txt.gz", 503, times=10_000)
    with pytest.raises(UpstreamFailed):
        site.run()
    assert set(site.states().values()) == {"new"}


def test_another_panel_makes_every_score_stale(invented: Invented, site: Site) -> None:
    """Red on: core/genetics/results.py: `"panel": panel},` -> `"panel": ""},`."""
    own = Invented.made(site.home.parent / "own", variants=2_000)
    site.panel = own.panel
    site.run()
    make_panel(own.panel, variants=2_000, people=41, seed=5)
    assert {site.why(each) for each in GOOD} == {"the panel changed"}
    assert site.run().planned == {"stale": 6}


def test_another_policy_makes_scores_stale_and_going_back_finds_them_current(refreshed: Site) -> None:
    changed = Policy(missing="zero")
    assert refreshed.why(FIRST, policy=changed) == "policy: missing mean became zero"
    assert refreshed.run(policy=changed).planned == {"stale": 6}
    back = refreshed.run()
    assert (back.planned, back.scored, back.is_new) == ({"current": 6}, 0, True)


def test_other_code_makes_every_score_stale(refreshed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red on: core/genetics/results.py: `modules=software.modules,` -> `modules={},`."""
    now = results.scoring_software()
    module = "sluiceway.core.genetics.match"
    later = Software(modules={**now.modules, module: "sha256:0"}, environment=now.environment)
    monkeypatch.setattr(results, "scoring_software", lambda: later)
    assert refreshed.why(FIRST) == f"code changed: {module}"
    assert refreshed.run().planned == {"stale": 6}


def test_without_the_cache_everything_is_scored_again_to_the_same_bytes(refreshed: Site) -> None:
    before = tables(refreshed)
    done = refreshed.run(use_cache=False)
    assert (done.scored, done.n_cached, done.brought) == (6, 0, 0)
    assert tables(refreshed) == before


def test_repairs_ask_the_catalogue_nothing_and_leave_what_is_new(refreshed: Site, invented: Invented) -> None:
    shutil.rmtree(result_of(refreshed, FIRST).parent)
    refreshed.upstream.add("PGS900031", invented.served("PGS900031"))
    before = len(refreshed.upstream.asked)
    done = refreshed.run(only=(State.MISSING, State.FAILED, State.DAMAGED))
    assert (done.scored, done.n_asked, len(refreshed.upstream.asked)) == (1, 0, before)


def test_tables_stay_as_they_were_while_scores_are_left_open(refreshed: Site, invented: Invented) -> None:
    before = tables(refreshed)
    refreshed.upstream.add("PGS900031", invented.served("PGS900031"))
    done = refreshed.run(only=(State.REVISED,))
    assert (done.left_open, done.scored) == (1, 0)
    assert "1 wait for a refresh of everything" in done.said
    assert tables(refreshed) == before
    assert refreshed.run().scored == 1


def test_chunks_give_the_same_bytes_as_all_at_once(site: Site) -> None:
    site.run(chunk=2)
    in_chunks = tables(site)
    site.out = site.out.with_name("again")
    site.run(use_cache=False)
    assert tables(site) == in_chunks


def test_both_policies_are_scored_where_something_is_to_be_published() -> None:
    assert list(RefreshOptions().policies) == [READERS, OWN]
    assert list(RefreshOptions(publish=False).policies) == [OWN]


def test_only_some_scores_can_be_refreshed(site: Site) -> None:
    assert site.run(scores=(SECOND,)).n_total == 1
    with pytest.raises(ScoreUnknown, match="PGS000777"):
        site.run(scores=("PGS000777",))


def test_a_second_refresh_at_the_same_time_is_refused_and_told_who_is_at_work(site: Site) -> None:
    """Red on: core/runs/refresh.py: `lock.__enter__()` -> `pass`."""
    with site.refresh().alone(), pytest.raises(RefreshRunning, match=r"process \d+ on .* \(refresh into "):
        site.run()
    assert not site.out.exists()


def test_a_refresh_without_any_result_is_a_failure(site: Site) -> None:
    for pgs_id in GOOD:
        site.upstream.scores[pgs_id].files.clear()
    with pytest.raises(NothingScored):
        site.run()


def test_the_summary_tells_what_each_step_used(refreshed: Site) -> None:
    told: dict[str, Any] = refreshed.run().document()
    assert [each["task"] for each in told["resources"]] == [
        "look_at_catalogue",
        "prepare_panel",
        "plan_scores",
        "lay_out_tables",
        "publish",
    ]
    assert all(each["wall_seconds"] >= 0 for each in told["resources"])


def test_a_plan_is_on_the_disk_before_anything_is_done(site: Site) -> None:
    refresh = site.refresh()
    looked = refresh.look()
    refresh.prepare()
    refresh.note(refresh.plan(looked))
    assert (site.out / "plan.json").read_text().count('"new"') == 7
    assert not (site.home / "store").exists() or not list((site.home / "store").rglob("payload"))


def test_facts_of_a_score_do_not_change_another(refreshed: Site) -> None:
    damage(result_of(refreshed, FIRST))
    seen = refreshed.plan()
    assert [each.pgs_id for each in seen.backlog.chosen] == [FIRST]
    assert replace(seen.backlog, use_cache=False).counts == seen.backlog.counts
