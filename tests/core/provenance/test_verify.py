"""Verifying: every change of an output, its manifest, its inputs or the ledger is found and named; nothing else is."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.core.errors import VerificationFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.manifest import Input
from sluiceway.core.provenance.outputs import outputs_in
from sluiceway.core.provenance.statcache import NAME
from sluiceway.core.provenance.tree import FileDigests, digest_of_tree
from sluiceway.core.provenance.verify import Depth, Finding, verify
from sluiceway.core.remote.clock import SystemClock
from tests.core.provenance.sealed import Project

DEPTHS = list(Depth)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def output(project: Project) -> Path:
    return project.seal("out", {"a.txt": "first", "b/c.txt": "second", "b/manifest.json": "nested", "empty": ""})


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_as_it_was_sealed_is_sound(project: Project, output: Path, depth: Depth) -> None:
    assert project.flaws(output, project.seal("x.txt", "file"), depth=depth) == []


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda output: (output / name).write_text(content)


def a_link(output: Path) -> None:
    (output / "empty").unlink()
    (output / "empty").symlink_to("a.txt")


CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a byte": (put("a.txt", "First"), "tampered_data", "a.txt"),
    "a nested manifest": (put("b/manifest.json", "other"), "tampered_data", "b/manifest.json"),
    "another file": (put("b/new.txt", ""), "tampered_data", "b/new.txt"),
    "a timestamp that others leave out": (put("b/.snakemake_timestamp", ""), "tampered_data", "b/.snakemake_timestamp"),
    "a file gone": (lambda output: (output / "empty").unlink(), "missing_data", "empty"),
    "an empty folder": (lambda output: (output / "new").mkdir(), "tampered_data", ""),
    "who may execute": (lambda output: (output / "a.txt").chmod(0o755), "tampered_data", ""),
    "a link for a file": (a_link, "missing_data", "empty"),
    "the manifest gone": (lambda output: (output / "manifest.json").unlink(), "missing_manifest", "manifest.json"),
    "the manifest no JSON": (put("manifest.json", "{"), "broken_manifest", "manifest.json"),
    "all gone": (shutil.rmtree, "missing_manifest", "../out.manifest.json"),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("change", "flaw", "file"), CHANGES.values(), ids=CHANGES)
def test_each_change_is_found_with_its_file(
    project: Project, output: Path, change: Callable[[Path], object], flaw: str, file: str, depth: Depth
) -> None:
    change(output)
    (finding,) = project.findings(output, depth=depth)
    assert (finding.flaw, finding.file) == (flaw, Path(os.path.normpath(output / file)))


def test_a_finding_names_what_was_expected_and_what_was_found(project: Project, output: Path) -> None:
    (output / "a.txt").write_text("forged")
    (finding,) = project.findings(output)
    expected, found = digest_of_bytes(b"first"), digest_of_bytes(b"forged")
    assert (finding.expected, finding.found) == (expected, found)
    assert str(finding) == (
        f"tampered_data: {str(output / 'a.txt')!r} was changed (expected {expected}, found {found})"
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_byte_that_is_flipped_anywhere_is_found_and_its_object_named(tmp_path: Path, seed: int) -> None:
    """Red on: core/provenance/verify.py: `elif was != is_now:` -> `elif was is None:`."""
    chance, project = random.Random(seed), Project(tmp_path)
    inputs = (Input(role="raw", path="../../raw.txt", digest="sha256:" + "0" * 64),)
    (tmp_path / "raw.txt").write_text("raw")
    inputs = (inputs[0].model_copy(update={"digest": digest_of_tree(tmp_path / "raw.txt")}),)
    outputs = [project.seal("one", {"a": "content", "b/c": "more"}, inputs=inputs), project.seal("two.txt", "text")]
    assert project.flaws(*outputs, depth=Depth.CHAIN) == []
    # Losing what is remembered of files costs time only.
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(NAME))
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    findings = project.findings(*outputs, depth=Depth.CHAIN)
    assert findings
    named = {each.file for each in findings}
    assert file in named or (file.parent.name == "ledger" and {each.parent for each in named} & {file.parent})


def sealed_anew(output: Path) -> None:
    """Change an output and its manifest together, as somebody does who knows the form."""
    (output / "a.txt").write_text("forged")
    read = manifests.read(output / "manifest.json")
    other = Project(output.parent / "elsewhere")
    other.folder.mkdir()
    (output / "manifest.json").unlink()
    copy = shutil.copytree(output, other.folder / "outputs" / "out")
    other.seal("out", None, **{name: getattr(read, name) for name in ("output_id", "previous")})
    shutil.copy(copy / "manifest.json", output / "manifest.json")
    shutil.rmtree(other.folder)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_manifest_that_was_forged_with_its_data_is_not_in_the_ledger(
    project: Project, output: Path, depth: Depth
) -> None:
    """Red on: core/provenance/verify.py: `if entry is None and last is not None:` -> `if False:`."""
    sealed_anew(output)
    (finding,) = project.findings(output, depth=depth)
    assert (finding.flaw, finding.file) == ("forged_manifest", output / "manifest.json")
    last = project.ledger.history().last_of(output)
    assert last is not None
    assert finding.expected == last.manifest


def test_a_forged_output_in_another_place_is_found_by_the_chain(project: Project, output: Path) -> None:
    sealed_anew(output)
    moved = output.rename(output.with_name("moved"))
    assert project.flaws(moved) == []
    assert project.flaws(moved, depth=Depth.CHAIN) == ["unknown_manifest"]


def test_an_output_that_was_moved_or_copied_is_still_what_it_was(project: Project, output: Path) -> None:
    copy = shutil.copytree(output, project.out("copy"))
    moved = output.rename(project.out("moved"))
    assert project.flaws(copy, moved, depth=Depth.CHAIN) == []


def test_an_earlier_state_that_is_put_back_is_found(project: Project, output: Path) -> None:
    before = shutil.copytree(output, project.folder / "before")
    (output / "a.txt").write_text("newer")
    project.seal("out", None)
    shutil.rmtree(output)
    before.rename(output)
    assert project.flaws(output) == ["superseded_manifest"]


def test_outputs_of_an_archive_are_verified_without_their_ledger(project: Project, output: Path) -> None:
    elsewhere = Ledger(project.folder / "nobody", clock=SystemClock())
    assert verify([output], ledger=elsewhere, cache=None, depth=Depth.FULL).findings == ()
    (output / "a.txt").write_text("forged")
    verdict = verify([output], ledger=elsewhere, cache=None, depth=Depth.FULL)
    assert [each.flaw for each in verdict.findings] == ["tampered_data"]


@pytest.fixture
def chained(project: Project, output: Path) -> Path:
    """An output made from another one."""
    digest = manifests.read(output / "manifest.json").data_version
    return project.seal("next", {"n": "x"}, inputs=(Input(role="upstream", path="../out", digest=digest),))


def test_an_input_that_is_not_what_was_read_breaks_the_chain(project: Project, output: Path, chained: Path) -> None:
    """Red on: core/provenance/verify.py: `if found != recorded.digest:` -> `if False:`."""
    (output / "a.txt").write_text("newer")
    project.seal("out", None)
    assert project.flaws(chained) == []
    (finding,) = project.findings(chained, depth=Depth.CHAIN)
    assert (finding.flaw, finding.output, finding.file) == ("broken_chain", chained, output)


def test_an_upstream_output_is_verified_with_what_was_made_of_it(project: Project, output: Path, chained: Path) -> None:
    (output / "a.txt").write_text("forged")
    flaws = [(each.flaw.value, each.file) for each in project.findings(chained, depth=Depth.CHAIN)]
    assert flaws == [("tampered_data", output / "a.txt"), ("broken_chain", output)]


def test_an_upstream_that_was_rebuilt_to_the_same_bytes_breaks_nothing(
    project: Project, output: Path, chained: Path
) -> None:
    """Early cut-off: what is downstream knows contents, not runs."""
    shutil.rmtree(output)
    project.seal("out", {"a.txt": "first", "b/c.txt": "second", "b/manifest.json": "nested", "empty": ""})
    assert project.flaws(chained, depth=Depth.CHAIN) == []
    assert project.status(chained).status == "ok"


@pytest.mark.parametrize("wrong_end", ["0", "1", "x"])
def test_a_damaged_cache_accuses_nobody(project: Project, output: Path, wrong_end: str) -> None:
    with project.cache as cache:
        for name in ("a.txt", "b/c.txt"):
            status = (output / name).stat()
            wrong = digest_of_tree(output / name)[:-1] + wrong_end
            cache.keep([(status, FileDigests(leaf=wrong), cache.now() + 10**12)])
    assert project.flaws(output, depth=Depth.FAST) == []


def test_a_failed_run_left_a_manifest_and_nothing_to_compare(project: Project) -> None:
    ending = {"status": "failed", "exit_code": 1, "error": "out of memory"}
    output = project.seal("never.txt", None, ending=ending)
    assert project.flaws(output, depth=Depth.CHAIN) == []
    assert project.status(output).status == "failed"


def test_names_that_are_no_utf_8_and_links_are_verified(project: Project) -> None:
    output = project.out("odd")
    output.mkdir(parents=True)
    (output / os.fsdecode(b"\xff")).write_text("x")
    (output / "link").symlink_to("nowhere")
    project.seal("odd", None)
    assert project.flaws(output, depth=Depth.CHAIN) == []
    (output / "link").unlink()
    (output / "link").symlink_to("elsewhere")
    assert project.flaws(output) == ["tampered_data"]
    (output / os.fsdecode(b"\xff")).write_text("y")
    (finding, *_) = project.findings(output)
    assert (finding.flaw, str(finding.file)) == ("tampered_data", str(output / r"\udcff"))
    assert str(finding).isascii()


def test_a_verdict_that_is_not_sound_is_an_error_that_names_the_first_finding(project: Project, output: Path) -> None:
    for name in ("a.txt", "empty"):
        (output / name).write_text("forged")
    verdict = verify([output], ledger=project.ledger, cache=None, depth=Depth.FULL)
    with pytest.raises(VerificationFailed, match=r"a\.txt.*was changed.*There are 1 more"):
        verdict.require_sound()


def test_what_cannot_be_read_is_a_finding(project: Project, output: Path) -> None:
    (output / "a.txt").unlink()
    os.mkfifo(output / "a.txt")
    (finding,) = project.findings(output)
    assert isinstance(finding, Finding)
    assert (finding.flaw, finding.file) == ("unreadable_data", output / "a.txt")


def test_outputs_are_found_below_a_folder_each_once(project: Project, output: Path) -> None:
    file = project.seal("deep/er.txt".replace("/", "-"), "x")
    (project.out("alias")).symlink_to("out")
    (project.out("nothing")).mkdir()
    (project.out(".hidden")).mkdir()
    assert list(outputs_in([project.folder / "outputs"])) == [project.out("alias"), file, output]
    beside = manifests.path_of(file)
    assert list(outputs_in([output, output / "manifest.json", file, beside])) == [output, file]
    assert list(outputs_in([project.out("nothing")])) == [project.out("nothing")]


def test_a_manifest_without_a_digest_of_the_whole_promises_the_files_that_it_lists(tmp_path: Path) -> None:
    project = Project(tmp_path)
    output = project.out("run")
    (output / "work").mkdir(parents=True)
    (output / "work" / "made.txt").write_text("made")
    (output / "stdout.txt").write_text("said")
    listed = manifests.File(name="made.txt", digest=digest_of_bytes(b"made"), size=4)
    project.ledger.enter(project.manifest("run", output_type="run", outputs=(listed,)), output)
    assert project.flaws(output, depth=Depth.CHAIN) == []
    (output / "work" / "made.txt").write_text("forged")
    assert project.flaws(output) == ["tampered_data"]
    assert json.loads((output / "manifest.json").read_bytes())["data_version"] is None
