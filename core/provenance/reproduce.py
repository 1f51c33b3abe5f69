"""How an output that was made again compares with the first: file by file, and the verdict of all.

What is compared is what the first one's manifest says of it, so a file that was changed since is no excuse. Where bytes
differ, tables are compared by their values, and gzip files by what they hold; only then is a difference unexplained.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.explain import reasons
from sluiceway.core.provenance.output_types import NotOfType, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from sluiceway.core.provenance.explain import Reason
    from sluiceway.core.provenance.manifest import Manifest

_BLOCK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
# Where the header of a gzip file has its time: RFC 1952, section 2.3.
_TIME: Final = slice(4, 8)
_TABLES: Final = frozenset({".csv", ".tsv", ".tab", ".txt", ".parquet", ".arrow", ".feather", ".ipc", ".jsonl"})


class Likeness(StrEnum):
    """How a file that was made again compares with the first."""

    IDENTICAL = "identical"
    SAME_CONTENT = "same content"
    NUMERICALLY_EQUAL = "numerically equal"
    OTHER_BYTES = "other bytes"
    OTHER_VALUES = "other values"
    MISSING = "missing"
    EXTRA = "extra"


class Outcome(StrEnum):
    """How all of an output compares."""

    IDENTICAL = "identical"
    NUMERICALLY_EQUAL = "numerically equal"
    SAME_LISTING = "same listing, different bytes"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far numbers may be apart: |a - b| <= absolute + relative * |b|."""

    relative: float = 1e-9
    absolute: float = 1e-12

    def __str__(self) -> str:
        """Say it in words."""
        return f"within {self.absolute:g} + {self.relative:g} of the value"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCompared:
    """A file, how it compares, where it first differs, and what explains that."""

    name: str
    likeness: Likeness
    first_byte: int | None = None
    said: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether it is the same, or differs in nothing that counts."""
        return self.likeness in {Likeness.IDENTICAL, Likeness.SAME_CONTENT, Likeness.NUMERICALLY_EQUAL}

    def __str__(self) -> str:
        """Say it in one line."""
        where = "" if self.first_byte is None else f", first at byte {self.first_byte}"
        return f"{self.name}: {self.likeness}{where}{f' ({self.said})' if self.said else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An output beside the one that was made again from its manifest."""

    outcome: Outcome
    files: tuple[FileCompared, ...]
    software: tuple[Reason, ...]
    tolerance: Tolerance

    @property
    def is_reproduced(self) -> bool:
        """Whether nothing differs that is not explained."""
        return all(each.is_explained for each in self.files)

    @property
    def first_difference(self) -> FileCompared | None:
        """The first file that is not the same to the byte; one without an explanation goes first."""
        unlike = [each for each in self.files if each.likeness is not Likeness.IDENTICAL]
        return next((each for each in unlike if not each.is_explained), next(iter(unlike), None))

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        first = self.first_difference
        return {
            "outcome": str(self.outcome),
            "reproduced": self.is_reproduced,
            "tolerance": asdict(self.tolerance),
            "first_difference": None if first is None else first.name,
            "files": [asdict(each) for each in self.files],
            "software": [asdict(each) for each in self.software],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An output as somebody made it: its manifest, and the folder that its files' names are relative to."""

    manifest: Manifest
    folder: Path

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each file's bytes, as the manifest has it."""
        return {each.name: each.digest for each in self.manifest.outputs or ()}


def compare(first: Made, again: Made, tolerance: Tolerance | None = None) -> Comparison:
    """Compare an output with the one that was made again."""
    tolerance = tolerance or Tolerance()
    before, after = first.digests, again.digests
    files = tuple(_compared(name, first, again, tolerance) for name in sorted({*before, *after}))
    return Comparison(
        outcome=_outcome({each.likeness for each in files}),
        files=files,
        software=tuple(
            each
            for each in reasons(first.manifest, again.manifest)
            if each.field.partition(".")[0] in {"modules", "distributions", "container"}
        ),
        tolerance=tolerance,
    )


def _outcome(found: set[Likeness]) -> Outcome:
    if found <= {Likeness.IDENTICAL}:
        return Outcome.IDENTICAL
    if found & {Likeness.MISSING, Likeness.EXTRA, Likeness.OTHER_VALUES}:
        return Outcome.DIFFERENT
    if Likeness.OTHER_BYTES not in found and Likeness.NUMERICALLY_EQUAL in found:
        return Outcome.NUMERICALLY_EQUAL
    return Outcome.SAME_LISTING


def _compared(name: str, first: Made, again: Made, tolerance: Tolerance) -> FileCompared:
    before, after = first.digests.get(name), again.digests.get(name)
    if before == after:
        return FileCompared(name=name, likeness=Likeness.IDENTICAL)
    if after is None:
        return FileCompared(name=name, likeness=Likeness.MISSING, said="it was not made again")
    if before is None:
        return FileCompared(name=name, likeness=Likeness.EXTRA, said="the first time it was not made")
    file = first.folder / name
    # A manifest may come from elsewhere: its names lead nowhere but into its own folder.
    if leaves(name) or not file.is_file() or digest_of_file(file) != before:
        said = "the first one is not there as it was made, so where they differ cannot be seen"
        return FileCompared(name=name, likeness=Likeness.OTHER_BYTES, said=said)
    return _beside(name, file, again.folder / name, tolerance)


def leaves(name: str) -> bool:
    """Tell whether a name from elsewhere leads out of the folder that it is to be in."""
    place = PurePosixPath(name)
    return place.is_absolute() or ".." in place.parts


def _beside(name: str, first: Path, again: Path, tolerance: Tolerance) -> FileCompared:
    at = first_difference(first, again)
    explained = _gzip(first, again)
    if explained is not None:
        return FileCompared(name=name, likeness=Likeness.SAME_CONTENT, first_byte=at, said=explained)
    apart = _tables(first, again, tolerance)
    if apart is None:
        return FileCompared(name=name, likeness=Likeness.OTHER_BYTES, first_byte=at)
    likeness = Likeness.OTHER_VALUES if apart else Likeness.NUMERICALLY_EQUAL
    return FileCompared(name=name, likeness=likeness, first_byte=at, said=apart or f"{tolerance}")


def first_difference(first: Path, again: Path) -> int | None:
    """Give the number of the first byte, from 0 on, in which two files differ; where one ends, that is it."""
    at = 0
    with first.open("rb") as one, again.open("rb") as two:
        for left, right in zip_longest(_blocks(one), _blocks(two), fillvalue=b""):
            if left != right:
                same = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
                return at + (min(len(left), len(right)) if same is None else same)
            at += len(left)
    return None


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _gzip(first: Path, again: Path) -> str | None:
    """Say why two gzip files with the same content differ; none where they are none, or hold other content."""
    heads = []
    for file in (first, again):
        with file.open("rb") as opened:
            heads.append(opened.read(10))
    if any(not each.startswith(_GZIP) for each in heads):
        return None
    try:
        with gzip.open(first) as one, gzip.open(again) as two:
            if any(left != right for left, right in zip_longest(_blocks(one), _blocks(two))):  # type: ignore[arg-type]
                return None
    except (OSError, EOFError, zlib.error):
        return None
    if heads[0][_TIME] != heads[1][_TIME] and _differ_only_there(first, again):
        return "only the time in the gzip header differs"
    return "both hold the same bytes, packed otherwise"


def _differ_only_there(first: Path, again: Path) -> bool:
    with first.open("rb") as one, again.open("rb") as two:
        for file in (one, two):
            if len(file.read(_TIME.stop)) < _TIME.stop:
                return False
        rest = zip_longest(_blocks(one), _blocks(two))
        return all(left == right for left, right in rest)


def _tables(first: Path, again: Path, tolerance: Tolerance) -> str | None:
    """Say how two tables differ, nothing where their numbers are near enough; none where they are no tables."""
    if not _TABLES & set(first.suffixes):
        return None
    try:
        one, two = read_table(first), read_table(again)
    except NotOfType:
        return None
    if one.columns != two.columns or one.height != two.height:
        return f"{one.height} rows of {one.columns} are now {two.height} of {two.columns}"[:200]
    for name in one.columns:
        row = _first_apart(one[name], two[name], tolerance)
        if row is not None:
            return f"column {name!r}, row {row + 1}: {one[name][row]} is now {two[name][row]}"
    return ""


def _first_apart(one: pl.Series, two: pl.Series, tolerance: Tolerance) -> int | None:
    numeric = one.dtype.is_numeric() and two.dtype.is_numeric()
    if not numeric and one.dtype != two.dtype:
        return 0 if len(one) else None
    if numeric and (one.dtype.is_float() or two.dtype.is_float()):
        left, right = one.cast(pl.Float64), two.cast(pl.Float64)
        near = (left - right).abs() <= tolerance.absolute + tolerance.relative * right.abs()
        # NaN and infinity are equal to themselves alone, and null to null.
        same = left.eq_missing(right) | (near & left.is_finite() & right.is_finite()).fill_null(value=False)
    else:
        same = one.eq_missing(two)
    apart = (~same).arg_true()
    return int(apart[0]) if len(apart) else None


def lines(comparison: Comparison) -> Iterable[str]:
    """Say it for people: the verdict, the first file that differs, and what of the software does."""
    yield str(comparison.outcome)
    first = comparison.first_difference
    if first is not None:
        yield f"\t{first}"
    others = [each for each in comparison.files if each.likeness is not Likeness.IDENTICAL and each is not first]
    yield from (f"\t{each}" for each in others[:9])
    if len(others) > 9:
        yield f"\tand {len(others) - 9} more"
    yield from (f"\tsoftware: {each}" for each in comparison.software)
