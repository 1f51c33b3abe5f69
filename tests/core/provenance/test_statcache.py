"""The stat cache: an unchanged file is not read again, and no change goes unseen."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings

from sluiceway.core.errors import TreeUnreadable
from sluiceway.core.provenance import statcache
from sluiceway.core.provenance.statcache import StatCache, is_racy
from sluiceway.core.provenance.tree import Looking, digest_of_leaf, digest_of_tree
from sluiceway.core.remote.clock import SystemClock
from tests.conftest import ROOT
from tests.core.provenance.test_tree import Tree, folders, planted

HOUR = timedelta(hours=1)
opened: list[str] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else "")


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    # There is no way to take one back.
    sys.addaudithook(_hear)


@contextmanager
def reading(folder: Path) -> Iterator[list[str]]:
    """The files in a folder that are opened meanwhile."""
    found: list[str] = []
    opened.clear()
    yield found
    found += [Path(each).name for each in opened if each.startswith(str(folder))]


class Late(SystemClock):
    """A clock by which every file was written long ago, unless it goes right."""

    ahead = HOUR

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> Late:
    return Late()


@pytest.fixture
def looking(tmp_path: Path, clock: Late) -> Looking:
    return Looking(cache=StatCache(tmp_path / "cache", clock=clock))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a", "b/c"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


def test_an_unchanged_file_is_not_read_again(tree: Path, looking: Looking) -> None:
    with reading(tree) as first:
        digest = digest_of_tree(tree, looking)
    with reading(tree) as second:
        assert digest_of_tree(tree, looking) == digest
    assert (sorted(first), second) == (["a", "c"], [])


def test_only_what_changed_is_read(tree: Path, looking: Looking) -> None:
    before = digest_of_tree(tree, looking)
    (tree / "a").write_text("A")
    (tree / "new").touch()
    with reading(tree) as read:
        assert digest_of_tree(tree, looking) == digest_of_tree(tree) != before
    assert sorted(read) == ["a", "a", "c", "new", "new"]


def test_a_full_look_reads_everything_whatever_is_known(tree: Path, looking: Looking) -> None:
    digest_of_tree(tree, looking)
    with reading(tree) as read:
        digest_of_tree(tree, replace(looking, full=True))
    assert sorted(read) == ["a", "c"]


def test_the_bytes_own_digest_is_remembered_beside_the_leaf(tree: Path, looking: Looking) -> None:
    plain = replace(looking, plain=True)
    digest_of_tree(tree, looking)
    with reading(tree) as first:
        digest_of_tree(tree, plain)
    with reading(tree) as second:
        assert digest_of_tree(tree, plain) == digest_of_tree(tree, looking)
    assert (sorted(first), second) == (["a", "c"], [])


def edit_of_the_same_size_with_its_old_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"B")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_in_its_place(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"B")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def another_mode(path: Path) -> None:
    path.chmod(0o755)


CHANGES = [edit_of_the_same_size_with_its_old_time, another_file_in_its_place, another_mode]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_hides_is_seen(tree: Path, looking: Looking, change: Callable[[Path], None]) -> None:
    """Red on: core/provenance/statcache.py: `if row is None or tuple(row[:3]) != identity(status)[2:]:` -> `if row
    is None or row[0] != status.st_size:`.
    """
    before = digest_of_tree(tree, looking)
    change(tree / "a")
    assert digest_of_tree(tree, looking) == digest_of_tree(tree) != before


def test_a_file_that_was_just_written_is_not_trusted(tree: Path, looking: Looking, clock: Late) -> None:
    clock.ahead = timedelta(0)
    for path in (tree / "a", tree / "b" / "c"):
        path.write_bytes(path.read_bytes())
    digest_of_tree(tree, looking)
    with reading(tree) as read:
        digest_of_tree(tree, looking)
    assert sorted(read) == ["a", "c"]
    clock.ahead = HOUR
    digest_of_tree(tree, looking)
    with reading(tree) as later:
        digest_of_tree(tree, looking)
    assert later == []


def test_an_edit_within_the_tick_of_the_last_one_is_seen(tree: Path, looking: Looking, clock: Late) -> None:
    """Two writes that leave the same size and times: the file systems' clocks may be too coarse to tell them apart.

    Red on: core/provenance/statcache.py: `if not is_racy(status, seen)` -> `if True`.
    """
    clock.ahead = timedelta(0)
    path = tree / "a"
    before = path.stat()
    for content in (b"1", b"2"):
        path.write_bytes(content)
        assert digest_of_tree(path, looking) == digest_of_leaf(content)
    assert looking.cache is not None
    assert looking.cache.find(path.stat()) is None
    assert before.st_size == path.stat().st_size


@pytest.mark.parametrize(
    ("ctime_ns", "seen_later", "racy"),
    [
        (10**18 + 5, 99_000_000, True),
        (10**18 + 5, 101_000_000, False),
        (10**18, 1_999_000_000, True),
        (10**18, 2_001_000_000, False),
        (10**18 + 5, -1, True),
    ],
    ids=["same tick", "later tick", "same coarse tick", "later coarse tick", "a time to come"],
)
def test_how_long_a_file_is_racy_depends_on_its_file_systems_clock(
    tree: Path, ctime_ns: int, seen_later: int, racy: bool
) -> None:
    times = {"st_ctime_ns": ctime_ns, "st_mtime_ns": 0}
    status = os.stat_result((tree / "a").stat()[:10], times)
    assert is_racy(status, ctime_ns + seen_later) is racy


@pytest.mark.parametrize("content", [b"no database at all, " * 100, b""])
def test_a_damaged_cache_is_as_good_as_none_and_is_made_anew(
    tree: Path, tmp_path: Path, clock: Late, content: bytes
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / statcache.NAME).write_bytes(content)
    for _ in range(2):
        looking = Looking(cache=StatCache(tmp_path / "cache", clock=clock))
        assert digest_of_tree(tree, looking) == digest_of_tree(tree)
    with reading(tree) as read:
        digest_of_tree(tree, Looking(cache=StatCache(tmp_path / "cache", clock=clock)))
    assert read == []


def test_a_cache_that_cannot_be_written_is_done_without(tree: Path, tmp_path: Path, clock: Late) -> None:
    (tmp_path / "cache").write_text("a file")
    assert digest_of_tree(tree, Looking(cache=StatCache(tmp_path / "cache", clock=clock))) == digest_of_tree(tree)


WORKER = """
import sys
from pathlib import Path
from tests.core.provenance.test_statcache import Late
from sluiceway.core.provenance.statcache import StatCache
from sluiceway.core.provenance.tree import Looking, digest_of_tree

