"""The state of outputs in one word, and why."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sluiceway.core.provenance.explain import Now
from sluiceway.core.provenance.manifest import Environment, Input
from sluiceway.core.provenance.status import Effort, Status, statuses
from sluiceway.core.provenance.tree import digest_of_tree
from sluiceway.core.remote.clock import SystemClock
from tests.core.provenance.sealed import Project

GONE = f"sha256:{'0' * 64}"


class Late(SystemClock):
    """A clock by which every file was written long ago."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "raw.txt").write_text("raw")
    return Project(tmp_path, clock=Late())


def raw(project: Project, digest: str | None = None) -> tuple[Input, ...]:
    digest = digest or digest_of_tree(project.folder / "raw.txt")
    return (Input(role="raw", path="../../raw.txt", digest=digest), Input(role="panel", name="hgdp", digest=GONE))


@pytest.fixture
def output(project: Project) -> Path:
    return project.seal("out", {"a.txt": "first"}, inputs=raw(project))


CHANGES: dict[str, tuple[Callable[[Path], object], Status]] = {
    "nothing": (lambda output: output, Status.OK),
    "touched": (lambda output: os.utime(output / "a.txt", (1, 1)), Status.OK),
    "a byte": (lambda output: (output / "a.txt").write_text("First"), Status.DAMAGED),
    "a file gone": (lambda output: (output / "a.txt").unlink(), Status.DAMAGED),
    "a forged manifest": (
        lambda output: (output / "manifest.json").write_text((output / "manifest.json").read_text() + " "),
        Status.DAMAGED,
    ),
    "a broken manifest": (lambda output: (output / "manifest.json").write_text("{"), Status.DAMAGED),
    "no manifest": (lambda output: (output / "manifest.json").unlink(), Status.MISSING),
    "all gone": (shutil.rmtree, Status.MISSING),
    "its input": (lambda output: (output / "../../raw.txt").write_text("new"), Status.STALE),
    "its input gone": (lambda output: (output / "../../raw.txt").resolve().unlink(), Status.OK),
    "its input touched": (lambda output: (output / "../../raw.txt").resolve().touch(), Status.OK),
}


@pytest.mark.parametrize("effort", [Effort.USUAL, Effort.FULL])
@pytest.mark.parametrize(("change", "status"), CHANGES.values(), ids=CHANGES)
def test_an_output_has_one_word(
    project: Project, output: Path, change: Callable[[Path], object], status: Status, effort: Effort
) -> None:
    change(output)
    found = project.status(output, effort)
    assert found.status is status
    assert bool(found.why) is (status is not Status.OK)


@pytest.mark.parametrize("effort", Effort)
def test_many_outputs_have_the_words_that_each_has_alone(project: Project, effort: Effort) -> None:
    outputs = [project.seal(name.replace(" ", "-"), {"a.txt": "first"}, inputs=raw(project)) for name in CHANGES]
    for output, (change, _) in zip(outputs, CHANGES.values(), strict=True):
        change(output)
        (project.folder / "raw.txt").write_text("raw")
    outputs += [project.seal("file", "x", inputs=raw(project)), project.seal("gone", None), project.out("never")]
    alias = project.out("alias")
    alias.symlink_to("nothing")
    project.out("link").symlink_to("nothing")
    (project.folder / "raw.txt").write_text("new")
    with project.cache as cache:
        now = Now(cache=cache)
        together = statuses([*outputs, alias], history=project.ledger.history(), now=now, effort=effort)
    assert together == [project.status(each, effort) for each in [*outputs, alias]]
    assert {each.status for each in together} >= {Status.STALE, Status.MISSING}


def test_a_tampered_output_is_damaged_even_where_size_and_times_were_put_back(project: Project, output: Path) -> None:
    """Red on: core/provenance/verify.py: `if fast and not self._data(output, manifest, full=False):` -> `if fast:`."""
    before = (output / "a.txt").stat()
    other = output / "other"
    other.write_text("forge")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(output / "a.txt")
    found = project.status(output)
    assert (found.status, "a.txt" in found.why[0]) == (Status.DAMAGED, True)


def test_a_failed_run_is_told_with_its_error(project: Project) -> None:
    output = project.seal("out", {"a": ""}, ending={"status": "failed", "exit_code": 1, "error": "out of memory"})
    assert (project.status(output).status, project.status(output).why) == (Status.FAILED, ("out of memory",))


def test_a_link_to_an_output_is_an_alias(project: Project, output: Path) -> None:
    alias = project.out("alias")
    alias.symlink_to("out")
    found = project.status(alias)
    assert (found.status, found.target) == (Status.ALIAS, output)


def test_what_cannot_be_seen_from_here_is_said(project: Project, output: Path) -> None:
    assert project.status(output).unseen == ("panel[hgdp]",)
    (project.folder / "raw.txt").unlink()
    assert project.status(output).unseen == ("raw", "panel[hgdp]")


def test_changed_software_makes_an_output_stale(project: Project) -> None:
    environment = Environment(modules={"sluiceway.core.events": GONE}, distributions={"polars": "0.1"})
    found = project.status(project.seal("out", {"a": ""}, environment=environment))
    assert found.status is Status.STALE
    assert [each.partition(":")[0] for each in found.why] == ["modules.sluiceway.core.events", "distributions.polars"]


_opened: list[str] = []


@contextmanager
def opening(folder: Path) -> Iterator[list[str]]:
    """The files below a folder that are opened meanwhile, manifests aside."""
    found: list[str] = []
    _opened.clear()
    yield found
    found += [each for each in _opened if each.startswith(str(folder)) and not each.endswith("manifest.json")]


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            _opened.append(os.fsdecode(arguments[0]))

    sys.addaudithook(hear)


def test_a_sealed_output_is_not_read_again_until_it_changes(project: Project, output: Path) -> None:
    with opening(project.folder / "outputs") as read:
        assert project.status(output).status is Status.OK
    assert read == []
    with opening(project.folder / "outputs") as read:
        assert project.status(output, Effort.FULL).status is Status.OK
    assert [Path(each).name for each in read] == ["a.txt"]


def test_a_fresh_clone_is_read_once_or_with_quick_never(project: Project, output: Path) -> None:
    clone = Project(project.folder / "clone", clock=Late())
    copy = shutil.copytree(output, clone.out("out"))
    shutil.copy(project.folder / "raw.txt", clone.folder)
    read: dict[str, int] = {}
    for effort, name in ((Effort.QUICK, "quick"), (Effort.USUAL, "first"), (Effort.USUAL, "second")):
        with opening(clone.folder / "outputs") as opened:
            assert clone.status(copy, effort).status is Status.OK
        read[name] = len(opened)
    assert read == {"quick": 0, "first": 1, "second": 0}
