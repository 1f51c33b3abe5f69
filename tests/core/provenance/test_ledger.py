"""The ledger: only added to, chained, and whole whatever happens to whoever writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.core.errors import LedgerBroken
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.ledger import ENTRIES, HEAD, Entry, _plain
from tests.conftest import ROOT
from tests.core.provenance.sealed import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_each_manifest_is_entered_and_chained_to_the_one_before(project: Project) -> None:
    outputs = [project.seal(name, {"x": name}) for name in "abc"]
    history = project.ledger.history()
    digests = [digest_of_file(each / "manifest.json") for each in outputs]
    assert [each.manifest for each in history.entries] == digests
    assert [manifests.read(each / "manifest.json").previous for each in outputs] == [None, *digests[:2]]
    lines = project.ledger.path.read_bytes().splitlines()
    assert [each.previous for each in history.entries] == [None, *map(digest_of_bytes, lines[:2])]
    assert history.head == digest_of_bytes(lines[-1])


def test_a_ledger_that_nobody_wrote_is_empty(project: Project) -> None:
    assert project.ledger.history().entries == []
    assert project.ledger.history().head is None


def test_the_last_entry_of_a_place_counts(project: Project) -> None:
    project.seal("a", {"x": "1"})
    output = project.seal("a", {"x": "2"})
    last = project.ledger.history().last_of(output)
    assert last is not None
    assert (last.sequence, last.manifest) == (2, digest_of_file(output / "manifest.json"))


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], object]:
    return lambda folder: (folder / ENTRIES).write_bytes(
        b"".join(change((folder / ENTRIES).read_bytes().splitlines(keepends=True)))
    )


def replaced(found: list[bytes]) -> list[bytes]:
    entry = json.loads(found[1])
    entry["manifest"] = f"sha256:{'0' * 64}"
    return [found[0], json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n", *found[2:]]


FORGERIES: dict[str, Callable[[Path], object]] = {
    "an entry taken out": lines(lambda found: [found[0], *found[2:]]),
    "the first taken out": lines(lambda found: found[1:]),
    "the last cut off": lines(lambda found: found[:-1]),
    "all but the first cut off": lines(lambda found: found[:1]),
    "emptied": lines(lambda found: found[:0]),
    "two changed places": lines(lambda found: [found[0], found[2], found[1], found[3]]),
    "an entry replaced": lines(replaced),
    "white space": lines(lambda found: [found[0].replace(b",", b", ", 1), *found[1:]]),
    "an entry twice": lines(lambda found: [*found, found[-1]]),
    "the head taken away": lambda folder: (folder / HEAD).unlink(),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_whatever_is_done_to_a_ledger_is_seen_and_nothing_is_added_to_it(
    project: Project, forge: Callable[[Path], object]
) -> None:
    """Red on: core/provenance/ledger.py: `if (entry.sequence, entry.previous) != (len(entries) + 1, previous):` ->
    `if entry.sequence != len(entries) + 1:`.
    """
    output = [project.seal(name, "x") for name in "abcd"][-1]
    folder = project.ledger.path.parent
    forge(folder)
    with pytest.raises(LedgerBroken, match=r"entries\.jsonl"):
        project.ledger.history()
    assert project.flaws(output)[0] == "broken_ledger"


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\x00\x1f\x7f\u2028'), max_size=8)


@given(texts, texts, st.none() | texts, st.integers(0, 10**20), st.integers(0, 300), st.binary(max_size=2))
def test_a_line_is_only_read_by_its_pattern_where_it_could_not_be_written_otherwise(
    output: str, output_id: str, previous: str | None, sequence: int, place: int, byte: bytes
) -> None:
    """Red on: core/provenance/ledger.py: `"sequence":([1-9][0-9]{{0,17}})` -> `"sequence":([0-9]{{0,17}})`."""
    known: dict[str, Any] = {"manifest": "m", "data_version": None, "sealed": "s"}
    entry = Entry(sequence=sequence, previous=previous, output=output, output_id=output_id, **known)
    line = entry.line
    assert _plain(line) in {None, entry}
    assert Entry(**json.loads(line)) == entry
    changed = line[:place] + byte + line[place + 1 :]
    found = _plain(changed)
    assert found is None or found.line == changed
    odd = line.replace(b'"sequence":', b'"sequence":0')
    assert _plain(odd) is None or odd == line


def test_an_entry_is_not_added_behind_a_broken_end(project: Project) -> None:
    for name in "abcd":
        project.seal(name, "x")
    FORGERIES["the last cut off"](project.ledger.path.parent)
    before = project.ledger.path.read_bytes()
    with pytest.raises(LedgerBroken):
        project.seal("e", "x")
    assert project.ledger.path.read_bytes() == before
    assert not manifests.path_of(project.out("e")).exists()


def program(name: str, *words: object) -> str:
    command = [sys.executable, "-m", f"tests.core.provenance.{name}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_processes_enter_at_once_and_nothing_is_lost(project: Project) -> None:
    command = [sys.executable, "-m", "tests.core.provenance.many", str(project.folder)]
    started = [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(4)]
    assert [each.wait() for each in started] == [0] * 4
    history = project.ledger.history()
    assert len(history.entries) == 4 * 10
    assert project.findings(*(project.folder / "outputs").glob("*.txt")) == ()


@pytest.mark.parametrize("there", [0, 1, 3])
def test_whoever_is_killed_at_any_step_of_a_seal_leaves_a_ledger_that_holds_every_manifest(
    tmp_path: Path, there: int
) -> None:
    """Red on: core/provenance/ledger.py: `if unfinished:` -> `if False:`."""
    steps = program("killed", tmp_path, there).split("\n")[:-1]
    assert {"pwrite", "fsync", "replace", "half a line"} <= set(steps)
    for number, step in enumerate(steps):
        project = Project(tmp_path / str(number))
        written = sorted((project.folder / "outputs").glob("*.manifest.json"))
        known = project.ledger.history().by_manifest
        assert {digest_of_file(each) for each in written} <= set(known), step
        assert len(written) >= there, step
        after = project.seal("after.txt", "x")
        assert project.flaws(after) == [], step
        assert len(project.ledger.history().entries) in (len(known) + 1, len(known)), step


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """Red on: core/provenance/ledger.py: `except OSError: os.ftruncate(handle, size)` -> `except OSError:`."""
    said, entries = program("full", tmp_path).split("\n")[:2]
    assert said.startswith("could not enter a manifest in")
    assert "File too large" in said
    assert json.loads(entries) == ["first.txt", "later.txt"]
