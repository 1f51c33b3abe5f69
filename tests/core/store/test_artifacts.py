"""Artifacts: put once, sealed, served only as they were put, and shown where an output is wanted."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import ArtifactUnknown, LinkRefused, TreeUnreadable, VerificationFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.provenance.statcache import StatCache
from sluiceway.core.provenance.tree import digest_of_tree
from sluiceway.core.provenance.verify import Depth, verify
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.links import Linking, Links
from sluiceway.core.store.placing import Placing
from sluiceway.core.store.tags import Tags
from tests.clocks import SteppedClock
from tests.conftest import ROOT
from tests.core.store.kept import store_in, tree

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return store_in(tmp_path)


def everything(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def test_an_artifact_has_the_content_of_its_source_and_who_put_it(store: ArtifactStore, tmp_path: Path) -> None:
    source = tree(tmp_path)
    artifact = store.put(source, facts={"step": 3})
    assert artifact.digest == digest_of_tree(source) == digest_of_tree(artifact.path)
    assert (artifact.is_folder, artifact.files, artifact.size) == (True, 2, 13)
    assert (artifact.name, artifact.facts, artifact.stored) == ("output", {"step": 3}, store.clock.now())
    assert artifact.submitted_by
    assert store.find(artifact.digest) == store.verified(artifact.digest) == artifact
    assert list(store.every()) == [artifact.digest]
    assert source.is_dir()


def test_a_file_is_an_artifact_as_well(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    artifact = store.put(tmp_path / "a.txt")
    assert (artifact.is_folder, artifact.path.read_text()) == (False, "one")
    assert store.verified(artifact.digest, full=True) == artifact


def test_the_same_content_is_kept_once_whatever_it_is_called(store: ArtifactStore, tmp_path: Path) -> None:
    first, second = store.put(tree(tmp_path, "x")), store.put(tree(tmp_path, "y"))
    assert first == second
    assert len(list(store.every())) == 1


def test_nothing_in_an_artifact_can_be_written_by_its_modes(store: ArtifactStore, tmp_path: Path) -> None:
    """Red on: core/store/placing.py: `each.chmod(_closed(mode))` -> `pass`."""
    content = store.put(tree(tmp_path)).path
    for each in everything(content):
        assert each.is_symlink() or not stat.S_IMODE(each.lstat().st_mode) & 0o222, each
    assert stat.S_IMODE((content / "sub" / "run").stat().st_mode) & 0o111 == 0o111


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_its_own_user_cannot_open_an_artifact_for_writing_nor_add_to_it(public: Path) -> None:
    home = public / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    program = (
        "import sys; from pathlib import Path; from tests.core.store.kept import store_in, tree\n"
        "home = Path(sys.argv[1]); content = store_in(home).put(tree(home)).path\n"
        "tries = [lambda: (content / 'a.txt').open('r+'), lambda: (content / 'new').touch(),\n"
        "         lambda: (content / 'a.txt').unlink(), lambda: (content / 'sub' / 'empty').rmdir()]\n"
        "for each in tries:\n"
        "    try: each()\n"
        "    except PermissionError: print('refused')\n"
    )
    done = subprocess.run(
        [*NOBODY, sys.executable, "-c", program, str(home)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["refused"] * 4, done.stderr


def test_a_write_to_the_source_leaves_a_good_copy_in_the_store(store: ArtifactStore, tmp_path: Path) -> None:
    """Red on: core/store/artifacts.py: `parcel.lay_out(fresh / CONTENT, how)` ->
    `parcel.lay_out(fresh / CONTENT, Placing.HARDLINK)`.
    """
    source = tree(tmp_path)
    digest = store.put(source).digest
    (source / "a.txt").write_text("FORGED")
    artifact = store.verified(digest, full=True)
    assert artifact is not None
    assert (artifact.path / "a.txt").read_text() == "one"


def test_what_names_its_own_place_stays_true_for_the_source_is_not_moved(store: ArtifactStore, tmp_path: Path) -> None:
    source = tree(tmp_path)
    (source / "config").write_text(f"data={source / 'a.txt'}")
    Links(store).link(store.put(source), tmp_path / "shown")
    named = (tmp_path / "shown" / "config").read_text().removeprefix("data=")
    assert Path(named).read_text() == "one"


def test_a_hard_link_makes_the_source_nobodys_to_write(store: ArtifactStore, tmp_path: Path) -> None:
    source = tree(tmp_path)
    artifact = store.put(source, how=Placing.HARDLINK)
    inside = artifact.path / "a.txt"
    assert inside.samefile(source / "a.txt")
    assert not stat.S_IMODE((source / "a.txt").stat().st_mode) & 0o222


def test_a_file_that_is_open_for_writing_is_copied_instead_of_linked(store: ArtifactStore, tmp_path: Path) -> None:
    """Red on: core/store/placing.py: `if _is_being_written(source):` -> `if False:`."""
    source = tree(tmp_path)
    with (source / "a.txt").open("r+") as file:
        artifact = store.put(source, how=Placing.HARDLINK)
        file.write("FORGED")
    assert (artifact.path / "a.txt").read_text() == "one"
    assert store.verified(artifact.digest, full=True) is not None
    assert stat.S_IMODE((source / "a.txt").stat().st_mode) & 0o200


def test_a_source_that_changes_while_it_is_kept_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    source = tree(tmp_path)
    ledger = Ledger(tmp_path / "ledger", clock=store.clock)
    seal(Manifest(output_id="x", ending=Ending(status="ok")), source, ledger=ledger)
    (source / "a.txt").write_text("two")
    with pytest.raises(VerificationFailed, match="was changed while it was kept"):
        store.put(source)
    assert list(store.every()) == []


def test_what_is_neither_file_nor_folder_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    os.mkfifo(tree(tmp_path) / "pipe")
    with pytest.raises(TreeUnreadable, match="neither a file"):
        store.put(tmp_path / "output")


def test_a_sealed_output_comes_with_its_manifest_and_verifies_through_a_link(
    store: ArtifactStore, tmp_path: Path
) -> None:
    source, ledger = tree(tmp_path), Ledger(tmp_path / "ledger", clock=store.clock)
    seal(Manifest(output_id="x", ending=Ending(status="ok")), source, ledger=ledger)
    artifact = store.put(source)
    assert artifact.digest == manifests.read(source / "manifest.json").data_version
    assert artifact.has_own
    Links(store).link(artifact, tmp_path / "shown")
    verdict = verify([tmp_path / "shown"], ledger=ledger, cache=None, depth=Depth.CHAIN)
    assert verdict.findings == ()
    assert [each.read_bytes() for each in store.manifests_in()] == [(source / "manifest.json").read_bytes()]


def test_a_sealed_file_verifies_through_a_link_and_as_a_copy(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    ledger = Ledger(tmp_path / "ledger", clock=store.clock)
    seal(Manifest(output_id="x", ending=Ending(status="ok")), tmp_path / "a.txt", ledger=ledger)
    artifact = store.put(tmp_path / "a.txt")
    for name, how in (("shown.txt", Linking.SYMLINK), ("copy.txt", Linking.COPY)):
        Links(store).link(artifact, tmp_path / name, how)
        assert verify([tmp_path / name], ledger=ledger, cache=None, depth=Depth.FULL).findings == ()


def test_any_changed_byte_of_an_artifact_keeps_it_from_being_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Red on: core/store/artifacts.py: `if found != digest: raise Damage` -> `if False: raise Damage`."""
    chance, store = random.Random(5), store_in(tmp_path)
    digest = store.put(tree(tmp_path)).digest
    shutil.copytree(store.folder, tmp_path / "good", symlinks=True)
    for name in ("content/a.txt", "content/sub/run", "record.json"):
        (path,) = store.place_of(digest).glob(name)
        for place in range(0, path.stat().st_size, 1 if path.stat().st_size < 20 else 9):
            changed = bytearray(path.read_bytes())
            changed[place] ^= 1 << chance.randrange(8)
            path.chmod(0o644)
            path.write_bytes(changed)
            assert store.verified(digest) is None, (name, place)
            assert caplog.messages[-1].startswith(f"artifact damaged artifact={digest}")
            aside = Path(caplog.messages[-1].rpartition("quarantine=")[2])
            assert (aside / "artifact" / name).read_bytes() == changed
            store.place_of(digest).parent.mkdir(exist_ok=True)
            shutil.copytree(
                tmp_path / "good" / store.place_of(digest).relative_to(store.folder),
                store.place_of(digest),
                symlinks=True,
            )


