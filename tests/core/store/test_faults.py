"""What a store holds after a process was killed, a disk was full, or a byte changed: whole objects, or none."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.store.objects import ObjectStore
from tests.conftest import ROOT, Missing
from tests.core.store import full
from tests.core.store.killed import KEY, NEW, OLD

NAMESPACE = ["unshare", "--mount", "--map-root-user"]


def program(name: str, *words: object, inside: list[str] | None = None) -> str:
    command = [*(inside or []), sys.executable, "-m", f"tests.core.store.{name}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("there", [b"", OLD, NEW], ids=["nothing", "another object", "the same object"])
def test_whoever_is_killed_at_any_step_of_a_put_leaves_a_whole_object_or_none(tmp_path: Path, there: bytes) -> None:
    """Red on: core/store/objects.py: `fresh.rename(place)` -> `__import__("shutil").copytree(fresh, place)`."""
    steps = program("killed", tmp_path, there.decode()).split("\n")[:-1]
    assert {"half a payload", "fsync", "rename", "replace", "mkdir"} <= set(steps)
    for number, step in enumerate(steps):
        store = ObjectStore(tmp_path / str(number))
        listed, found = store.has([KEY]), store.read(KEY)
        assert found in ({NEW, there} if there else {NEW, None}) | {None}, step
        assert bool(listed) is (found is not None), step
        assert not store.quarantine.exists(), step


def test_the_next_put_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """Red on: core/store/scratch.py: `remove(left)` -> `pass`."""
    steps = program("killed", tmp_path, "").split("\n")[:-1]
    incoming = [tmp_path / str(number) / "incoming" for number in range(len(steps))]
    assert any(list(each.iterdir()) for each in incoming if each.is_dir())
    for each in incoming:
        store = ObjectStore(each.parent)
        store.put(KEY, lambda path: path.write_bytes(NEW), facts={"n": 1})
        assert store.read(KEY) == NEW
        assert list(each.iterdir()) == []


@pytest.mark.parametrize("what", ["bytes", "table", "facts"])
@pytest.mark.parametrize("how", ["a small disk", "a limit of file sizes"])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    tmp_path: Path, how: str, what: str, missing: Missing
) -> None:
    """Red on: core/store/scratch.py: `undo.callback(remove, folder)` -> `pass`."""
    inside = NAMESPACE if how == "a small disk" else []
    if inside and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        missing.part("small disks", why="this machine gives no namespaces", get="root, or user namespaces")
    answer = json.loads(program("full", how, what, tmp_path, inside=inside))
    assert answer["said"].startswith(f"could not {'write' if what == 'facts' else 'store the object'} ")
    assert ("No space left" if inside else "File too large") in answer["said"]
    assert answer["found"] == [full.SMALL]
    assert answer["left"] == []
    assert answer["again"] == ["small", "room again"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one object."""
    folder = tmp_path_factory.mktemp("whole")
    ObjectStore(folder).put(KEY, lambda path: path.write_bytes(OLD), facts={"weight": 0.5, "names": ["é", None]})
    return folder


def damaged(whole: Path, tmp_path: Path, name: str, content: bytes) -> ObjectStore:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    shutil.copytree(whole, tmp_path / "store")
    store = ObjectStore(tmp_path / "store")
    ((store.get(KEY) or pytest.fail("it was whole")).path.parent / name).write_bytes(content)
    return store


@pytest.mark.parametrize("name", ["payload", "record.json"])
def test_an_object_with_any_byte_changed_is_never_served(
    whole: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Red on: core/store/objects.py: `if digest != stored.digest:` -> `if False:`."""
    chance = random.Random(11)
    (path,) = whole.rglob(name)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        store = damaged(whole, tmp_path, name, bytes(changed))
        assert (store.read if place % 2 else store.verified)(KEY) is None, place
        assert store.has([KEY]) == set()
        (aside,) = store.quarantine.iterdir()
        assert (aside / "object" / name).read_bytes() == changed
        assert (aside / "reason.txt").read_text().strip() in caplog.messages[-1]
    assert len(caplog.messages) == len(content)


@pytest.mark.parametrize("name", ["payload", "record.json"])
def test_an_object_that_was_cut_short_or_went_on_is_not_served_even_unread(
    whole: Path, tmp_path: Path, name: str
) -> None:
    """Red on: core/store/objects.py: `if record["size"] != size:` -> `if False:`."""
    (path,) = whole.rglob(name)
    content = path.read_bytes()
    for other in [*(content[:size] for size in range(len(content))), content + b"\n"]:
        assert damaged(whole, tmp_path, name, other).get(KEY) is None


@pytest.mark.parametrize("name", ["payload", "record.json"])
def test_an_object_that_lacks_a_file_is_set_aside(whole: Path, tmp_path: Path, name: str) -> None:
    """Red on: core/store/objects.py: `self._set_aside(place, key=key, reason=str(damage))` -> `return None`."""
    store = damaged(whole, tmp_path, name, b"")
    next(store.folder.rglob(name)).unlink()
    assert store.get(KEY) is None
    assert len(list(store.quarantine.iterdir())) == 1
