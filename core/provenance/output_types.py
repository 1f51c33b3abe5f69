"""Whether a file is the table, the metric or the figure that it was declared to be, and what is doubtful about it."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK: Final = 1 << 16
_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_PACKED: Final = frozenset({".gz", ".zst"})
# What a picture begins with, what it ends with, and what files of it are called.
_FIGURES: Final[dict[str, tuple[tuple[bytes, ...], bytes, frozenset[str]]]] = {
    "PNG": ((b"\x89PNG\r\n\x1a\n",), b"IEND\xaeB`\x82", frozenset({".png"})),
    "JPEG": ((b"\xff\xd8\xff",), b"\xff\xd9", frozenset({".jpg", ".jpeg"})),
    "GIF": ((b"GIF87a", b"GIF89a"), b"\x3b", frozenset({".gif"})),
    "PDF": ((b"%PDF-",), b"%%EOF", frozenset({".pdf"})),
    "TIFF": ((b"II*\0", b"MM\0*"), b"", frozenset({".tif", ".tiff"})),
    "WebP": ((b"RIFF",), b"", frozenset({".webp"})),
    "SVG": ((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg"), b"</svg>", frozenset({".svg"})),
}
_END: Final = 1024


@dataclass
class NotOfType(Exception):
    """A file is not what it was declared to be."""

    said: str


def doubts_of_table(path: Path) -> Iterator[str]:
    """Read all of a table; one that cannot be read, or has no rows, is none."""
    table = read_table(path)
    if table.height == 0:
        raise NotOfType("has no rows")
    if table.width == 1 and path.suffix != ".parquet":
        yield "has one column only; its columns may be separated by something else"
    for name in table.columns:
        if table[name].null_count() == table.height:
            yield f"has nothing in the column {name!r}"


def read_table(path: Path) -> pl.DataFrame:
    """Read a table by its name's end, parquet, Arrow, JSON lines or text, or raise NotOfType."""
    suffixes = [each.lower() for each in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _PACKED else suffixes[-1] if suffixes else ""
    try:
        return _reader(kind)(path)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise NotOfType(f"cannot be read as a table: {reason}") from error


def _reader(kind: str) -> Callable[[Path], pl.DataFrame]:
    match kind:
        case ".parquet":
            return frames.read_parquet
        case ".arrow" | ".feather" | ".ipc":
            return lambda path: frames.scan_ipc(path).collect()
        case ".jsonl" | ".ndjson":
            return frames.read_ndjson
        case _ if kind in _SEPARATORS:
            return lambda path: frames.read_csv(_plain(path), separator=_SEPARATORS[kind], infer_schema_length=None)
        case _:
            raise NotOfType("is of no kind of table that is known: csv, tsv, txt, parquet, arrow, jsonl")


def _plain(path: Path) -> bytes | Path:
    # polars unpacks, too, and takes a file that is cut short for a shorter table.
    return gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path


def doubts_of_metric(path: Path) -> Iterator[str]:
    """Read a metric: one finite number as text or JSON, or a table of them in JSON."""
    text = path.read_bytes()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotOfType(f"holds no number and no JSON: {text[:40].decode(errors='replace').strip()!r}") from error
    numbers = 0
    for name, each in _leaves(value, name=""):
        where = f" under {name!r}" if name else ""
        if isinstance(each, bool) or not isinstance(each, int | float):
            yield f"holds no number{where}"
        elif not math.isfinite(each):
            raise NotOfType(f"holds {each}{where}, which is no finite number")
        else:
            numbers += 1
    if numbers == 0:
        raise NotOfType("holds no number")


def _leaves(value: Any, *, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for each in value:
            yield from _leaves(value[each], name=f"{name}.{each}".lstrip("."))
    else:
        yield name, value


def doubts_of_figure(path: Path) -> Iterator[str]:
    """Look whether a file begins and ends as a picture does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_BLOCK)
        file.seek(max(0, size - _END))
        end = file.read()
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = next((name for name, (begins, _, _) in _FIGURES.items() if bare.startswith(begins)), None)
    if kind is None or (kind == "SVG" and b"<svg" not in start) or (kind == "WebP" and start[8:12] != b"WEBP"):
        raise NotOfType("is no picture: neither PNG, JPEG, GIF, PDF, TIFF, WebP nor SVG")
    _, ends, suffixes = _FIGURES[kind]
    if ends not in end:
        raise NotOfType(f"is cut short: a {kind} ends with {ends!r}")
    if path.suffix.lower() not in suffixes:
        yield f"is a {kind}, which its name does not say"
