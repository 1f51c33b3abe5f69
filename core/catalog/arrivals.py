"""A file on its way from a server: what has arrived stays, also when we are killed, and goes on from there.

It grows under a name of its own beside its place, with a note of which version it is a part of. Only when it is whole,
and has the size and the digest that it should have, does it take its place, with a note of what the server said of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from sluiceway.core.store.durable import Storing, content_of, flush, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Spoiled(ValueError):
    """What arrived is not what it should be; the text says how that shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a server said of the file that it gave, and what that file is."""

    url: str
    etag: str | None
    modified: str | None
    size: int
    md5: str

    @classmethod
    def of(cls, target: Path) -> Self | None:
        """Read the note beside a file; none where either is missing, or the file has another size."""
        content = content_of(_note(target))
        try:
            seen = None if content is None else cls(**json.loads(content))
            return seen if seen is not None and target.stat().st_size == seen.size else None
        except (ValueError, TypeError, OSError):
            return None

    @staticmethod
    def forget(target: Path) -> None:
        """Have a file sent again the next time, though the server has no other."""
        _note(target).unlink(missing_ok=True)

    def conditions(self) -> dict[str, str]:
        """Give the headers that ask only for another version than this one."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in asked.items() if value}

    def write(self, target: Path) -> None:
        """Write the note beside a file."""
        write_whole(_note(target), json.dumps(asdict(self)).encode())


class Arrival:
    """A file that is arriving; while one process has it open, another one begins its own."""

    def __init__(self, target: Path, url: str) -> None:
        """Go on with what is there, or begin."""
        self.target, self.url = target, url
        self._total: int | None = None
        with Storing("write", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path, self._handle = _opened(target)

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return os.fstat(self._handle).st_size

    @property
    def total(self) -> int | None:
        """How many bytes it will have, where the server has said so."""
        return self._total

    def conditions(self) -> dict[str, str]:
        """Give the headers that ask for the rest of the same version; none where there is nothing to go on with."""
        content = content_of(_note(self.path))
        try:
            known = {} if content is None else json.loads(content)
        except ValueError:
            known = {}
        validator = _validator(known) if known.get("url") == self.url else None
        if validator is None or not self.size:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take what a server says before it sends: the rest of what is here, or all of it from the start."""
        told = _RANGE.fullmatch(headers.get("content-range", "")) if status == 206 else None
        if told is not None and int(told[1]) == self.size:
            self._total = None if told[2] == "*" else int(told[2])
            return
        self.drop()
        if status == 206:
            raise Spoiled("the server sent another part than it was asked for")
        length = headers.get("content-length")
        self._total = int(length) if length else None
        known = {"url": self.url, "etag": headers.get("etag"), "modified": headers.get("last-modified")}
        write_whole(_note(self.path), json.dumps(known).encode())

    def append(self, content: bytes) -> None:
        """Add what has come."""
        with Storing("write", self.path):
            view = memoryview(content)
            while view:
                view = view[os.pwrite(self._handle, view, self.size) :]

    def drop(self) -> None:
        """Begin again from nothing."""
        os.ftruncate(self._handle, 0)
        _note(self.path).unlink(missing_ok=True)

    def finish(self, headers: Mapping[str, str], *, md5: str | None = None) -> Seen:
        """Let the file take its place, if it is whole and what it should be; Spoiled says why it is not."""
        if self._total is not None and self.size < self._total:
            raise Spoiled(f"it ended after {self.size} of {self._total} bytes")
        seen = self._seen(headers)
        why = _spoiled(seen, self._total, md5)
        if why is not None:
            self.drop()
            raise Spoiled(why)
        with Storing("write", self.target):
            flush(self.path)
            # The note goes first: one that is of no file, or of a file of another size, counts for nothing.
            seen.write(self.target)
            self.path.replace(self.target)
            _note(self.path).unlink(missing_ok=True)
            flush(self.target.parent)
        return seen

    def close(self) -> None:
        """Let go of it; what has arrived stays."""
        if self.size == 0 and self.path.exists():
            self.path.unlink()
            _note(self.path).unlink(missing_ok=True)
        os.close(self._handle)

    def _seen(self, headers: Mapping[str, str]) -> Seen:
        with Storing("read", self.path), self.path.open("rb") as content:
            digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        etag, modified = headers.get("etag"), headers.get("last-modified")
        return Seen(url=self.url, etag=etag, modified=modified, size=self.size, md5=digest)


def _spoiled(seen: Seen, total: int | None, md5: str | None) -> str | None:
    if not seen.size:
        return "it has no bytes"
    if total is not None and seen.size != total:
        return f"it has {seen.size} bytes, but was to have {total}"
    if md5 is not None and seen.md5 != md5.lower():
        return f"its md5 is {seen.md5}, but the catalogue says {md5}"
    return None


def _validator(known: Mapping[str, str | None]) -> str | None:
    """Give what names a version for sure: an etag that is not weak, else the date."""
    etag = known.get("etag")
    return etag if etag and not etag.startswith("W/") else known.get("modified")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.seen.json" if path.name.startswith(".") else f".{path.name}.seen.json")


def _opened(target: Path) -> tuple[Path, int]:
    """Open the part that is there, unless another process has it: then one of our own, which nobody goes on with."""
    own = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    for path in (target.with_name(f".{target.name}.part"), own):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have taken its place since it was opened.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return path, handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
    return _opened(target)