@pytest.mark.parametrize("spoil", [
    lambda content: (content / "link").unlink(), lambda content: (content / "sub" / "empty").rmdir(),
    lambda content: (content / "new").mkdir(), lambda content: (content / "sub" / "run").chmod(0o444),
    lambda content: content.rename(content.with_name("gone")),
], ids=["link", "empty folder", "new folder", "mode", "all"])  # fmt: skip
def test_a_damaged_artifact_is_put_anew_and_links_to_it_work_again(tmp_path: Path, spoil: object) -> None:
    """Red on: core/store/artifacts.py: `looked_at and not self._set_aside(final, digest, reason=str(damage)):` ->
    `looked_at:`.
    """
    store = store_in(tmp_path)
    source = tree(tmp_path)
    artifact = store.put(source)
    Links(store).link(artifact, tmp_path / "shown")
    for each in everything(artifact.path):
        if each.is_dir():
            each.chmod(0o755)
    assert callable(spoil)
    spoil(artifact.path)
    with pytest.raises(ArtifactUnknown, match="damaged"):
        store.require(artifact.digest)
    assert not (tmp_path / "shown").exists()
    assert len(list(store.quarantine.iterdir())) == 1
    assert store.put(source).digest == artifact.digest
    assert digest_of_tree(tmp_path / "shown") == artifact.digest


def test_an_unchanged_artifact_is_not_read_again(tmp_path: Path) -> None:
    clock = SteppedClock()
    with StatCache(tmp_path / "cache", clock=clock) as cache:
        clock.time += timedelta(days=365 * 20)
        store = ArtifactStore(tmp_path / "store", clock=clock, cache=cache)
        digest = store.put(tree(tmp_path)).digest
        assert store.verified(digest) is not None
        opened: list[object] = []
        watching = [True]
        sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" and watching else None)
        assert store.verified(digest) is not None
        watching.clear()
    assert not [each for each in opened if "content" in str(each)]


def test_threads_that_put_the_same_leave_one_whole_artifact(tmp_path: Path) -> None:
    store, source = store_in(tmp_path), tree(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store.put(source).digest, range(24)))
    assert found == {digest_of_tree(source)}
    assert store.verified(found.pop(), full=True) is not None
    assert not store.quarantine.exists()
    assert list((store.folder / "incoming").iterdir()) == []


def test_a_store_that_was_copied_elsewhere_is_whole_there(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    digest = store.put(tree(tmp_path)).digest
    Tags(store).tag("best", digest)
    subprocess.run(["cp", "-a", store.folder, tmp_path / "elsewhere"], check=True)
    shutil.move(store.folder, tmp_path / "gone")
    there = ArtifactStore(tmp_path / "elsewhere", clock=store.clock)
    assert [there.verified(each, full=True) is not None for each in there.every()] == [True]
    assert Tags(there).resolve("best").digest == digest
    assert there.last_used(digest) == store.clock.now()


# Names


def test_a_tag_moves_and_remembers_whose_it_was(store: ArtifactStore, tmp_path: Path) -> None:
    tags = Tags(store)
    first, second = (store.put(tree(tmp_path, name, name)).digest for name in "xy")
    tags.tag("models/best", first)
    moved = tags.tag("models/best", second)
    assert (moved.digest, [each.digest for each in moved.history]) == (second, [first, second])
    assert tags.resolve("models/best").digest == second
    assert [each.digest for each in tags.untag("models/best").history] == [first, second, None]
    assert tags.find("models/best") is None
    with pytest.raises(ArtifactUnknown, match="no such tag"):
        tags.untag("models/best")


def test_an_artifact_goes_by_the_beginning_of_its_digest(store: ArtifactStore, tmp_path: Path) -> None:
    digest = store.put(tree(tmp_path)).digest
    for name in (digest, digest[:15], digest.removeprefix("sha256:")[:8]):
        assert Tags(store).resolve(name).digest == digest


@pytest.mark.parametrize("name", ["", "-x", "a b", "../x", "x" * 101, "abcdef0123", "é"])
def test_what_cannot_be_a_name_is_refused(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactUnknown):
        Tags(store).tag(name, store.put(tree(tmp_path)).digest)
    with pytest.raises(ArtifactUnknown):
        Tags(store).resolve(name)


def test_a_tag_needs_an_artifact_that_is_there(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactUnknown, match="none of this digest"):
        Tags(store).tag("best", f"sha256:{'0' * 64}")


# Links


@pytest.mark.parametrize("how", Linking)
def test_a_link_shows_an_artifact_and_then_another_in_its_place(
    store: ArtifactStore, tmp_path: Path, how: Linking
) -> None:
    links, place = Links(store), tmp_path / "out" / "shown"
    for text in ("one", "two"):
        artifact = store.put(tree(tmp_path, text, text))
        links.link(artifact, place, how)
        assert place.is_symlink() is (how is Linking.SYMLINK)
        assert digest_of_tree(place) == artifact.digest
    assert [each.name for each in place.parent.iterdir()] == ["shown"]
    assert [(each.path, each.how) for each in links.every()] == [(place, how)]
    links.unlink(place)
    assert not place.exists()
    assert links.every() == []


def test_a_copy_may_be_edited_and_the_artifact_stays_as_it_is(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put(tree(tmp_path))
    Links(store).link(artifact, tmp_path / "copy", Linking.COPY)
    (tmp_path / "copy" / "a.txt").write_text("edited")
    assert store.verified(artifact.digest, full=True) == artifact
    with pytest.raises(LinkRefused, match="edited"):
        Links(store).link(artifact, tmp_path / "copy", Linking.COPY)
    with pytest.raises(LinkRefused):
        Links(store).unlink(tmp_path / "copy")


@pytest.mark.parametrize(
    "make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/etc")], ids=["file", "folder", "link"]
)
def test_what_somebody_else_put_there_is_in_the_way(store: ArtifactStore, tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "mine")
    with pytest.raises(LinkRefused, match="something is there"):
        Links(store).link(store.put(tree(tmp_path)), tmp_path / "mine")
