"""The ledger: every manifest that was sealed here, in order, each entry chained to the one before it.

Whoever changes an output and its manifest together still lacks the entry. `entries.jsonl` holds one line of canonical
JSON per manifest, and is only ever added to; each line has the digest of the line before it, so that none can be
changed, moved or taken out. `head.json` says how far it went, so that none can be cut off at the end.

An entry is on the disk before its manifest is: there is no moment at which a manifest of ours is not in the ledger.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core import settings
from sluiceway.core.errors import LedgerBroken
from sluiceway.core.events import tell
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.key import canonical_json
from sluiceway.core.provenance.places import Places
from sluiceway.core.provenance.tree import text_of
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

ENTRIES: Final = "entries.jsonl"
HEAD: Final = "head.json"
# Two lines are never longer: a path has four thousand bytes at most.
_TAIL: Final = 1 << 18
# A line as nearly all are: no text in it has anything that JSON escapes, so that it can only be written like this.
_TEXT: Final = r'"([^"\\\x00-\x1f]*)"'
_PLAIN: Final = re.compile(
    rf'{{"data_version":(?:null|{_TEXT}),"manifest":{_TEXT},"output":{_TEXT},"output_id":{_TEXT},'
    rf'"previous":(?:null|{_TEXT}),"sealed":{_TEXT},"sequence":([1-9][0-9]{{0,17}})}}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One manifest: its digest, the output that it is of, and the digest of the line before this one."""

    sequence: int
    previous: str | None
    manifest: str
    output: str
    output_id: str
    data_version: str | None
    sealed: str

    @property
    def line(self) -> bytes:
        """The entry's line, without its end."""
        # `asdict` would copy each value, which takes longer than all else.
        return canonical_json({name: getattr(self, name) for name in self.__slots__}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """How far the ledger went when it was last added to."""

    sequence: int
    entry: str


class History:
    """What a ledger holds, once all of it was found to be as it was written."""

    def __init__(self, entries: list[Entry]) -> None:
        """Take the entries in their order."""
        self.entries = entries
        self.by_manifest = {each.manifest: each for each in entries}
        self._by_output = {each.output: each for each in entries}
        self._places = Places()

    def last_of(self, output: Path) -> Entry | None:
        """Give the last entry of the output at a place."""
        return self._by_output.get(text_of(self._places.of(output)))

    def previous_of(self, entry: Entry) -> str | None:
        """Give the digest of the manifest that was entered before this one."""
        return self.entries[entry.sequence - 2].manifest if entry.sequence > 1 else None

    @property
    def head(self) -> str | None:
        """The digest of the last line: whoever keeps it elsewhere can prove that nothing before it was changed."""
        return digest_of_bytes(self.entries[-1].line) if self.entries else None


class Ledger:
    """A folder with the list of manifests; several processes may add to it at once."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        """Use this folder; it is made with the first entry."""
        self.path = folder / ENTRIES
        self._head = folder / HEAD
        self._clock = clock

    def enter(self, manifest: Manifest, output: Path, *, into: Path | None = None) -> Manifest:
        """Enter a manifest, write it beside the output or into another file, and give it as it was written."""
        with Storing("enter a manifest in", self.path), self._locked() as handle:
            last = self._last(handle)
            chained = manifest.model_copy(update={"previous": None if last is None else last.manifest})
            content = manifests.encoded(chained)
            entry = Entry(
                sequence=1 if last is None else last.sequence + 1,
                previous=None if last is None else digest_of_bytes(last.line),
                manifest=digest_of_bytes(content),
                output=place_of(output),
                output_id=manifest.output_id,
                data_version=manifest.data_version,
                sealed=self._clock.now().isoformat(),
            )
            _append(handle, entry.line + b"\n")
            self._write_head(entry)
            if into is None:
                manifests.write(chained, output)
            else:
                write_whole(into, content)
        _told(entry, manifest.ending.status)
        return chained

    def history(self) -> History:
        """Read all of it, or raise LedgerBroken with the first line that is not as it was written."""
        # First, for somebody may add an entry in between.
        head = self._read_head()
        # What stands behind the last end of a line is being written, or was when somebody was killed.
        *lines, _unfinished = (content_of(self.path) or b"").split(b"\n")
        entries: list[Entry] = []
        for line in lines:
            entry = self._parsed(line, number=len(entries) + 1)
            previous = digest_of_bytes(lines[len(entries) - 1]) if entries else None
            if (entry.sequence, entry.previous) != (len(entries) + 1, previous):
                reason = f"line {len(entries) + 1} follows {entry.previous}, but the line before it is {previous}"
                raise LedgerBroken(path=self.path, reason=reason)
            entries.append(entry)
        self._require_head(head, entries)
        return History(entries)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # It goes with the process that holds it; nobody holds it for longer than it takes to write two files.
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _last(self, handle: int) -> Entry | None:
        """Give the last entry, and mend what was left by whoever was killed between its parts."""
        size = os.fstat(handle).st_size
        start = max(0, size - _TAIL)
        *lines, unfinished = os.pread(handle, _TAIL, start).split(b"\n")
        # The first of them may have lost its beginning.
        whole = [self._parsed(line, number=None) for line in lines[-2:]] if lines else []
        self._require_head(self._read_head(), whole)
        if unfinished:
            os.ftruncate(handle, size - len(unfinished))
        if whole:
            self._write_head(whole[-1])
        return whole[-1] if whole else None

    def _require_head(self, head: _Head | None, entries: list[Entry]) -> None:
        """Refuse a ledger that ends before its head; a head that is one entry behind was about to be written."""
        ends = [_Head(sequence=each.sequence, entry=digest_of_bytes(each.line)) for each in entries[-2:]]
        if head is None and (not ends or ends[-1].sequence == 1):
            return
        if head not in ends:
            said = "there is none" if head is None else f"it is {head.entry}, entry {head.sequence}"
            found = f"{ends[-1].entry}, entry {ends[-1].sequence}" if ends else "no entry"
            raise LedgerBroken(path=self.path, reason=f"the last line is {found}, but by {HEAD} {said}")

    def _parsed(self, line: bytes, *, number: int | None) -> Entry:
        plain = _plain(line)
        if plain is not None:
            return plain
        where = "its last line" if number is None else f"line {number}"
        try:
            entry = Entry(**json.loads(line))
            intact = entry.line == line
        except (ValueError, TypeError, RecursionError) as error:
            raise LedgerBroken(path=self.path, reason=f"{where} cannot be read: {error}") from error
        if not intact:
            raise LedgerBroken(path=self.path, reason=f"{where} is not in the form that is written")
        return entry

    def _read_head(self) -> _Head | None:
        content = content_of(self._head)
        if content is None:
            return None
        try:
            return _Head(**unsealed(content, name=HEAD))
        except (Damage, TypeError) as error:
            raise LedgerBroken(path=self._head, reason=str(error)) from error

    def _write_head(self, entry: Entry) -> None:
        head = _Head(sequence=entry.sequence, entry=digest_of_bytes(entry.line))
        if self._read_head() != head:
            write_whole(self._head, sealed(asdict(head)))


def _plain(line: bytes) -> Entry | None:
    """Read a line that is in the form that is written, as its pattern proves; none where that takes a closer look."""
    try:
        found = _PLAIN.fullmatch(line.decode())
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    data_version, manifest, output, output_id, previous, at, sequence = found.groups()
    return Entry(
        sequence=int(sequence),
        previous=previous,
        manifest=manifest,
        output=output,
        output_id=output_id,
        data_version=data_version,
        sealed=at,
    )


def _told(entry: Entry, status: str) -> None:
    about: dict[str, Any] = {"output": entry.output, "output_id": entry.output_id, "status": status}
    tell(log, "output sealed", **about, digest=entry.data_version, manifest=entry.manifest)


def ledger_here(clock: Clock) -> Ledger:
    """Give the ledger of this machine's user."""
    return Ledger(settings.load().home / "ledger", clock=clock)


def place_of(output: Path) -> str:
    """Give the one name of an output's place on this machine; bytes that are no UTF-8 show as escapes."""
    return text_of(os.path.realpath(output))


def _append(handle: int, line: bytes) -> None:
    """Add a line, on the disk and whole, or not at all."""
    size = os.fstat(handle).st_size
    try:
        written = 0
        # A disk that is nearly full takes a part first, and complains only of the rest.
        while written < len(line):
            written += os.pwrite(handle, line[written:], size + written)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise
