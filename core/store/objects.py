"""Results under the name of what they are: an object is a payload and its record, found by content key.

An object is the folder `<first two digits>/<digits of the key>/` with the files `payload` and `record.json`. It is made
elsewhere in the store, brought to the disk, and takes its place in one rename: whoever is killed leaves a whole object
or none. What cannot be proven to be as it was written goes to `quarantine/`, and is as if it had never been computed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway.core.errors import StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.store.durable import Storing, flush, write_whole
from sluiceway.core.store.failures import Failure, read_failure, write_failure
from sluiceway.core.store.record import Damage, sealed, unsealed
from sluiceway.core.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sluiceway.core.provenance.key import Json
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

PAYLOAD, RECORD = "payload", "record.json"
_VERSION = 1
_BROKEN = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP)
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object in the store: where its payload is, and what was written down about it."""

    key: str
    path: Path
    facts: dict[str, Any]
    digest: str
    size: int


class ObjectStore:
    """A folder of objects by content key; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Use this folder; it is made when the first object is put."""
        self.folder = folder
        self.quarantine = folder / "quarantine"
        self._incoming = Scratch(folder / "incoming")

    def put(self, key: str, write: Callable[[Path], object], *, facts: Mapping[str, Json]) -> Stored:
        """Store what `write` writes to the path it is given, with these facts; a failure of this key is forgotten.

        An object that is there already is kept when it is the same, and replaced when it is not.
        """
        place = self.place_of(key)
        with self.staging() as staging:
            fresh = staging / "object"
            with Storing("store the object", place):
                fresh.mkdir()
            with Storing("store the object", place, foreign=True):
                write(fresh / PAYLOAD)
            with Storing("store the object", place):
                _seal(fresh, key=key, facts=facts)
                stored = replace(_stored(fresh, key), path=place / PAYLOAD)
                self._take_place(fresh, stored, staging=staging)
                self._failure_path(key).unlink(missing_ok=True)
        return stored

    def get(self, key: str) -> Stored | None:
        """Give an object whose record is intact and whose payload has the right size; its bytes are not read."""
        return self._whole(key, _stored)

    def verified(self, key: str) -> Stored | None:
        """Give an object after reading its payload and comparing the digest."""
        return self._whole(key, _verified)

    def read(self, key: str) -> bytes | None:
        """Give an object's payload: the very bytes whose digest was compared."""
        found = self.opened(key)
        return None if found is None else found[1]

    def opened(self, key: str) -> tuple[Stored, bytes] | None:
        """Give an object with its payload: the very bytes whose digest was compared."""
        return self._whole(key, _opened)

    def every(self) -> Iterator[str]:
        """Give the keys of all objects, by the names of folders alone."""
        for shard in sorted(_names(self.folder)):
            if re.fullmatch(r"[0-9a-f]{2}", shard):
                yield from (f"sha256:{each}" for each in sorted(_names(self.folder / shard)) if len(each) == 64)

    def has(self, keys: Iterable[str]) -> set[str]:
        """Give those of these keys that have an object, by the names of folders alone: no object is opened."""
        shards: dict[Path, set[str]] = {}
        found = set()
        for key in keys:
            place = self.place_of(key)
            if place.parent not in shards:
                shards[place.parent] = _names(place.parent)
            if place.name in shards[place.parent]:
                found.add(key)
        return found

    def remove(self, key: str) -> None:
        """Remove an object, at once and whole; a key that has none is left alone."""
        place = self.place_of(key)
        with self.staging() as staging, Storing("remove the object", place), contextlib.suppress(FileNotFoundError):
            place.rename(staging / "removed")
            flush(place.parent)

    def failed(self, key: str, reason: str, *, permanent: bool, clock: Clock) -> Failure:
        """Write down that this work failed once more; two processes that fail at one moment may count as one."""
        before = self.failure(key)
        attempts = 1 if before is None else before.attempts + 1
        failure = Failure(attempts=attempts, reason=reason, permanent=permanent, last=clock.now())
        write_failure(self._failure_path(key), failure, key=key)
        return failure

    def failure(self, key: str) -> Failure | None:
        """Give how this work failed since it last succeeded; a note that cannot be read is told, and counts as none."""
        return read_failure(self._failure_path(key), key=key)

    def place_of(self, key: str) -> Path:
        """Give the folder of an object, whether it is there or not."""
        digits = _digits(key)
        return self.folder / digits[:2] / digits

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a folder in the store that goes when the block ends."""
        with contextlib.ExitStack() as undo:
            with Storing("write to the store", self.folder):
                staging = undo.enter_context(self._incoming.own(purpose="store"))
            yield staging

    def _failure_path(self, key: str) -> Path:
        digits = _digits(key)
        return self.folder / "failures" / digits[:2] / f"{digits}.json"

    def _whole(self, key: str, look: Callable[[Path, str], _Found]) -> _Found | None:
        place = self.place_of(key)
        while (looked_at := _identity(place)) is not None:
            try:
                return look(place, key)
            except Damage as damage:
                # Between two reads another process may have replaced the object; then there is another look.
                if _identity(place) == looked_at:
                    self._set_aside(place, key=key, reason=str(damage))
        return None

    def _set_aside(self, place: Path, *, key: str, reason: str) -> None:
        """Move a damaged object to the quarantine: nobody is served it, and somebody can look at it."""
        with Storing("set aside the object", place):
            self.quarantine.mkdir(exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=self.quarantine, prefix=f"{place.name}."))
            try:
                place.rename(aside / "object")
            except FileNotFoundError:
                # Another process was faster.
                aside.rmdir()
                return
            flush(place.parent)
        tell(log, "object damaged", level=logging.WARNING, key=key, reason=reason, quarantine=str(aside))
        # The disk may be full; the object is out of the way all the same.
        with contextlib.suppress(StorageFailed):
            write_whole(aside / "reason.txt", f"{reason}\n".encode())

    def _take_place(self, fresh: Path, stored: Stored, *, staging: Path) -> None:
        place = stored.path.parent
        if not place.parent.is_dir():
            place.parent.mkdir(exist_ok=True)
            flush(self.folder)
        displaced = 0
        while not _renamed(fresh, place):
            before = self.verified(stored.key)
            if before == stored:
                return
            if before is not None and before.digest != stored.digest:
                tell(log, "object replaced by other bytes", level=logging.WARNING, key=stored.key)
            with contextlib.suppress(FileNotFoundError):
                place.rename(staging / f"displaced.{displaced}")
            displaced += 1
        flush(place.parent)


def _seal(fresh: Path, *, key: str, facts: Mapping[str, Json]) -> None:
    """Bring an object that is not yet in its place to the disk, its record last."""
    payload = fresh / PAYLOAD
    flush(payload)
    written: dict[str, Any] = {
        "version": _VERSION,
        "key": key,
        "facts": dict(facts),
        "digest": digest_of_file(payload),
        "size": payload.stat().st_size,
    }
    write_whole(fresh / RECORD, sealed(written))


def _renamed(fresh: Path, place: Path) -> bool:
    """Give an object its place; false where there is one already."""
    try:
        fresh.rename(place)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _stored(place: Path, key: str) -> Stored:
    with _reading(place):
        record = unsealed((place / RECORD).read_bytes(), name=RECORD)
        size = (place / PAYLOAD).stat().st_size
    if record["version"] != _VERSION:
        reason = f"its record has version {record['version']}; this sluiceway knows {_VERSION}"
        raise StorageFailed(what="read the object", path=place, reason=reason)
    if record["key"] != key:
        raise Damage(f"the object is of another key, {record['key']}")
    if record["size"] != size:
        raise Damage(f"the payload has {size} bytes of {record['size']}")
    return Stored(key=key, path=place / PAYLOAD, facts=record["facts"], digest=record["digest"], size=size)


def _verified(place: Path, key: str) -> Stored:
    stored = _stored(place, key)
    with _reading(place):
        _require_digest(digest_of_file(stored.path), stored)
    return stored


def _opened(place: Path, key: str) -> tuple[Stored, bytes]:
    stored = _stored(place, key)
    with _reading(place):
        content = stored.path.read_bytes()
    _require_digest(digest_of_bytes(content), stored)
    return stored, content


def _require_digest(digest: str, stored: Stored) -> None:
    if digest != stored.digest:
        raise Damage(f"the payload's digest is {digest}, not {stored.digest}")


@contextlib.contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Tell an object that is damaged from a disk, or a right, that is not there for now."""
    try:
        yield
    except OSError as error:
        if error.errno in _BROKEN:
            raise Damage(f"the object cannot be read: {error}") from error
        raise StorageFailed(what="read the object", path=place, reason=str(error)) from error


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - a Path for each of thousands of names takes longer than all else
    except FileNotFoundError:
        return set()


def _digits(key: str) -> str:
    found = re.fullmatch(r"sha256:([0-9a-f]{64})", key)
    if found is None:
        raise ValueError(f"{key!r} is no content key")
    return found[1]
