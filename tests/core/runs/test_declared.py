"""Declared types of outputs: checked before a run is sealed; what is wrong fails it, what is doubtful is told."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.runs.declared import Declared, OutputType, check, declaring
from tests.core.runs.here import Here


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def written_by(write: Callable[[pl.DataFrame, io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    write(pl.DataFrame({"x": [1], "y": [2]}), file)
    return file.getvalue()


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\0"))
    + chunk(b"IEND", b"")
)
SVG = b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'></svg>\n"
GOOD: dict[str, tuple[str, bytes]] = {
    "csv": ("a.csv:table", b"x,y\n1,2\n"),
    "tsv": ("a.tsv:table", b"x\ty\n1\t2\n"),
    "packed csv": ("a.csv.gz:table", gzip.compress(b"x,y\n1,2\n")),
    "JSON lines": ("a.jsonl:table", b'{"x": 1, "y": 2}\n'),
    "parquet": ("a.parquet:table", written_by(pl.DataFrame.write_parquet)),
    "Arrow": ("a.arrow:table", written_by(pl.DataFrame.write_ipc)),
    "number": ("a.txt:metric", b"0.5\n"),
    "JSON number": ("a.json:metric", b'{"auc": {"all": 0.5, "women": 1}}'),
    "PNG": ("a.png:figure", PNG),
    "SVG": ("a.svg:figure", SVG),
    "PDF": ("a.pdf:figure", b"%PDF-1.7\n...\n%%EOF\n"),
    "file": ("a.bin:file", b"x"),
}
WRONG: dict[str, tuple[str, bytes, str]] = {
    "no rows": ("a.csv:table", b"x,y\n", "has no rows"),
    "nothing": ("a.csv:table", b"", "cannot be read as a table"),
    "ragged": ("a.csv:table", b"x,y\n1,2\n1,2,3,4\n", "cannot be read as a table"),
    "cut short": ("a.csv.gz:table", gzip.compress(b"x,y\n1,2\n" * 99)[:-9], "cannot be read as a table"),
    "no parquet": ("a.parquet:table", b"PAR1", "cannot be read as a table"),
    "unknown kind": ("a.xlsx:table", b"x", "is of no kind of table that is known"),
    "NaN": ("a.json:metric", b'{"auc": NaN}', "holds nan under 'auc', which is no finite number"),
    "infinite": ("a.txt:metric", b"-Infinity", "holds -inf, which is no finite number"),
    "text": ("a.txt:metric", b"high", "holds no number and no JSON: 'high'"),
    "no number": ("a.json:metric", b'{"a": true}', "holds no number"),
    "page": ("a.png:figure", b"<html>not found</html>", "is no picture"),
    "XML": ("a.svg:figure", b"<?xml version='1.0'?><a></a>", "is no picture"),
    "half a picture": ("a.png:figure", PNG[:-6], "is cut short"),
    "half an SVG": ("a.svg:figure", SVG[:-8], "is cut short"),
}  # fmt: skip
DOUBTFUL: dict[str, tuple[str, bytes, str]] = {
    "one column": ("a.csv:table", b"x;y\n1;2\n", "has one column only"),
    "empty column": ("a.csv:table", b"x,y\n1,\n2,\n", "has nothing in the column 'y'"),
    "text beside": ("a.json:metric", b'{"auc": 0.5, "model": "ridge"}', "holds no number under 'model'"),
    "other kind": ("a.png:figure", SVG, "is a SVG, which its name does not say"),
    "empty": ("a.bin:file", b"", "is empty"),
}


def checked(folder: Path, written: str, content: bytes) -> Any:
    declared = Declared.parse(written)
    (folder / declared.pattern).write_bytes(content)
    return check([declared], [(declared.pattern, [declared.pattern])], folder)


@pytest.mark.parametrize(("written", "content"), GOOD.values(), ids=GOOD)
def test_what_is_as_declared_passes_without_a_word(tmp_path: Path, written: str, content: bytes) -> None:
    # What is no pattern for us is none for whoever reads the file.
    folder = tmp_path / "any[thing]*?"
    folder.mkdir()
    found = checked(folder, written, content)
    assert (found.trouble, found.warnings) == (None, ())


@pytest.mark.parametrize(("written", "content", "said"), WRONG.values(), ids=WRONG)
def test_what_is_not_as_declared_is_told_with_its_name(tmp_path: Path, written: str, content: bytes, said: str) -> None:
    found = checked(tmp_path, written, content)
    declared = Declared.parse(written)
    assert found.trouble is not None
    assert found.trouble.startswith(f"the declared {declared.type} {declared.pattern!r} {said}")


@pytest.mark.parametrize(("written", "content", "said"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_is_doubtful_is_a_warning(tmp_path: Path, written: str, content: bytes, said: str) -> None:
    found = checked(tmp_path, written, content)
    assert found.trouble is None
    assert [said in each for each in found.warnings] == [True]


def test_a_parquet_table_is_read(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    assert check([Declared.parse("a.parquet:table")], [("a.parquet", ["a.parquet"])], tmp_path).trouble is None


def test_a_folder_holds_files_and_is_none_itself(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    for name in ("made/x", "file"):
        (tmp_path / name).write_text("x")
    for pattern, made, trouble in (
        ("made", "made/x", None),
        ("made/", "made/x", None),
        ("*e*", "made/x", None),
        ("file", "file", "the declared folder 'file' is a file"),
    ):
        assert check([Declared.parse(f"{pattern}:folder")], [(made, [pattern])], tmp_path).trouble == trouble


@pytest.mark.parametrize(
    ("written", "pattern", "type_", "name"),
    [
        ("result.csv", "result.csv", None, None),
        ("result.csv:table", "result.csv", OutputType.TABLE, None),
        ("fit=out/*.json:metric", "out/*.json", OutputType.METRIC, "fit"),
        ("12:30:00.txt", "12:30:00.txt", None, None),
        ("12:30:00.txt:file", "12:30:00.txt", OutputType.FILE, None),
        ("odd:table:file", "odd:table", OutputType.FILE, None),
        ("x=1.csv", "x=1.csv", None, None),
        ("a=x=1.csv:table", "x=1.csv", OutputType.TABLE, "a"),
        ("aligned/*.bam:left", "aligned/*.bam", OutputType.LEFT, None),
        (":table", ":table", None, None),
    ],
)
def test_only_a_type_at_the_very_end_counts(written: str, pattern: str, type_: OutputType | None, name: str) -> None:
    declared = Declared.parse(written)
    assert (declared.pattern, declared.type, declared.name) == (pattern, type_, name)
    assert Declared.parse(str(declared)).pattern == pattern


async def test_a_run_whose_table_is_none_fails_before_it_is_sealed(place: Path) -> None:
    here = Here(place)
    request = here.request("printf 'x,y\\n' >a.csv", **declaring(["a.csv:table"]))
    receipt = await here.run(request)
    assert (receipt.succeeded, receipt.why) == (False, "the declared table 'a.csv' has no rows")
    sealed = manifests.read(receipt.manifest)
    assert (sealed.ending.status, sealed.ending.error) == ("failed", receipt.why)
    # It is tried again, as any run that failed.
    assert (await here.run(request)).attempt == 2


async def test_doubts_stand_in_the_manifest_and_the_receipt(place: Path) -> None:
    here = Here(place)
    receipt = await here.run(here.request('echo \'{"auc": 1, "x": "y"}\' >a.json', **declaring(["a.json:metric"])))
    assert receipt.succeeded
    assert (
        manifests.read(receipt.manifest).warnings
        == receipt.warnings
        == ("the metric 'a.json' holds no number under 'x'",)
    )
    assert (await here.run(here.request("true"))).warnings == ()


async def test_a_type_is_part_of_the_key_and_none_leaves_it_as_it_was(place: Path) -> None:
    here = Here(place)
    keys = {here.request("true", **declaring([each])).key for each in ("a.csv", "a.csv:table", "a.csv:file")}
    assert len(keys) == 3
    assert here.request("true", outputs=("a.csv",)).key in keys
