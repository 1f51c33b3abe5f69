"""Scores are brought whole or not at all, kept as tables, and one that is broken does not hold up the others."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sluiceway.core.catalog.fetch import Fetched, NotFetched
from sluiceway.core.catalog.kept import Kept, KeptTables
from sluiceway.core.catalog.library import Library
from sluiceway.core.catalog.local_files import LocalFiles
from sluiceway.core.catalog.refresh import CatalogPlace, pull, refresh
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import CatalogOffline, ScoreUnknown, ScoringFileBroken
from sluiceway.core.genetics.build import Build
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.store.objects import ObjectStore
from tests.conftest import ROOT
from tests.core.catalog.conftest import place_of
from tests.loopback_catalog import SWIFT, LoopbackCatalog
from tests.loopback_content import real, scoring_file, served_score

NAME = "PGS000001_hmPOS_GRCh38.txt.gz"
BROKEN = gzip.compress(b"#pgs_id=PGS000001\nrsID\teffect_allele\nrs1\tA\n", mtime=0)


def note(kept: CatalogPlace, pgs_id: str = "PGS000001") -> Path:
    return KeptTables(kept.home).note(pgs_id, Build.GRCH38)


def library(kept: CatalogPlace) -> Library:
    return Library(ObjectStore(kept.cache / "scores"))


def raw_files(kept: CatalogPlace) -> list[str]:
    return sorted(each.name for each in (kept.home / "catalog").rglob("*.txt.gz"))


async def test_a_score_becomes_the_table_that_its_file_would_be(
    upstream: LoopbackCatalog, kept: CatalogPlace, tmp_path: Path
) -> None:
    file = tmp_path / NAME
    file.write_bytes(upstream.scores["PGS000001"].files[NAME])
    (fetched,) = await pull(kept, ["PGS000001"])
    assert isinstance(fetched, Fetched)
    (mine,), (theirs,) = library(kept).load(note(kept)), library(kept).load(file)
    assert (mine.digest, mine.key, mine.n_rows) == (theirs.digest, theirs.key, 20)
    assert library(kept).whole(mine).rows.equals(read_scoring_file(file)[0].rows)


async def test_the_file_goes_and_its_md5_stays(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/fetch.py: `_remove(raw) (self._quarantine` -> `(self._quarantine`."""
    await refresh(kept)
    await pull(kept, ["PGS000001"])
    found = Kept.read(note(kept))
    assert found is not None
    assert (raw_files(kept), found.released) == ([], "2026-10-01")
    assert upstream.content(f"/files/scores/PGS000001/ScoringFiles/Harmonized/{NAME}.md5", {}) == (
        f"{found.md5}  {NAME}\n".encode()
    )


async def test_what_is_here_is_not_brought_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    await pull(kept, ["PGS000001"])
    upstream.asked.clear()
    (again,) = await pull(kept, ["PGS000001"])
    assert isinstance(again, Fetched)
    assert (again.was_there, upstream.count(NAME), upstream.count(f"{NAME}.md5")) == (True, 1, 1)


