"""Lineage: from manifests and the ledger alone, up and down, with the addresses that inputs came from."""

from __future__ import annotations

import io
import json
import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from sluiceway.core.errors import InputMissing
from sluiceway.core.provenance.inputs import input_at, origin_of
from sluiceway.core.provenance.lineage import Direction, Lineage, NodeKind, Tracer
from sluiceway.core.provenance.manifest import Input
from sluiceway.core.report import lineage as drawing
from sluiceway.core.store.record import sealed
from tests.core.provenance.sealed import Project

URL = "https://example.org/raw.txt"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An address, a raw file, a table made of it, a figure and a report made of that."""
    project = Project(tmp_path)
    raw = tmp_path / "raw.txt"
    raw.write_text("raw")
    (tmp_path / ".raw.txt.seen.json").write_text(json.dumps({"url": URL, "size": 3}))
    table = project.seal("table", {"a.csv": "x", "b.csv": "y"}, inputs=(read(project, raw, "table", "raw"),))
    figure = project.seal("figure.png", "png", inputs=(read(project, table / "a.csv", "", "table"),))
    version = project.ledger.history().entries[0].data_version
    inputs = (Input(role="table", digest=version, path="../table"), read(project, figure, "report", "figure"))
    project.seal("report", {"r.html": "r"}, inputs=inputs)
    return project


def read(project: Project, file: Path, output: str, role: str) -> Input:
    (project.folder / "outputs").mkdir(exist_ok=True)
    return input_at(
        file, role=role, read=None, beside=project.folder / "outputs" / output if output else file.parent.parent
    )


def traced(project: Project, name: str, direction: Direction = Direction.UP) -> Lineage:
    return Tracer(history=project.ledger.history()).trace(project.out(name), direction)


def labels(lineage: Lineage, kind: NodeKind) -> set[str]:
    return {each.label for each in lineage.nodes if each.kind is kind}


def test_up_leads_to_every_output_input_and_address(project: Project) -> None:
    found = traced(project, "report")
    assert labels(found, NodeKind.OUTPUT) == {"report", "table", "figure.png"}
    assert labels(found, NodeKind.INPUT) == {"raw.txt"}
    assert [each.url for each in found.nodes if each.kind is NodeKind.ORIGIN] == [URL]
    names = {each.id: each.label for each in found.nodes}
    assert {(names[each.source], names[each.target], each.role) for each in found.edges} == {
        ("table", "report", "table"),
        ("figure.png", "report", "figure"),
        ("table", "figure.png", "table"),
        ("raw.txt", "table", "raw"),
        (URL, "raw.txt", "came from"),
    }


def test_down_leads_to_all_that_was_made_of_it(project: Project) -> None:
    assert labels(traced(project, "table", Direction.DOWN), NodeKind.OUTPUT) == {"table", "figure.png", "report"}
    assert labels(traced(project, "figure.png", Direction.DOWN), NodeKind.OUTPUT) == {"figure.png", "report"}
    assert len(traced(project, "report", Direction.DOWN).nodes) == 1


def test_no_file_but_manifests_and_the_ledger_is_needed(project: Project) -> None:
    for file in (project.folder / "raw.txt", *project.out("table").glob("*.csv"), project.out("figure.png")):
        file.unlink()
    assert len(traced(project, "report").nodes) == 5


def test_an_output_that_was_made_anew_is_not_the_one_that_was_read(project: Project) -> None:
    project.seal("table", {"a.csv": "new", "b.csv": "y"})
    (whole,) = (
        each for each in traced(project, "report").edges if each.role == "table" and each.is_current is not None
    )
    assert whole.is_current is False
    assert "table: table [output]" in "\n".join(drawing.lines(traced(project, "report")))
    assert "(changed since)" in "\n".join(drawing.lines(traced(project, "report")))


def test_an_output_that_went_away_is_known_by_the_ledger(project: Project) -> None:
    shutil.rmtree(project.out("table"))
    found = traced(project, "report")
    assert "table" in labels(found, NodeKind.OUTPUT)


def test_a_copy_is_the_same_output(project: Project) -> None:
    shutil.copytree(project.out("table"), project.folder / "copy")
    tracer = Tracer(history=project.ledger.history())
    copied = tracer.trace(project.folder / "copy", Direction.DOWN)
    assert labels(copied, NodeKind.OUTPUT) == {"table", "figure.png", "report"}


def test_without_a_manifest_there_is_no_lineage(project: Project) -> None:
    with pytest.raises(InputMissing, match="the manifest"):
        Tracer(history=project.ledger.history()).trace(project.folder / "raw.txt", Direction.UP)


def test_outputs_that_name_each_other_come_to_an_end(project: Project) -> None:
    one, two = project.out("one"), project.out("two")
    for each, other in ((one, "../two"), (two, "../one")):
        project.seal(each.name, {"x": each.name}, inputs=(Input(role="other", path=other),))
    for direction in Direction:
        found = traced(project, "one", direction)
        assert len(found.nodes) == 2
        assert list(drawing.lines(found))
        assert drawing.svg(found)


def test_the_tree_says_each_thing_once_and_counts_many_of_one_kind(project: Project) -> None:
    many = tuple(Input(role="score", name=f"PGS{n}") for n in range(20))
    project.seal("scores", {"s": "1"}, inputs=(Input(role="panel", name="p"), *many))
    lines = list(drawing.lines(traced(project, "scores")))
    assert lines[1] == "├─ panel: p [input]"
    assert lines[-1] == "└─ score: and 17 more"
    assert len(lines) == 6
    report = "\n".join(drawing.lines(traced(project, "report")))
    assert report.count("└─ came from: https://example.org/raw.txt") == 1
    assert "(as above)" in report


def test_the_picture_holds_every_box_once_and_nothing_from_outside_as_markup(project: Project) -> None:
    project.seal("bad", {"x": "1"}, inputs=(Input(role="a", name="<script>&"), Input(role="b", path="../report")))
    found = traced(project, "bad")
    root = ET.fromstring(drawing.svg(found))  # noqa: S314 - we drew it
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<script>&" in texts
    assert len([each for each in texts if each == "table"]) == 1
    drawn = drawing.drawn(found)
    assert len(drawn.boxes) == len(found.nodes)
    assert all(line.start[0] < line.end[0] for line in drawn.lines)
    corners = {(each.left, each.top) for each in drawn.boxes}
    assert len(corners) == len(drawn.boxes)


def test_the_picture_is_a_png_as_well(project: Project) -> None:
    found = traced(project, "report")
    image = Image.open(io.BytesIO(drawing.png(found)))
    drawn = drawing.drawn(found)
    assert image.size == (2 * drawn.width, 2 * drawn.height)
    assert len(image.getcolors(1 << 20) or ()) > 8


def test_a_score_that_the_catalogue_gave_has_its_address(tmp_path: Path) -> None:
    note = tmp_path / "PGS000001.table.json"
    note.write_bytes(sealed({"link": URL, "keys": []}))
    assert origin_of(note) == URL
    note.write_text("{}")
    assert origin_of(note) is None


def test_an_address_comes_from_a_note_or_an_attribute_and_loses_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("12")
    assert origin_of(file) is None
    note = tmp_path / ".x.seen.json"
    note.write_text(json.dumps({"url": URL, "size": 3}))
    assert origin_of(file) is None
    note.write_text(json.dumps({"url": "ftp://ada:secret@example.org/x", "size": 2}))
    assert origin_of(file) == "ftp://example.org/x"
    note.unlink()
    try:
        os.setxattr(file, "user.xdg.origin.url", URL.encode())
    except OSError:
        pytest.skip("this file system keeps no attributes")
    assert origin_of(file) == URL
