"""Garbage: what is named, used or in flight stays; what goes comes back; whoever is killed leaves all of it whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sluiceway.core.errors import ArtifactUnknown, StorageFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.manifest import Ending, Input, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.runs.references import named_by
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.gc import Garbage
from sluiceway.core.store.holds import Hold
from sluiceway.core.store.homes import Homes
from sluiceway.core.store.links import Linking, Links
from sluiceway.core.store.tags import Tags
from tests.clocks import SteppedClock
from tests.conftest import ROOT
from tests.core.store.kept import put_result, results_in, store_in, tree
from tests.core.store.killed import STEPS, Death

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def store(tmp_path: Path, clock: SteppedClock) -> ArtifactStore:
    return store_in(tmp_path, clock)


@pytest.fixture
def digest(store: ArtifactStore, tmp_path: Path) -> str:
    return store.put(tree(tmp_path)).digest


def test_without_do_nothing_is_changed(store: ArtifactStore, digest: str, clock: SteppedClock) -> None:
    clock.time += 15 * DAY
    garbage = Garbage(store=store)
    told = garbage.collect([])
    assert (told.trashed, told.kept) == ((digest,), 0)
    assert told.size > 0
    assert store.verified(digest) is not None
    assert garbage.in_trash() == []


def test_what_was_used_lately_stays_and_to_put_it_again_is_use(
    store: ArtifactStore, digest: str, tmp_path: Path, clock: SteppedClock
) -> None:
    """Red on: core/store/trash.py: `>= self.grace` -> `>= timedelta()`."""
    for _ in range(3):
        clock.time += 13 * DAY
        assert Garbage(store=store).collect([], do=True).trashed == ()
        store.put(tmp_path / "output")
    clock.time += 14 * DAY
    assert Garbage(store=store).collect([], do=True).trashed == (digest,)


def test_what_goes_to_the_trash_can_be_restored_until_it_is_removed(
    store: ArtifactStore, digest: str, clock: SteppedClock
) -> None:
    clock.time += 15 * DAY
    garbage = Garbage(store=store)
    assert garbage.collect([], do=True).trashed == (digest,)
    assert store.verified(digest) is None
    garbage.restore(digest)
    assert store.verified(digest, full=True) is not None
    clock.time += 15 * DAY
    garbage.collect([], do=True)
    clock.time += 13 * DAY
    assert garbage.collect([], do=True).removed == ()
    clock.time += DAY
    assert garbage.collect([], do=True).removed == (digest,)
    with pytest.raises(ArtifactUnknown, match="not in the trash"):
        garbage.restore(digest)
    assert list((store.folder / "incoming").iterdir()) == []


def test_what_comes_to_be_named_while_in_the_trash_comes_back(
    store: ArtifactStore, digest: str, clock: SteppedClock
) -> None:
    """Red on: core/store/trash.py: `for each in back:` -> `for each in ():`."""
    clock.time += 15 * DAY
    Garbage(store=store).collect([], do=True)
    assert Garbage(store=store).collect([digest], do=True).restored == (digest,)
    assert store.verified(digest, full=True) is not None


def test_tags_links_and_living_holds_keep_an_artifact(store: ArtifactStore, digest: str, tmp_path: Path) -> None:
    """Red on: core/store/gc.py: `self._reached(outside | self._named_inside(do=do))` -> `outside`."""
    now = Garbage(store=store, grace=timedelta(), keep_trash=timedelta())
    Tags(store).tag("best", digest)
    assert now.collect([], do=True).kept == 1
    Links(store).link(store.require(digest), tmp_path / "shown")
    Tags(store).untag("best")
    assert now.collect([], do=True).kept == 1
    with store.holds.own() as held:
        held.add(digest)
        (tmp_path / "shown").unlink()
        assert now.collect([], do=True).kept == 1
    assert now.collect([], do=True).trashed == (digest,)


def test_a_hold_ends_with_its_process(store: ArtifactStore, digest: str) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tests.core.store.kept import store_in\n"
        "with store_in(Path(sys.argv[1])).holds.own() as held:\n"
        "    held.add(sys.argv[2]); print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(store.folder.parent), digest]
    now = Garbage(store=store, grace=timedelta())
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert now.collect([], do=True).kept == 1
        process.kill()
    assert now.collect([], do=True).trashed == (digest,)


def test_a_link_whose_place_has_gone_counts_for_the_time_of_grace(
    store: ArtifactStore, digest: str, tmp_path: Path, clock: SteppedClock
) -> None:
    """Red on: core/store/gc.py: `links.lose(link, now)` -> `links.forget(link.path)`."""
    Links(store).link(store.require(digest), tmp_path / "shown", Linking.COPY)
    clock.time += 15 * DAY
    shutil.rmtree(tmp_path / "shown")
    assert Garbage(store=store).collect([], do=True).trashed == ()
    clock.time += 13 * DAY
    assert Garbage(store=store).collect([], do=True).trashed == ()
    clock.time += DAY
    assert Garbage(store=store).collect([], do=True).trashed == (digest,)
    assert Links(store).every() == []


def test_what_a_named_artifact_was_made_of_stays_as_well(store: ArtifactStore, tmp_path: Path) -> None:
    """Red on: core/store/gc.py: `waiting += self._edges.get(each, ())` -> `pass`."""
    ledger = Ledger(tmp_path / "ledger", clock=store.clock)
    before = None
    for name in ("raw", "clean", "fitted"):
        inputs = () if before is None else (Input(role="made of", digest=before),)
        output = tree(tmp_path, name, name)
        seal(Manifest(output_id=name, ending=Ending(status="ok"), inputs=inputs), output, ledger=ledger)
        before = store.put(output).digest
        shutil.rmtree(output)
    other = store.put(tree(tmp_path, "other", "other")).digest
    Tags(store).tag("best", str(before))
    collected = Garbage(store=store, grace=timedelta()).collect([], do=True)
    assert (collected.trashed, collected.kept) == ((other,), 3)


def test_outputs_that_are_there_and_their_inputs_are_named_by_their_home(store: ArtifactStore, tmp_path: Path) -> None:
    """Red on: core/runs/references.py: `if _is_there(entry)` -> `if False`."""
    home, raw = tmp_path / "home", tree(tmp_path, "raw", "raw")
    needed = store.put(raw).digest
    output = tree(tmp_path)
    manifest = Manifest(output_id="x", ending=Ending(status="ok"), inputs=(Input(role="raw", digest=needed),))
    seal(manifest, output, ledger=Ledger(home / "ledger", clock=store.clock))
    made = manifests.read(output / "manifest.json").data_version
    assert named_by(home, store.clock) == {needed, made}
    shutil.rmtree(output)
    assert named_by(home, store.clock) == set()


@pytest.mark.parametrize("spoil", ["tags/best.json", "links/*.json", "manifests/*/*.json"])
def test_nothing_is_collected_where_a_root_cannot_be_read(store: ArtifactStore, tmp_path: Path, spoil: str) -> None:
    """Red on: core/store/gc.py: `if digest_of_bytes(content).removeprefix("sha256:") != path.stem:` -> `if False:`."""
    output = tree(tmp_path)
    seal(Manifest(output_id="x", ending=Ending(status="ok")), output, ledger=Ledger(tmp_path / "l", clock=store.clock))
    digest = store.put(output).digest
    Tags(store).tag("best", digest)
    Links(store).link(store.require(digest), tmp_path / "shown")
    (path,) = store.folder.glob(spoil)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"best", b"bust").replace(b"made", b"mode").replace(b"x", b"y", 1))
    with pytest.raises(StorageFailed):
        Garbage(store=store, grace=timedelta()).collect([], do=True)
    assert store.verified(digest) is not None


def test_a_home_that_is_not_there_stops_the_collection(store: ArtifactStore, tmp_path: Path) -> None:
    homes = Homes(store)
    (tmp_path / "home").mkdir()
    homes.add(tmp_path / "home")
    assert homes.every() == [tmp_path / "home"]
    (tmp_path / "home").rmdir()
    with pytest.raises(StorageFailed, match="gone for good"):
        homes.every()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["put", "name", "show", "collect", "restore"])
def test_whoever_is_killed_at_any_step_leaves_whole_artifacts_and_the_next_one_goes_on(
    tmp_path: Path, what: str
) -> None:
    """Red on: core/store/trash.py: `place.rename(trashed)` ->
    `__import__("shutil").copytree(place, trashed, symlinks=True)`.
    """
    command = [sys.executable, "-m", "tests.core.store.killed_artifacts", str(tmp_path), what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = done.stdout.split()
    assert len(steps) > 3
    for number, step in enumerate(steps):
        store = store_in(tmp_path / str(number))
        there = list(store.every())
        assert [store.verified(each, full=True) is not None for each in there] == [True] * len(there), step
        assert not store.quarantine.exists(), step
        garbage = Garbage(store=store, grace=timedelta())
        assert what == "collect" or len({*there, *garbage.in_trash()}) >= 2, step
        linked = {each.digest for each in Links(store).every() if each.is_there}
        named = {str(each.digest) for each in Tags(store).every()} | linked
        assert named <= {*there}, step
        garbage.collect([], do=True)
        assert {*store.every()} == named, step
        for left in (*garbage.in_trash(),):
            garbage.restore(left)
        assert all(store.verified(each, full=True) for each in store.every()), step
        assert [each for each in (store.folder / "incoming").iterdir() if any(each.iterdir())] == [], step


class Interleaved(RuleBasedStateMachine):
    """Puts, names, links, holds, collections and restorations in any order, some of them killed half-way."""

    contents = st.sampled_from(["a", "b", "c", "d"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SteppedClock()
        self.store = store_in(self.folder, self.clock)
        self.digests: dict[str, str] = {}
        self.held: dict[str, tuple[object, Hold]] = {}
        self.results = results_in(self.folder, self.clock)
        self.needed: dict[str, set[str]] = {"p": set(), "q": set()}
        self.made: set[str] = set()
        for text in "abcd":
            (self.folder / text).write_text(text)

    def teardown(self) -> None:
        for context, _ in self.held.values():
            context.__exit__(None, None, None)  # type: ignore[attr-defined]
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(text=contents)
    def put(self, text: str) -> None:
        self.digests[text] = self.store.put(self.folder / text).digest

    @rule(text=contents)
    def hold(self, text: str) -> None:
        if text in self.held:
            self.held.pop(text)[0].__exit__(None, None, None)  # type: ignore[attr-defined]
            return
        context = self.store.holds.own()
        hold = context.__enter__()
        self.digests[text] = self.store.put(self.folder / text, held=hold).digest
        self.held[text] = (context, hold)

    @precondition(lambda self: self.digests)
    @rule(text=contents, name=st.sampled_from(["x", "y"]))
    def tag(self, text: str, name: str) -> None:
        if text in self.digests and self.store.find(self.digests[text]):
            Tags(self.store).tag(name, self.digests[text])

    @rule(name=st.sampled_from(["x", "y"]))
    def untag(self, name: str) -> None:
        if Tags(self.store).find(name):
            Tags(self.store).untag(name)

    @precondition(lambda self: self.digests)
    @rule(text=contents, how=st.sampled_from(Linking))
    def link(self, text: str, how: Linking) -> None:
        if text in self.digests and (found := self.store.find(self.digests[text])):
            Links(self.store).link(found, self.folder / f"shown-{text}-{how}", how)

    @rule(text=contents, how=st.sampled_from(Linking), known=st.booleans())
    def unlink(self, text: str, how: Linking, known: bool) -> None:
        place = self.folder / f"shown-{text}-{how}"
        if os.path.lexists(place):
            Links(self.store).unlink(place) if known else place.unlink()

    @rule(text=contents)
    def score(self, text: str) -> None:
        # To bring another to the disk takes as long as all else; a run that finds one uses it.
        found = digest_of_bytes(text.encode())
        if found in self.made:
            self.results.touch(found)
        else:
            self.made.add(put_result(self.results, text))

    @rule(name=st.sampled_from(["p", "q"]), texts=st.sets(contents), also=st.booleans())
    def need(self, name: str, texts: set[str], also: bool) -> None:
        keys = {digest_of_bytes(each.encode()) for each in texts}
        (self.folder / f"out-{name}").mkdir(exist_ok=True)
        self.results.want(self.folder / f"out-{name}", keys, also=also)
        self.needed[name] = keys | (self.needed[name] if also else set())

    @rule(name=st.sampled_from(["p", "q"]))
    def remove_output(self, name: str) -> None:
        if (self.folder / f"out-{name}").exists():
            (self.folder / f"out-{name}").rmdir()

    @rule(text=contents)
    def restore_result(self, text: str) -> None:
        key = digest_of_bytes(text.encode())
        if key in self.results.trash().names() and key not in self.made:
            self.results.trash().restore(key)
            self.made.add(key)

    def needed_results(self) -> set[str]:
        """Those that are there and that an output which is there needs, by what people see."""
        seen = [keys for name, keys in self.needed.items() if (self.folder / f"out-{name}").exists()]
        return self.made & set[str]().union(*seen)

    @rule(grace=st.sampled_from([0, 0, 14]), kill=st.one_of(st.just(1_000_000), st.integers(0, 150)))
    def collect(self, grace: int, kill: int) -> None:
        reached, needed = self.reachable(), self.needed_results()
        child = os.fork()
        if child == 0:
            self.collect_until_killed(grace, kill)
        os.waitpid(child, 0)
        assert reached <= {*self.store.every()}
        self.made = {*self.results.every()}
        assert needed <= self.made

    def collect_until_killed(self, grace: int, kill: int) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        death = Death(kill)
        for module, name in STEPS:
            setattr(module, name, death.before(name, getattr(module, name)))
        try:
            self.results.collect(grace=grace * DAY, keep_trash=grace * DAY, do=True)
            Garbage(store=self.store, grace=grace * DAY, keep_trash=grace * DAY).collect([], do=True)
        finally:
            os._exit(0)

    @rule(text=contents)
    def restore(self, text: str) -> None:
        garbage = Garbage(store=self.store)
        if self.digests.get(text) in garbage.in_trash():
            garbage.restore(self.digests[text])

    @rule(days=st.integers(0, 20))
    def wait(self, days: int) -> None:
        self.clock.time += days * DAY

    def reachable(self) -> set[str]:
        tagged = {str(each.digest) for each in Tags(self.store).every() if each.digest}
        # By what people see, not by what the store knows of it.
        shown = {(text, self.folder / f"shown-{text}-{how}") for text in self.digests for how in Linking}
        linked = {self.digests[text] for text, place in shown if os.path.lexists(place)}
        return tagged | linked | {self.digests[text] for text in self.held}

    @invariant()
    def every_reachable_digest_is_present_and_intact(self) -> None:
        for each in self.reachable():
            assert self.store.verified(each, full=True) is not None
        for each in self.needed_results():
            assert self.results.store.verified(each) is not None


TestInterleaved = pytest.mark.slow(Interleaved.TestCase)
TestInterleaved.settings = settings(
    max_examples=70, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
