"""A data set as versions in a plain folder: readers see one of them whole, whatever becomes of the writer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.errors import OutputBusy, StorageFailed, VerificationFailed
from sluiceway.core.publish.dataset import Draft, Piece, bytes_piece
from sluiceway.core.publish.snapshot import CURRENT, SEAL, Published, Snapshots
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.store.lock import exclusive
from tests.conftest import ROOT


def draft(**files: str) -> Draft:
    pieces = {f"data/{name}": bytes_piece(text.encode()) for name, text in files.items()}
    return made(pieces)


def made(pieces: dict[str, Piece]) -> Draft:
    return Draft(
        dataset="toy",
        pieces=pieces,
        replaces=lambda path: not path.startswith("data/kept"),
        facts={},
        card=lambda _: "# Toy\n",
    )


def publish(folder: Path, wanted: Draft) -> Published:
    return Snapshots(folder, "toy").publish(wanted, clock=SystemClock())


@pytest.mark.slow
def test_a_writer_that_dies_at_any_step_leaves_one_whole_version(tmp_path: Path) -> None:
    """Red on: core/publish/snapshot.py: `link.replace(self.folder / CURRENT)` -> `(self.folder / CURRENT).unlink(
    missing_ok=True); link.replace(self.folder / CURRENT)`.
    """
    command = (sys.executable, "-m", "tests.core.publish.killed", str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert len(found) > 30
    assert {tuple(each[0]) for each in found} == {(1, True, "old"), (2, True, "new")}
    assert {tuple(each[1]) for each in found} == {(2, True, "new")}


def test_a_version_is_reached_by_one_name_and_older_ones_stay(tmp_path: Path) -> None:
    publish(tmp_path, draft(a="1"))
    publish(tmp_path, draft(a="2"))
    assert [(tmp_path / f"toy/versions/000{number}/data/a").read_text() for number in (1, 2)] == ["1", "2"]
    assert (tmp_path / "toy" / CURRENT / "data/a").read_text() == "2"


def test_what_is_not_replaced_is_taken_over_as_the_same_file(tmp_path: Path) -> None:
    first = publish(tmp_path, draft(kept="1", gone="1"))
    second = publish(tmp_path, draft(a="1"))
    assert second.changed == ("data/a", "data/gone")
    assert (second.folder / "data/kept").samefile(first.folder / "data/kept")


def test_a_file_of_the_same_source_is_not_made_again(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(path)

    publish(tmp_path, made({"data/a": Piece(write=lambda path: path.write_text("1"), source="x")}))
    again = publish(tmp_path, made({"data/a": Piece(write=refuse, source="x"), "data/b": bytes_piece(b"2")}))
    assert (again.folder / "data/a").read_text() == "1"


def test_a_file_of_the_same_source_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    """Red on: core/publish/snapshot.py: `old.source == piece.source is not None and before.is_whole(path)` ->
    `old.source == piece.source is not None`.
    """
    piece = Piece(write=lambda path: path.write_text("1"), source="x")
    first = publish(tmp_path, made({"data/a": piece}))
    damage(first.folder / "data/a")
    again = publish(tmp_path, made({"data/a": piece}))
    assert (again.is_new, again.changed, (again.folder / "data/a").read_text()) == (True, ("data/a",), "1")


def test_a_damaged_file_that_would_be_taken_over_is_refused(tmp_path: Path) -> None:
    """Red on: core/publish/snapshot.py: `digest_of_file(file) == self.files[path].digest` -> `True`."""
    first = publish(tmp_path, draft(kept="1"))
    damage(first.folder / "data/kept")
    with pytest.raises(VerificationFailed, match="not as it was published"):
        publish(tmp_path, draft(a="1"))
    assert (tmp_path / "toy" / CURRENT).resolve() == first.folder


def test_a_release_whose_seal_is_damaged_is_followed_by_a_whole_one(tmp_path: Path) -> None:
    first = publish(tmp_path, draft(a="1"))
    damage(first.folder / SEAL)
    again = publish(tmp_path, draft(a="1"))
    assert (again.number, again.is_new) == (2, True)
    assert Snapshots(tmp_path, "toy").current() is not None


def test_a_file_that_cannot_be_written_leaves_what_is_published(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    first = publish(tmp_path, draft(a="1"))
    with pytest.raises(StorageFailed, match="No space left"):
        publish(tmp_path, made({"data/a": Piece(write=full)}))
    assert (tmp_path / "toy" / CURRENT / "data/a").read_text() == "1"
    assert (tmp_path / "toy" / CURRENT).resolve() == first.folder


def test_files_that_are_volatile_alone_make_no_version(tmp_path: Path) -> None:
    publish(tmp_path, made({"data/a": bytes_piece(b"1"), "data/when": bytes_piece(b"monday", volatile=True)}))
    again = publish(tmp_path, made({"data/a": bytes_piece(b"1"), "data/when": bytes_piece(b"friday", volatile=True)}))
    assert (again.is_new, again.number) == (False, 1)


def test_two_writers_at_once_are_one_too_many(tmp_path: Path) -> None:
    with exclusive(tmp_path / "toy", purpose="publish toy"), pytest.raises(OutputBusy, match="publish toy"):
        publish(tmp_path, draft(a="1"))


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
