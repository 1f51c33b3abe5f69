"""A data set as a plain folder: versions side by side, and one name, `current`, that leads to the newest.

    DATASET/current -> versions/0007
    DATASET/versions/0006/  release.json  README.md  data/...
    DATASET/versions/0007/

A version is written apart, gets its name when every byte of it is on the disk, and never changes; then `current` is
led to it in one step. Whoever reads through `current` sees one version whole, whenever the writer dies. A file that did
not change is the same file in both versions, not a copy.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from sluiceway.core.errors import VerificationFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.publish.dataset import CARD, Piece, bytes_piece
from sluiceway.core.store.durable import Storing, content_of, flush, write_whole
from sluiceway.core.store.lock import exclusive
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.publish.dataset import Draft
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

SEAL: Final = "release.json"
"""In each version: its number, its facts, and the digest of each of its files."""
CURRENT: Final = "current"

_VERSIONS: Final = "versions"
_STAGED: Final = ".staged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as it is published now.

    Attributes:
        dataset: Its name.
        number: The version's number, counted from 1.
        folder: The version's own folder; it never changes.
        is_new: Whether this call made it; otherwise the same was published before.
        is_partial: Whether it lacks more of the catalogue than the rules allow.
        changed: The files that differ from the version before, and those that are gone.
        commit: The hub's commit that has it; none where it was not published there.
    """

    dataset: str
    number: int
    folder: Path
    is_new: bool
    is_partial: bool
    changed: tuple[str, ...]
    commit: str | None = None

    @property
    def said(self) -> str:
        """Say it in a line."""
        what = "published" if self.is_new else "as before"
        partial = ", partial" if self.is_partial else ""
        commit = "" if self.commit is None else f", commit {self.commit} on the hub"
        return f"{self.dataset}: version {self.number}, {what}{partial}{commit}: {self.folder}"

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {**asdict(self), "folder": str(self.folder), "changed": list(self.changed)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a version."""

    digest: str
    size: int
    source: str | None
    volatile: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version that was published."""

    folder: Path
    number: int
    facts: Mapping[str, Any]
    files: Mapping[str, Entry]
    is_partial: bool
    changed: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read a version; none, and a word of it, where it is not as it was written."""
        try:
            content = content_of(folder / SEAL)
            document = None if content is None else unsealed(content, name=SEAL)
        except (Damage, OSError) as error:
            tell(log, "release unreadable", level=logging.WARNING, folder=str(folder), reason=str(error))
            return None
        return None if document is None else cls.of(folder, document)

    @classmethod
    def of(cls, folder: Path, document: Mapping[str, Any]) -> Self:
        """Give a version of what its seal says."""
        return cls(
            folder=folder,
            number=document["number"],
            facts=document["facts"],
            files={path: Entry(**each) for path, each in document["files"].items()},
            is_partial=document["partial"],
            changed=tuple(document["changed"]),
        )

    def is_whole(self, path: str) -> bool:
        """Whether a file is there as it was written."""
        file = self.folder / path
        return file.is_file() and digest_of_file(file) == self.files[path].digest


class Snapshots:
    """The versions of one data set."""

    def __init__(self, root: Path, dataset: str) -> None:
        """Keep them below a folder, in one of the data set's name."""
        self._dataset = dataset
        self.folder = root / dataset

    def current(self) -> Version | None:
        """Give the version that is published; none where none is, or it cannot be read."""
        place = self.folder / CURRENT
        return Version.read(place.resolve()) if place.is_symlink() else None

    def publish(self, draft: Draft, *, clock: Clock) -> Published:
        """Publish a draft as the next version, unless it says what the current one says."""
        with exclusive(self.folder, purpose=f"publish {self._dataset}"):
            before = self.current()
            staged = self._cleared()
            facts = {**(before.facts if before else {}), **draft.facts}
            pieces = {**draft.pieces, CARD: bytes_piece(draft.card(facts).encode())}
            files = {path: self._write(staged / path, path, piece, before) for path, piece in pieces.items()}
            files |= self._carried(staged, draft, files, before)
            changed = _changed(files, before)
            if before is not None and not changed and before.is_partial == draft.is_partial:
                shutil.rmtree(staged)
                return _as_published(draft.dataset, before, is_new=False)
            self._seal(staged, files, facts, draft, changed, number=self._next(before), clock=clock)
            return _as_published(draft.dataset, self._put(staged, self._next(before)), is_new=True)

    def _cleared(self) -> Path:
        """Give an empty folder, in place of what a writer that was killed left."""
        staged = self.folder / _STAGED
        with Storing("clear", staged):
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
        return staged

    def _write(self, place: Path, path: str, piece: Piece, before: Version | None) -> Entry:
        with Storing("write", place, foreign=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            old = before.files.get(path) if before else None
            if before and old and old.source == piece.source is not None and before.is_whole(path):
                _link(before.folder / path, place)
                return old
            piece.write(place)
            flush(place)
            place.chmod(0o444)
        return Entry(
            digest=digest_of_file(place), size=place.stat().st_size, source=piece.source, volatile=piece.volatile
        )

    def _carried(
        self, staged: Path, draft: Draft, written: Mapping[str, Entry], before: Version | None
    ) -> dict[str, Entry]:
        """Take over what the draft does not replace."""
        if before is None:
            return {}
        kept = {path: each for path, each in before.files.items() if path not in written and not draft.replaces(path)}
        for path in kept:
            if not before.is_whole(path):
                reason = f"{str(before.folder / path)!r} is not as it was published, and this release would keep it"
                raise VerificationFailed(failed=1, reason=reason)
            with Storing("write", staged / path):
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                _link(before.folder / path, staged / path)
        return kept

    def _seal(  # noqa: PLR0913 - all that is told of a version
        self,
        staged: Path,
        files: Mapping[str, Entry],
        facts: Mapping[str, Any],
        draft: Draft,
        changed: tuple[str, ...],
        *,
        number: int,
        clock: Clock,
    ) -> None:
        document: dict[str, Any] = {
            "dataset": self._dataset,
            "number": number,
            "published_at": clock.now().isoformat(),
            "partial": draft.is_partial,
            "facts": dict(facts),
            "changed": list(changed),
            "told": list(draft.told),
            "files": {path: asdict(each) for path, each in sorted(files.items())},
        }
        write_whole(staged / SEAL, sealed(document))
        for folder in [staged, *(each for each in staged.rglob("*") if each.is_dir())]:
            flush(folder)

    def _next(self, before: Version | None) -> int:
        """Give the next number; a version that was whole but never became current is written over."""
        if before is not None:
            return before.number + 1
        if (self.folder / CURRENT).is_symlink():
            # It leads to a version that cannot be read, which stays as it is.
            return 1 + max((int(each.name) for each in (self.folder / _VERSIONS).iterdir()), default=0)
        return 1

    def _put(self, staged: Path, number: int) -> Version:
        """Give a version its name, then lead `current` to it."""
        place = self.folder / _VERSIONS / f"{number:04}"
        with Storing("publish", place):
            place.parent.mkdir(exist_ok=True)
            if place.exists():
                shutil.rmtree(place)
            staged.rename(place)
            flush(place.parent)
            link = self.folder / f".{CURRENT}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"{_VERSIONS}/{place.name}")
            link.replace(self.folder / CURRENT)
            flush(self.folder)
        version = Version.read(place)
        assert version is not None  # noqa: S101 - it was just written
        return version


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(old, new)
        flush(new)


def _changed(files: Mapping[str, Entry], before: Version | None) -> tuple[str, ...]:
    """Name the files that say something else than before, and those that are gone; a damaged one counts as such."""
    old = {} if before is None else before.files
    differ = [path for path, each in files.items() if not each.volatile and _digest(old, path) != each.digest]
    gone = [path for path in old if path not in files]
    damaged = [] if before is None or differ else [path for path in old if not before.is_whole(path)]
    return tuple(sorted({*differ, *gone, *damaged}))


def _digest(files: Mapping[str, Entry], path: str) -> str | None:
    return files[path].digest if path in files else None


def _as_published(dataset: str, version: Version, *, is_new: bool) -> Published:
    return Published(
        dataset=dataset,
        number=version.number,
        folder=version.folder,
        is_new=is_new,
        is_partial=version.is_partial,
        changed=version.changed if is_new else (),
    )
