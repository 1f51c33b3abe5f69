"""What a run declares that it makes, and whether that is what it made: checked before the run is sealed.

An output is written `PATTERN`, `PATTERN:TYPE` or `NAME=PATTERN:TYPE`, where TYPE is table, metric, figure, file,
folder, marker: a file whose folder is a whole step of the job once it is there (`core.runs.streams`), or left: what
stays where it was made, and is told by its path and digest. Only a type at the very end counts, so a pattern may hold
colons, and `odd:table:file` is the file `odd:table`. What is not of its type fails the run; what is only doubtful is a
warning in its manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_NAMED = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<pattern>.+)", re.DOTALL)


class OutputType(StrEnum):
    """What an output can be declared to be."""

    TABLE = "table"
    METRIC = "metric"
    FIGURE = "figure"
    FILE = "file"
    FOLDER = "folder"
    MARKER = "marker"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """An output that is to be made: a file, a folder or a pattern, what it is, and what it is called."""

    pattern: str
    type: OutputType | None = None
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Declared:
        """Read an output as it is written on the command line.

        >>> Declared.parse("result.csv:table")
        Declared(pattern='result.csv', type=<OutputType.TABLE: 'table'>, name=None)
        >>> Declared.parse("auc=scores/auc.json:metric").name
        'auc'
        >>> [Declared.parse(each).pattern for each in ("a:b.txt", "x=1.txt", "odd:table:file")]
        ['a:b.txt', 'x=1.txt', 'odd:table']
        """
        pattern, mark, last = text.rpartition(":")
        if not mark or not pattern or last not in set(OutputType):
            return cls(pattern=text)
        named = _NAMED.fullmatch(pattern)
        if named is None:
            return cls(pattern=pattern, type=OutputType(last))
        return cls(pattern=named["pattern"], type=OutputType(last), name=named["name"])

    def __str__(self) -> str:
        """Write it so that it can be read again."""
        if self.type is None:
            # Its own end might look like a type.
            return self.pattern if Declared.parse(self.pattern).type is None else f"{self.pattern}:{OutputType.FILE}"
        return f"{f'{self.name}=' if self.name else ''}{self.pattern}:{self.type}"


def declaring(texts: Iterable[str]) -> dict[str, Any]:
    """Give the fields of a request that say what is to be made."""
    declared = [Declared.parse(each) for each in texts]
    return {
        "outputs": tuple(each.pattern for each in declared),
        "types": {each.pattern: each.type for each in declared if each.type is not None},
        "names": {each.pattern: each.name for each in declared if each.name is not None},
    }


def step_of(marker: str) -> str:
    """Give the pattern of the folders that a marker's pattern makes steps.

    >>> step_of("checkpoints/step-*/DONE")
    'checkpoints/step-*'
    """
    return str(PurePosixPath(marker).parent)


def whole_only(made: Iterable[dict[str, Any]], outputs: Sequence[str], markers: Sequence[str]) -> list[dict[str, Any]]:
    """Leave out of what a job made the files of steps without a marker: nobody said that these are whole."""
    found, others = list(made), {*outputs} - {*markers}
    steps = {PurePosixPath(each["name"]).parent for each in found if {*each["patterns"]} & {*markers}}
    return [
        each
        for each in found
        if not markers or {*each["patterns"]} & others or steps.intersection(PurePosixPath(each["name"]).parents)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is wrong with outputs, the first of it, and what is doubtful."""

    trouble: str | None = None
    warnings: tuple[str, ...] = ()


def check(declared: Sequence[Declared], made: Sequence[tuple[str, Sequence[str]]], work: Path) -> Checked:
    """Look whether outputs are what they are declared to be.

    Args:
        declared: What was to be made.
        made: What was made: each file's name, with the patterns that it meets.
        work: The folder that the names are relative to.
    """
    warnings: list[str] = []
    for each in declared:
        if each.type is None:
            continue
        for name in (name for name, patterns in made if each.pattern in patterns):
            for doubt in _doubts(each, name, work):
                if isinstance(doubt, _Wrong):
                    return Checked(trouble=f"the declared {each.type} {name!r} {doubt.said}", warnings=tuple(warnings))
                warnings.append(f"the {each.type} {name!r} {doubt}")
    return Checked(warnings=tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Wrong:
    said: str


def _doubts(declared: Declared, name: str, work: Path) -> Iterator[str | _Wrong]:
    # What reads tables takes a while to be imported, and most runs declare none.
    from sluiceway.core.provenance import output_types as types  # noqa: PLC0415

    try:
        match declared.type:
            case OutputType.TABLE:
                yield from types.doubts_of_table(work / name)
            case OutputType.METRIC:
                yield from types.doubts_of_metric(work / name)
            case OutputType.FIGURE:
                yield from types.doubts_of_figure(work / name)
            case OutputType.FOLDER if PurePosixPath(name).match(declared.pattern.rstrip("/")):
                yield _Wrong("is a file")
            case OutputType.MARKER | OutputType.LEFT:
                pass
            case _ if (work / name).stat().st_size == 0:
                yield "is empty"
    except types.NotOfType as error:
        yield _Wrong(error.said)
