"""The store of objects: found by content key, put by many at once, and with a budget for failures."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.errors import NotCanonical, StorageFailed
from sluiceway.core.store.objects import ObjectStore
from tests.clocks import SteppedClock
from tests.conftest import ROOT

FIRST, SECOND = (f"sha256:{digits * 32}" for digits in ("ab", "cd"))
# Puts one key many times, as its argument says, and checks each time what it reads.
PUTTING = """
import sys
from pathlib import Path
from sluiceway.core.store.objects import ObjectStore
for number in range(20):
    store = ObjectStore(Path(sys.argv[1]))
    store.put(sys.argv[2], lambda path: path.write_bytes(sys.argv[3].encode()), facts={"by": sys.argv[3]})
    found = store.verified(sys.argv[2])
    assert found is None or found.digest
"""


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


def put(store: ObjectStore, key: str = FIRST, content: bytes = b"payload", **facts: Any) -> None:
    store.put(key, lambda path: path.write_bytes(content), facts=facts)


def test_an_object_comes_back_with_its_payload_and_facts(store: ObjectStore) -> None:
    put(store, content=b"scores", name="PGS000018", share=0.98, parts=[1, None])
    found = store.get(FIRST)
    assert found is not None
    assert (found.key, found.size, found.path.read_bytes()) == (FIRST, 6, b"scores")
    assert found.facts == {"name": "PGS000018", "share": 0.98, "parts": [1, None]}
    assert found == store.verified(FIRST)
    assert store.read(FIRST) == b"scores"


def test_a_put_gives_what_a_get_gives(store: ObjectStore) -> None:
    stored = store.put(FIRST, lambda path: path.touch(), facts={"n": 0})
    assert stored == store.get(FIRST)


@pytest.mark.parametrize("ask", [ObjectStore.get, ObjectStore.verified, ObjectStore.read, ObjectStore.failure])
def test_a_key_without_object_gives_nothing_and_makes_no_files(store: ObjectStore, ask: Any) -> None:
    assert ask(store, FIRST) is None
    assert not store.folder.exists()


def test_has_names_the_keys_that_are_there(store: ObjectStore) -> None:
    put(store, FIRST)
    assert store.has([FIRST, SECOND]) == {FIRST}


@pytest.mark.parametrize("key", ["ab" * 32, "sha256:../../etc", "sha256:" + "AB" * 32, f"{FIRST}\n"])
def test_what_is_no_content_key_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="is no content key"):
        store.get(key)


def test_a_removed_object_is_gone_and_its_removal_may_be_repeated(store: ObjectStore) -> None:
    put(store)
    store.remove(FIRST)
    store.remove(FIRST)
    assert store.has([FIRST]) == set()
    assert list((store.folder / "incoming").iterdir()) == []


def test_a_writer_that_fails_leaves_nothing(store: ObjectStore) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyError("PGS000018")

    with pytest.raises(KeyError, match="PGS000018"):
        store.put(FIRST, write, facts={})
    assert store.get(FIRST) is None
    assert list((store.folder / "incoming").iterdir()) == []


def test_a_file_that_a_writer_did_not_find_is_not_laid_to_the_store(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put(FIRST, lambda _: (tmp_path / "input").read_bytes(), facts={})


def test_facts_that_json_cannot_hold_are_refused(store: ObjectStore) -> None:
    with pytest.raises(NotCanonical):
        put(store, share=float("nan"))
    assert store.has([FIRST]) == set()


def test_a_store_where_there_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StorageFailed, match="could not write to the store"):
        put(ObjectStore(tmp_path / "store"))


def test_other_bytes_under_one_key_replace_the_object_and_are_told(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, content=b"one")
    put(store, content=b"one")
    assert caplog.messages == []
    put(store, content=b"two")
    assert store.read(FIRST) == b"two"
    assert caplog.messages == [f"object replaced by other bytes key={FIRST}"]


def test_an_object_in_the_place_of_another_is_not_served(store: ObjectStore) -> None:
    put(store)
    place = store.folder / "cd" / ("cd" * 32)
    place.parent.mkdir()
    (store.folder / "ab" / ("ab" * 32)).rename(place)
    assert store.get(SECOND) is None


def test_threads_that_put_the_same_key_leave_one_whole_object(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: put(store, content=b"same" * 1000), range(40)))
    assert store.read(FIRST) == b"same" * 1000
    assert not store.quarantine.exists()
    assert list((store.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize("contents", [("same", "same"), ("one", "other")])
def test_two_processes_that_put_the_same_key_do_each_other_no_harm(
    store: ObjectStore, contents: tuple[str, str]
) -> None:
    command = [sys.executable, "-c", PUTTING, str(store.folder), FIRST]
    both = [subprocess.Popen([*command, content], cwd=ROOT, stderr=subprocess.PIPE) for content in contents]
    for each in both:
        _, said = each.communicate()
        assert each.returncode == 0, said
    assert (store.read(FIRST) or b"").decode() in contents
    assert not store.quarantine.exists()
    assert list((store.folder / "incoming").iterdir()) == []


def test_failures_of_a_key_are_counted_across_restarts(store: ObjectStore) -> None:
    clock = SteppedClock()
    store.failed(FIRST, "no route to host", permanent=False, clock=clock)
    clock.time += timedelta(hours=1)
    written = ObjectStore(store.folder).failed(FIRST, "out of memory", permanent=True, clock=clock)
    assert written == ObjectStore(store.folder).failure(FIRST)
    assert (written.attempts, written.reason, written.permanent, written.last) == (2, "out of memory", True, clock.time)


def test_a_put_clears_the_failures_of_its_key_alone(store: ObjectStore) -> None:
    for key in (FIRST, SECOND):
        store.failed(key, "no route to host", permanent=False, clock=SteppedClock())
    put(store, FIRST)
    assert store.failure(FIRST) is None
    assert store.failure(SECOND) is not None


@pytest.mark.parametrize("content", [b"", b"{", b'{"digest":"sha256:00","record":{"attempts":99}}\n', b"\xff"])
def test_a_failure_note_that_cannot_be_read_counts_as_none_and_is_told(
    store: ObjectStore, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    store.failed(FIRST, "no route to host", permanent=True, clock=SteppedClock())
    next((store.folder / "failures").rglob("*.json")).write_bytes(content)
    assert store.failure(FIRST) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith(f"failure note unreadable key={FIRST}")
    assert store.failed(FIRST, "again", permanent=False, clock=SteppedClock()).attempts == 1
