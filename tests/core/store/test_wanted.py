"""Results of scores: what an output needs stays; what none needs goes to the trash, and comes back when it does."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import ArtifactUnknown, StorageFailed
from sluiceway.core.store.objects import ObjectStore
from sluiceway.core.store.wanted import Results
from tests.clocks import SteppedClock
from tests.conftest import ROOT
from tests.core.store.kept import put_result, results_in

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def results(tmp_path: Path, clock: SteppedClock) -> Results:
    return results_in(tmp_path, clock)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_what_an_output_needs_stays_and_the_rest_goes_after_the_time_of_grace(
    results: Results, out: Path, clock: SteppedClock
) -> None:
    """Red on: core/store/wanted.py: `if each.is_there for key in each.keys` -> `for key in ()`."""
    needed, other = put_result(results, "a"), put_result(results, "b")
    results.want(out, [needed], also=False)
    clock.time += 13 * DAY
    assert results.collect(do=True).trashed == ()
    clock.time += DAY
    told = results.collect(do=False)
    assert (told.trashed, told.kept, results.find(other) is not None) == ((other,), 1, True)
    assert results.collect(do=True).trashed == (other,)
    assert (results.store.verified(needed) is not None, results.store.verified(other)) == (True, None)


def test_what_went_can_be_restored_until_it_is_removed(results: Results, clock: SteppedClock) -> None:
    key = put_result(results, "a")
    clock.time += 14 * DAY
    results.collect(do=True)
    results.trash().restore(key)
    assert results.store.verified(key) is not None
    clock.time += 14 * DAY
    results.collect(do=True)
    clock.time += 14 * DAY
    assert results.collect(do=True).removed == (key,)
    with pytest.raises(ArtifactUnknown, match="not in the trash"):
        results.trash().restore(key)


def test_an_output_that_is_gone_needs_nothing_and_one_that_is_back_has_its_results_back(
    results: Results, out: Path
) -> None:
    """Red on: core/store/wanted.py: `if not each.is_there and not each.keys & left:` -> `if not each.is_there:`."""
    key = put_result(results, "a")
    results.want(out, [key], also=False)
    out.rename(away := out.with_name("away"))
    assert results.collect(grace=timedelta(), do=True).trashed == (key,)
    away.rename(out)
    assert results.collect(grace=timedelta(), do=True).restored == (key,)
    out.rmdir()
    results.collect(grace=timedelta(), keep_trash=timedelta(), do=True)
    results.collect(grace=timedelta(), keep_trash=timedelta(), do=True)
    assert results.outputs() == set()


def test_a_run_that_has_begun_keeps_what_its_folder_needed_before(results: Results, out: Path) -> None:
    """Red on: core/store/wanted.py: `wanted |= _listed(path, content).keys` -> `pass`."""
    old, new = put_result(results, "a"), put_result(results, "b")
    results.want(out, [old], also=False)
    results.want(out, [new], also=True)
    assert results.collect(grace=timedelta(), do=True).trashed == ()
    results.want(out, [new], also=False)
    assert results.collect(grace=timedelta(), do=True).trashed == (old,)


def test_to_find_a_result_again_is_to_use_it(results: Results, out: Path, clock: SteppedClock) -> None:
    """Red on: core/store/wanted.py: `for each in wanted:` -> `for each in ():`."""
    key = put_result(results, "a")
    clock.time += 13 * DAY
    results.want(out, [key], also=True)
    out.rmdir()
    clock.time += 13 * DAY
    assert results.collect(do=True).trashed == ()


@pytest.mark.parametrize("spoil", [b"", b"{}", b'{"keys": []}'])
def test_nothing_is_collected_where_a_list_cannot_be_read(results: Results, out: Path, spoil: bytes) -> None:
    """Red on: core/store/wanted.py: `told = unsealed(content, name=path.name)` ->
    `told = {"output": "", "keys": []}`.
    """
    key = put_result(results, "a")
    results.want(out, [key], also=False)
    (path,) = (results.store.folder / "wanted").iterdir()
    path.write_bytes(spoil)
    with pytest.raises(StorageFailed, match="by mistake"):
        results.collect(grace=timedelta(), do=True)
    assert results.store.verified(key) is not None


@pytest.mark.slow
def test_whoever_is_killed_while_results_are_collected_leaves_each_whole(tmp_path: Path) -> None:
    """Red on: core/store/trash.py: `place.rename(trashed)` -> `__import__("shutil").copytree(place, trashed)`."""
    command = [sys.executable, "-m", "tests.core.store.killed_artifacts", str(tmp_path), "results"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = done.stdout.split()
    assert len(steps) > 3
    for number, step in enumerate(steps):
        results = results_in(tmp_path / str(number))
        there = list(results.every())
        assert [results.store.verified(each) is not None for each in there] == [True] * len(there), step
        assert len({*there, *results.trash().names()}) == len(there) + len(results.trash().names()) >= 1, step
        assert results.collect(grace=timedelta(), do=True).kept == 1, step


def test_keys_of_objects_are_told_and_nothing_else(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    key = put_result(results, "a")
    (results.store.folder / "artifacts" / "ab").mkdir(parents=True)
    (results.store.folder / "zz").mkdir()
    assert list(ObjectStore(results.store.folder).every()) == [key]
