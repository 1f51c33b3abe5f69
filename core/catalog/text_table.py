"""A scoring file as lines of text: unpacked, checked, and split into columns, with a reason where that cannot be done.

The table is read twice at most. The first reading takes the numbers as numbers and is fast; where it fails, a second
one takes everything as text and finds the line that is wrong. No step copies the whole text: that would cost a tenth of
the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NoReturn, cast

import numpy as np
import polars as pl
from isal import igzip, isal_zlib

from sluiceway.core.catalog.header import Header
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DOSAGE_WEIGHTS: Final = ("dosage_0_weight", "dosage_1_weight", "dosage_2_weight")
WEIGHT: Final = "effect_weight"
FREQUENCY: Final = "allelefrequency_effect"

_SUFFIXES: Final = re.compile(r"(\.txt|\.tsv)?(\.b?gz)?$", re.IGNORECASE)
MISSING: Final = (".", "NA")
"""What says nothing, besides an empty field."""
_POSITIONS: Final = ("hm_pos", "chr_position")
_UNNAMED: Final = "\t"
_SOMETHING: Final = re.compile(rb"\S")
# The stubs of isal call this class a value.
_DAMAGED: Final = cast("type[Exception]", isal_zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A scoring file, unpacked: its header, its columns, and where its rows begin."""

    path: Path
    header: Header
    columns: list[str]
    text: bytes
    start: int
    first_line: int

    @property
    def stem(self) -> str:
        """The file's name without what says how it is packed."""
        return _SUFFIXES.sub("", self.path.name)

    def broken(self, reason: str) -> NoReturn:
        """Say why this file cannot be used."""
        raise ScoringFileBroken(path=self.path, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A scoring file's table; every column is text but weights, positions and the frequency."""

    lines: Lines
    frame: pl.DataFrame
    row_nr: NDArray[np.uint32]

    @property
    def header(self) -> Header:
        """The file's header."""
        return self.lines.header

    @property
    def stem(self) -> str:
        """The file's name without what says how it is packed."""
        return self.lines.stem

    def only(self, wanted: pl.Series) -> TextTable:
        """Give the rows where this is true."""
        return replace(self, frame=self.frame.filter(wanted), row_nr=self.row_nr[wanted.to_numpy()])

    def broken(self, reason: str, row: int | None = None) -> NoReturn:
        """Say why this file cannot be used, and on which line the row is."""
        line = None if row is None else self._line(int(self.row_nr[row]))
        raise ScoringFileBroken(path=self.lines.path, reason=reason, line=line)

    def _line(self, row_nr: int) -> int:
        first = self.lines.first_line
        lines = enumerate(self.lines.text.split(b"\n")[first - 1 :], first)
        written = (number for number, line in lines if line.strip())
        return next(number for at, number in enumerate(written) if at == row_nr)


def lines_of(path: Path, *, md5: str | None = None) -> Lines:
    """Unpack a scoring file and read its header; every way in which this fails is a ScoringFileBroken."""
    text = _unpacked(path, md5)
    head, names, first_line, start = _split(path, text)
    try:
        header = Header.parse(head.decode().split("\n"))
        columns = _columns(path, names.decode(), first_line - 1)
    except UnicodeDecodeError as error:
        raise ScoringFileBroken(path=path, reason="its header is not UTF-8 text") from error
    if not _says_something(text, start):
        raise ScoringFileBroken(path=path, reason="it has a header but no rows")
    return Lines(path=path, header=header, columns=columns, text=text, start=start, first_line=first_line)


def read(lines: Lines) -> TextTable:
    """Read the table of a scoring file; every way in which this fails is a ScoringFileBroken."""
    frame = _typed(lines.text, lines.columns, lines.first_line)
    if frame is None:
        frame = _careful(lines.path, lines.text, lines.columns, lines.first_line)
    frame = _tidy(lines.path, frame)
    return TextTable(lines=lines, frame=frame, row_nr=np.arange(frame.height, dtype=np.uint32))


def _unpacked(path: Path, md5: str | None) -> bytes:
    try:
        packed = path.read_bytes()
        got = hashlib.md5(packed, usedforsecurity=False).hexdigest() if md5 else None
        if md5 and got != md5.lower():
            raise ScoringFileBroken(path=path, reason=f"its MD5 is {got}, but the catalogue says {md5}")
        text = _inflate(packed) if packed.startswith(b"\x1f\x8b") else packed
    except EOFError as error:
        raise ScoringFileBroken(path=path, reason="its gzip stream ends too early") from error
    except (OSError, zlib.error, _DAMAGED, ValueError) as error:
        raise ScoringFileBroken(path=path, reason=f"it cannot be read: {error}") from error
    text = text.removeprefix(b"\xef\xbb\xbf")
    if not _says_something(text, 0):
        raise ScoringFileBroken(path=path, reason="it is empty")
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _inflate(packed: bytes) -> bytes:
    return bytes(igzip.decompress(packed))  # type: ignore[no-untyped-call]


def _says_something(text: bytes, start: int) -> bool:
    return _SOMETHING.search(text, start) is not None


def _split(path: Path, text: bytes) -> tuple[bytes, bytes, int, int]:
    """Give the lines with #, the line of column names, and the line and the place where the rows start."""
    start, line = 0, 1
    while start < len(text) and text[start : start + 1] in (b"#", b"\n"):
        start = text.find(b"\n", start) + 1 or len(text)
        line += 1
    if start == len(text):
        raise ScoringFileBroken(path=path, reason="it has a header but no table")
    end = text.find(b"\n", start)
    end = len(text) if end == -1 else end
    return text[:start], text[start:end], line + 1, end + 1


def _columns(path: Path, line: str, number: int) -> list[str]:
    """Give each column one name, whichever of its names the file uses."""
    names = [name.strip() for name in line.split("\t")]
    names = ["rsID" if name == "rsid" else name for name in names]
    if "other_allele" not in names:
        names = ["other_allele" if name == "reference_allele" else name for name in names]
    named = [name for name in names if name]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ScoringFileBroken(path=path, reason=f"the column {twice} is there twice", line=number)
    return [name or f"{_UNNAMED}{at}" for at, name in enumerate(names)]


def is_number(column: str) -> bool:
    """Whether a column holds weights or frequencies."""
    return column in (*DOSAGE_WEIGHTS, FREQUENCY) or is_weight(column)


def is_weight(column: str) -> bool:
    """Whether a column holds the effect weights of one score."""
    return column == WEIGHT or column.startswith(f"{WEIGHT}_")


def _typed(text: bytes, columns: Sequence[str], first_line: int) -> pl.DataFrame | None:
    """Read the numbers as numbers; nothing where one is none. Positions by which no row is placed may be text."""
    positions = [name for name in _POSITIONS if name in columns]
    for numbers in dict.fromkeys((tuple(positions), tuple(positions[:1]))):
        types: dict[str, pl.DataType] = {
            name: pl.Float64() if is_number(name) else pl.UInt32() if name in numbers else pl.String()
            for name in columns
        }
        with contextlib.suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return _csv(text, types, first_line)
    return None


def _csv(text: bytes, types: dict[str, pl.DataType], first_line: int) -> pl.DataFrame:
    # Quotes are part of the text: gene names have them, and the catalogue does not escape.
    return frames.read_csv(
        text,
        has_header=False,
        separator="\t",
        quote_char=None,
        schema=types,
        null_values=list(MISSING),
        skip_lines=first_line - 1,
        # A first line that ends early says nothing about the columns of the others.
        missing_columns="insert",
    )


def _careful(path: Path, text: bytes, columns: Sequence[str], first_line: int) -> pl.DataFrame:
    """Read everything as text, then the numbers; name the line that is wrong. Positions may stay text."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = 1 + text.count(b"\n", 0, error.start)
        raise ScoringFileBroken(path=path, reason="it is not UTF-8 text", line=line) from error
    for number, row in enumerate(text.split(b"\n")[first_line - 1 :], first_line):
        fields = row.count(b"\t") + 1
        if fields > len(columns):
            reason = f"the line has {fields} fields, but there are {len(columns)} columns"
            raise ScoringFileBroken(path=path, reason=reason, line=number)
    try:
        frame = _csv(text, dict.fromkeys(columns, pl.String()), first_line)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ScoringFileBroken(path=path, reason=f"its table cannot be read: {error}") from error
    numbers = [_numbers(path, frame[name], first_line) for name in columns if is_number(name)]
    return frame.with_columns(numbers)


def _numbers(path: Path, text: pl.Series, first_line: int) -> pl.Series:
    numbers = text.str.strip_chars().cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & text.is_not_null()).arg_true()
    if text.name != FREQUENCY and len(wrong):
        reason = f"{text.name} is {text[wrong[0]]!r}, which is no number"
        raise ScoringFileBroken(path=path, reason=reason, line=first_line + wrong[0])
    return numbers


def _tidy(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out lines without text, and columns without name."""
    unnamed = [name for name in frame.columns if name.startswith(_UNNAMED)]
    if any(frame[name].null_count() < frame.height for name in unnamed):
        raise ScoringFileBroken(path=path, reason="a column that has values has no name")
    frame = frame.drop(unnamed)
    # A line without text has no effect allele either, and most files always have one.
    if "effect_allele" in frame.columns and frame["effect_allele"].null_count():
        frame = frame.filter(pl.any_horizontal(pl.all().is_not_null()))
    return frame
