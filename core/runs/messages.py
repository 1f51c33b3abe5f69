"""What a payload tells of itself: lines of JSON in a file that grows, read by byte offset while it does.

`payload.py` is the other end. A line that is not one of ours is told as Unreadable and harms nothing: the payload is
somebody else's program, and its run is not worth less for a slip in what it says.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

Level = Literal["debug", "info", "warning", "error"]
_LONGEST = 1 << 20
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure, and after how much work it was so."""

    name: str
    value: float
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much is done of all there is."""

    done: float
    of: float
    what: str = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A text or a table for the run's page."""

    name: str
    markdown: str | None = None
    table: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where something of the run is shown while it lasts, such as the dashboard of an engine."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What whoever started the run gets back."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line for the run's log."""

    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A line that is none of the others, and why."""

    text: str
    reason: str


Message = Metric | Progress | Artifact | Link | Result | LogLine | Unreadable
_KINDS = {
    "metric": Metric,
    "progress": Progress,
    "artifact": Artifact,
    "link": Link,
    "result": Result,
    "log": LogLine,
    "unreadable": Unreadable,
}


class Lines:
    """Cuts what arrives in pieces into lines, and remembers how far it has come."""

    def __init__(self) -> None:
        """Begin at the beginning."""
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the lines that are whole now; a line without end is cut when it is too long to be one."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        yield from whole
        if len(self._rest) > _LONGEST:
            yield from self.end()

    def end(self) -> Iterator[bytes]:
        """Give what is left when nothing more will come."""
        left, self._rest = self._rest, b""
        if left:
            yield left


def parse(line: bytes) -> Message:
    """Read one line.

    >>> parse(b'{"kind": "progress", "done": 3, "of": 22}')
    Progress(done=3, of=22, what='work')
    >>> parse(b"Segmentation fault")
    Unreadable(text='Segmentation fault', reason='it is not JSON')
    """
    try:
        fields = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return _unreadable(line, "it is not JSON")
    if not isinstance(fields, dict) or str(fields.get("kind")) not in _KINDS:
        return _unreadable(line, f"it has none of the kinds {', '.join(_KINDS)}")
    try:
        return _checked(fields.pop("kind"), fields)
    except (KeyError, TypeError, ValueError) as error:
        return _unreadable(line, str(error))


def as_json(message: Message) -> dict[str, Any]:
    """Give a message as its line would say it."""
    kind = next(name for name, each in _KINDS.items() if isinstance(message, each))
    return {"kind": kind, **asdict(message)}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _checked(kind: str, fields: dict[str, Any]) -> Message:
    """Make the message, or raise ValueError or TypeError."""
    message: Message = _KINDS[kind](**fields)
    match message:
        case Metric():
            _require(message.name, str)
            _require(message.value, int, float)
            _require(message.step, int, type(None))
        case Progress():
            _require(message.done, int, float)
            _require(message.of, int, float)
            _require(message.what, str)
        case Artifact():
            return _artifact(message)
        case Link():
            _require(message.name, str)
            _require(message.url, str)
        case LogLine():
            _require(message.text, str)
            if message.level not in get_args(Level):
                raise ValueError(f"the level {message.level!r} is none of {', '.join(get_args(Level))}")
        case Result() | Unreadable():
            pass
    return message


def _artifact(message: Artifact) -> Artifact:
    _require(message.name, str)
    _require(message.markdown, str, type(None))
    if (message.markdown is None) == (message.table is None):
        raise ValueError("an artifact has a text or a table")
    if message.table is None:
        return message
    _require(message.table, list, tuple)
    for row in message.table:
        _require(row, dict)
    return Artifact(name=message.name, table=tuple(message.table))


def _require(value: object, *kinds: type) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r} is not {' or '.join(kind.__name__ for kind in kinds)}")


def _unreadable(line: bytes, reason: str) -> Unreadable:
    return Unreadable(text=line[:_SHOWN].decode(errors="replace"), reason=reason)