tree, cache = map(Path, sys.argv[1:])
for _ in range(20):
    with StatCache(cache, clock=Late()) as known:
        print(digest_of_tree(tree, Looking(cache=known)))
"""


def test_several_processes_use_one_cache(tree: Path, tmp_path: Path) -> None:
    for number in range(200):
        (tree / str(number)).write_text(str(number))
    command = [sys.executable, "-c", WORKER, str(tree), str(tmp_path / "cache")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [each.communicate()[0].split() for each in started]
    assert said == [[digest_of_tree(tree)] * 20] * 3
    with sqlite3.connect(tmp_path / "cache" / statcache.NAME) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (202,)


@settings(deadline=None, max_examples=40)
@given(folders)
def test_a_tree_of_known_files_has_the_digest_that_reading_it_gives(tree: Tree) -> None:
    """Red on: core/provenance/tree.py: `children[each.name] = child` -> `children[each.name[:1]] = child`."""
    with planted(tree) as path, StatCache(path.parent / "cache", clock=Late()) as cache:
        looking = Looking(cache=cache, leave_out=frozenset({b"a"}))
        read = digest_of_tree(path, replace(looking, full=True))
        assert digest_of_tree(path, looking) == read == digest_of_tree(path, replace(looking, cache=None))


def test_a_very_deep_tree_of_known_files_has_its_digest(tmp_path: Path, clock: Late) -> None:
    deepest = tmp_path.joinpath("tree", *["d"] * 200)
    deepest.mkdir(parents=True)
    (deepest / "file").write_text("x")
    with StatCache(tmp_path / "cache", clock=clock) as cache:
        read = digest_of_tree(tmp_path / "tree", Looking(cache=cache))
        with reading(deepest) as again:
            assert digest_of_tree(tmp_path / "tree", Looking(cache=cache)) == read
        assert "file" not in again


def test_what_is_no_file_is_refused_though_all_else_is_known(tmp_path: Path, clock: Late) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    with StatCache(tmp_path / "cache", clock=clock) as cache:
        digest_of_tree(tmp_path / "tree", Looking(cache=cache))
        os.mkfifo(tmp_path / "tree" / "pipe")
        with pytest.raises(TreeUnreadable, match="pipe"):
            digest_of_tree(tmp_path / "tree", Looking(cache=cache))