async def test_a_revised_file_is_brought_though_nobody_looked_meanwhile(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    await refresh(kept)
    await pull(kept, ["PGS000001"])
    upstream.revise("PGS000001", scoring_file("PGS000001", rows=33))
    await pull(kept, ["PGS000001"])
    assert library(kept).load(note(kept))[0].n_rows == 33


async def test_a_broken_file_is_set_aside_with_its_reason_and_the_others_go_on(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    """Red on: core/catalog/fetch.py: `except ScoringFileBroken as error:` -> `except ZeroDivisionError as error:`."""
    upstream.revise("PGS000001", BROKEN)
    await refresh(kept)
    broken, *others = await pull(kept, None)
    assert isinstance(broken, NotFetched)
    assert "no column of weights" in broken.reason
    assert {type(each) for each in others} == {Fetched}
    assert broken.quarantine is not None
    assert (broken.quarantine.read_bytes(), broken.is_permanent) == (BROKEN, True)
    told = json.loads(broken.quarantine.with_name(f"{NAME}.reason.json").read_text())
    assert told["reason"] == broken.reason


async def test_a_score_that_was_set_aside_says_why_when_it_is_used(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    upstream.revise("PGS000001", BROKEN)
    await pull(kept, ["PGS000001"])
    files = LocalFiles.below(kept.home, Build.GRCH38)
    (found,) = files.files_of([Path("PGS000001")])
    with pytest.raises(ScoringFileBroken, match="no column of weights"):
        library(kept).load(found)
    assert files.lacking([Path("PGS000001")]) == ("PGS000001",)


async def test_a_broken_file_that_was_mended_is_used_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    good = upstream.scores["PGS000001"].files[NAME]
    upstream.revise("PGS000001", BROKEN)
    await pull(kept, ["PGS000001"])
    upstream.revise("PGS000001", good)
    await pull(kept, ["PGS000001"])
    assert LocalFiles.below(kept.home, Build.GRCH38).find("PGS000001") == note(kept)
    assert raw_files(kept) == []


@pytest.mark.parametrize("fault", ["truncate", "garbage", "nothing", "status", "stall"])
async def test_a_download_that_fails_is_one_line_and_the_next_try_goes_on(
    upstream: LoopbackCatalog, kept: CatalogPlace, fault: str
) -> None:
    """Red on: core/catalog/fetch.py: `except UpstreamFailed as error:` -> `except ZeroDivisionError as error:`."""
    if fault == "truncate":
        upstream.truncate(NAME, after=0, times=9)
    elif fault == "garbage":
        upstream.serve_garbage(NAME, times=9)
    elif fault == "nothing":
        upstream.serve_nothing(NAME, times=9)
    elif fault == "status":
        upstream.answer(NAME, 503, times=9)
    else:
        kept = replace(kept, manners=replace(SWIFT, silence=SWIFT.silence / 5))
        upstream.stall(NAME, times=9)
    failed, other = await pull(kept, ["PGS000001", "PGS000002"])
    assert (type(failed), type(other)) == (NotFetched, Fetched)
    assert not note(kept).exists()
    upstream.faults.clear()
    (again,) = await pull(kept, ["PGS000001"])
    assert isinstance(again, Fetched)


async def test_a_table_that_was_damaged_is_brought_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/kept.py: `if all(store.get(key) is not None` -> `if all(key is not None`."""
    (fetched,) = await pull(kept, ["PGS000001"])
    assert isinstance(fetched, Fetched)
    payload = KeptTables(kept.home).store.get(fetched.kept.keys[0])
    assert payload is not None
    payload.path.write_bytes(b"")
    files = LocalFiles.below(kept.home, Build.GRCH38)
    assert files.lacking([Path("PGS000001")]) == ("PGS000001",)
    with pytest.raises(ScoringFileBroken, match="catalog pull PGS000001"):
        library(kept).load(note(kept))
    await pull(kept, ["PGS000001"])
    assert KeptTables(kept.home).is_whole("PGS000001", Build.GRCH38)


async def test_bytes_changed_in_a_table_are_never_scored(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    """Red on: core/catalog/library.py: `raise damaged(score.source)` -> `return None`."""
    (fetched,) = await pull(kept, ["PGS000001"])
    assert isinstance(fetched, Fetched)
    (known,) = library(kept).load(note(kept))
    payload = KeptTables(kept.home).store.get(known.key)
    assert payload is not None
    content = payload.path.read_bytes()
    payload.path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with pytest.raises(ScoringFileBroken, match="damaged"):
        library(kept).numbers(known)


async def test_a_table_of_an_older_form_is_made_again(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    (fetched,) = await pull(kept, ["PGS000001"])
    assert isinstance(fetched, Fetched)
    replace(fetched.kept, form=0).write(note(kept))
    assert KeptTables(kept.home).find("PGS000001", Build.GRCH38) is None


async def test_the_note_stands_for_the_file_as_an_input(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    await pull(kept, ["PGS000001"])
    (known,) = library(kept).load(note(kept))
    assert library(kept).is_of(known, digest_of_file(note(kept)))
    assert not library(kept).is_of(known, digest_of_file(Path(__file__)))
    before = note(kept).read_bytes()
    upstream.change_etags()
    await pull(kept, ["PGS000001"], again=True)
    assert note(kept).read_bytes() == before


async def test_several_at_once_are_several_connections_and_no_more(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    upstream.delay = 0.02
    await pull(kept, sorted(upstream.scores))
    assert 2 <= upstream.most_busy <= 4


async def test_a_whole_catalogue_needs_no_more_open_files_than_a_few_scores(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    """Red on: core/catalog/fetch.py: `Semaphore(client.manners.at_once)` -> `Semaphore(9999)`."""
    for number in range(7, 80):
        upstream.add(f"PGS{number:06}", served_score(f"PGS{number:06}", content=b"no score"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 45, hard))
    try:
        brought = await pull(kept, sorted(upstream.scores))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sum(isinstance(each, Fetched) for each in brought) == 6


async def test_progress_is_told_to_the_end(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    heard: list[tuple[str, int, int]] = []
    await pull(kept, sorted(upstream.scores), progress=lambda *told: heard.append(told))
    assert heard == [("scoring files", done, 6) for done in range(1, 7)]


async def test_an_id_that_the_catalogue_does_not_know_is_refused(kept: CatalogPlace) -> None:
    with pytest.raises(ScoreUnknown, match="PGS999999"):
        await pull(kept, ["PGS000001", "PGS999999"])


async def test_offline_nothing_is_brought(upstream: LoopbackCatalog, kept: CatalogPlace) -> None:
    with pytest.raises(CatalogOffline, match="scoring files"):
        await pull(replace(kept, offline=True), ["PGS000001"])
    assert upstream.count() == 0


async def test_real_files_are_brought_and_read_as_from_the_disk(real_data: Path, tmp_path: Path) -> None:
    with real(real_data).served() as upstream:
        kept = place_of(upstream, tmp_path)
        seen = await refresh(kept)
        brought = await pull(kept, None)
    assert {each.pgs_id for each in brought if isinstance(each, Fetched)} == set(seen.release.release.scores)
    for file in (real_data / "scoring").rglob("PGS*_hmPOS_GRCh38.txt.gz"):
        (known,) = library(kept).load(note(kept, file.name.partition("_")[0]))
        (own,) = Library(ObjectStore(tmp_path / "own")).load(file)
        assert (known.digest, known.n_rows) == (own.digest, own.n_rows)


KILLED = """
import asyncio, sys
from pathlib import Path
from sluiceway.core.catalog.refresh import pull
from tests.core.catalog.conftest import place_of
from tests.loopback_catalog import LoopbackCatalog
base, folder = sys.argv[1:]
place = place_of(LoopbackCatalog(scores={}, sheets={}, base=base), Path(folder))
asyncio.run(pull(place, [f"PGS{number:06}" for number in range(1, 7)]))
"""


@pytest.mark.slow
def test_what_was_kept_before_a_kill_is_not_brought_again_and_the_rest_is(
    upstream: LoopbackCatalog, kept: CatalogPlace, tmp_path: Path
) -> None:
    """Red on: core/catalog/fetch.py: `kept.write(self._tables.note(upstream.pgs_id, self._build))` -> `pass`."""
    for pgs_id in ("PGS000005", "PGS000006"):
        upstream.stall(f"{pgs_id}_hmPOS_GRCh38.txt.gz", after=100, times=9)
    child = subprocess.Popen([sys.executable, "-c", KILLED, upstream.base, str(tmp_path)], cwd=ROOT)
    tables = KeptTables(kept.home)
    deadline = time.monotonic() + 30
    while len(list(tables.notes())) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = {each.name for each in tables.notes()}
    upstream.faults.clear()
    upstream.asked.clear()
    asyncio.run(pull(kept, sorted(upstream.scores)))
    assert (len(before), len(list(tables.notes())), raw_files(kept)) == (4, 6, [])
    assert upstream.count(".txt.gz") - upstream.count(".md5") == 2
