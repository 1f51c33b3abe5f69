"""Exports: verified by Python alone, any change found, nothing outside of the folder written or read."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.core.errors import NotExportable
from sluiceway.core.provenance import crate_verify
from sluiceway.core.provenance.crate import Told, export
from sluiceway.core.provenance.inputs import input_at
from sluiceway.core.provenance.manifest import Times
from tests.core.provenance.sealed import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    (tmp_path / "raw.txt").write_text("raw")
    (tmp_path / "outputs").mkdir()
    raw = input_at(tmp_path / "raw.txt", role="raw", read=None, beside=tmp_path / "outputs" / "one")
    one = project.out("one")
    (one / "empty").mkdir(parents=True)
    (one / "run.sh").write_text("true")
    (one / "run.sh").chmod(0o755)
    (one / "link").symlink_to("deep/b c.txt")
    project.seal("one", {"deep/b c.txt": "b", "ü.txt": "u"}, inputs=(raw,), recipe="made", parameters={"n": 1})
    project.seal("between", {"x": "not exported"})
    two = input_at(one / "ü.txt", role="table", read=None, beside=tmp_path / "outputs")
    project.seal("two.txt", "two", inputs=(two,), times=Times())
    return project


def exported(project: Project, target: str = "crate", *outputs: str) -> Path:
    taken = [project.out(each) for each in outputs or ("one", "two.txt")]
    return export(taken, project.folder / target, history=project.ledger.history())


def found(crate: Path) -> list[str]:
    return list(crate_verify.findings(crate_verify.Export.at(str(crate))))


# P21.
@pytest.mark.parametrize("target", ["crate", "crate.zip"])
def test_an_export_is_verified_by_python_alone(project: Project, tmp_path: Path, target: str) -> None:
    crate = exported(project, target)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    script = moved / "verify.py"
    if target.endswith(".zip"):
        with zipfile.ZipFile(crate) as archive:
            script.write_bytes(archive.read("verify.py"))
        words = [str(script), str(crate)]
    else:
        crate.rename(moved / "crate")
        words = [str(moved / "crate" / "verify.py")]
    shutil.rmtree(project.folder / "outputs")
    done = subprocess.run([sys.executable, "-I", "-S", *words], capture_output=True, text=True, env={}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 outputs, 0 findings\nhead of the ledger: sha256:")


def test_an_archive_holds_the_same_bytes_each_time(project: Project) -> None:
    assert exported(project, "a.zip").read_bytes() == exported(project, "b.zip").read_bytes()


CHANGES = {
    "a file": ("outputs/one/deep/b c.txt", b"B"),
    "a file of its own": ("outputs/two.txt", b"twO"),
    "a manifest": ("outputs/one/manifest.json", b"{}"),
    "the ledger": ("ledger.jsonl", b"{}\n"),
    "the metadata": ("ro-crate-metadata.json", b"{}"),
    "the verifier": ("verify.py", b""),
    "the record": ("export.json", b"{}"),
    "something more": ("outputs/more.txt", b"more"),
    "something more in an output": ("outputs/one/more.txt", b"more"),
}


@pytest.mark.parametrize(("name", "content"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_found_and_the_file_named(project: Project, name: str, content: bytes) -> None:
    """Red on: core/provenance/crate_verify.py: `if found != expected:` -> `if False:`."""
    crate = exported(project)
    (crate / name).write_bytes(content)
    assert name.rpartition("/")[2] in " ".join(found(crate)) or "outputs/one was changed" in found(crate)[0]


def test_every_single_byte_counts(project: Project) -> None:
    crate = exported(project)
    chance = random.Random(7)
    files = [each for each in sorted(crate.rglob("*")) if each.is_file() and not each.is_symlink()]
    for file in files:
        content = bytearray(file.read_bytes())
        for at in chance.sample(range(len(content)), min(len(content), 12)):
            before = content[at]
            content[at] ^= 1 << chance.randrange(8)
            file.write_bytes(content)
            assert found(crate), (file, at)
            content[at] = before
        file.write_bytes(content)
    assert found(crate) == []


def test_modes_links_and_empty_folders_count(project: Project) -> None:
    crate = exported(project)
    one = crate / "outputs" / "one"
    changes: tuple[tuple[Callable[[], object], Callable[[], object]], ...] = (
        (lambda: (one / "run.sh").chmod(0o644), lambda: (one / "run.sh").chmod(0o755)),
        ((one / "empty").rmdir, (one / "empty").mkdir),
        ((one / "link").unlink, lambda: (one / "link").symlink_to("deep/b c.txt")),
    )
    for change, back in changes:
        change()
        assert found(crate)[0].startswith("outputs/one was changed")
        back()
    assert found(crate) == []


def test_data_and_manifest_that_were_changed_together_are_not_in_the_ledger(project: Project) -> None:
    crate = exported(project)
    other = Project(project.folder / "other")
    other.folder.mkdir()
    other.seal("two.txt", "forged")
    for name in ("two.txt", "two.txt.manifest.json"):
        shutil.copyfile(other.out(name), crate / "outputs" / name)
    assert any("is in no line of the ledger" in each for each in found(crate))


def test_the_piece_of_the_ledger_holds_together(project: Project) -> None:
    crate = exported(project)
    ledger = crate / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    for changed in (lines[:2], lines[1:], [lines[0], lines[2]], [lines[1], lines[0], lines[2]]):
        ledger.write_bytes(b"".join(changed))
        assert any(each.startswith("ledger.jsonl") for each in found(crate))


def test_what_does_not_verify_is_not_exported(project: Project) -> None:
    (project.out("one") / "ü.txt").write_text("changed")
    with pytest.raises(NotExportable, match="tampered_data"):
        exported(project)
    assert not (project.folder / "crate").exists()


def test_a_folder_that_is_there_is_not_written_to(project: Project) -> None:
    (project.folder / "crate").mkdir()
    with pytest.raises(NotExportable, match="something already"):
        exported(project)
    assert not list((project.folder / "crate").iterdir())


@pytest.mark.parametrize("leads", ["/etc/passwd", "../../../secret", "deep/../../up"])
def test_a_link_out_of_an_output_is_not_exported(project: Project, leads: str) -> None:
    out = project.out("linked")
    out.mkdir()
    (out / "link").symlink_to(leads)
    project.seal("linked", None)
    with pytest.raises(NotExportable, match="leads out of the output"):
        exported(project, "crate", "linked")


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd"])
def test_names_in_what_came_from_elsewhere_lead_nowhere(project: Project, name: str) -> None:
    """Red on: core/provenance/crate_verify.py: `if thing is None or thing.kind != "F":
    return None` -> `if thing is None:
    return open(name, "rb").read()`.
    """
    crate = exported(project)
    (project.folder.parent / "secret").write_text("secret")
    record = json.loads((crate / "export.json").read_bytes())
    record["outputs"][0]["manifest"] = name
    del record["digest"]
    record["digest"] = crate_verify._sha256(crate_verify._canonical(record))
    (crate / "export.json").write_bytes(crate_verify._canonical(record))
    assert any(each == f"{name} is not there" for each in found(crate))


def test_two_outputs_of_one_name_are_both_there(project: Project) -> None:
    twin = project.folder / "outputs" / "more"
    twin.mkdir()
    shutil.copytree(project.out("one"), twin / "one", symlinks=True)
    crate = export([project.out("one"), twin / "one"], project.folder / "crate", history=project.ledger.history())
    assert sorted(each.name for each in (crate / "outputs").iterdir()) == ["2-one", "one"]
    assert found(crate) == []


def test_the_metadata_names_every_file_and_every_step(project: Project) -> None:
    taken = [project.out("one"), project.out("two.txt")]
    told = Told(name="Mine", licence="https://spdx.org/licenses/CC0-1.0")
    crate = export(taken, project.folder / "crate", history=project.ledger.history(), told=told)
    graph = {each["@id"]: each for each in json.loads((crate / "ro-crate-metadata.json").read_bytes())["@graph"]}
    assert (graph["./"]["name"], graph["./"]["license"]) == ("Mine", {"@id": "https://spdx.org/licenses/CC0-1.0"})
    files = {
        each.relative_to(crate).as_posix() for each in crate.rglob("*") if each.is_file() and not each.is_symlink()
    }
    described = {id_.replace("%20", " ").replace("%C3%BC", "ü") for id_ in graph}
    assert files - described == {"ro-crate-metadata.json", "export.json"} - described
    assert [each["name"] for each in graph.values() if each["@type"] == "HowToStep"] == [
        "Make outputs/one",
        "Make outputs/two.txt",
    ]
    # Whatever is referred to is described.
    refs = {ref["@id"] for each in graph.values() for ref in references(each)}
    assert {each for each in refs if not each.startswith(("http", "verify.py"))} - set(graph) == set()


def references(value: object) -> list[dict[str, str]]:
    if isinstance(value, dict):
        own = [value] if set(value) == {"@id"} else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []
