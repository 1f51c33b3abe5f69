"""Scores whose files came from the catalogue: their tables stay, the files as they came do not.

`<home>/catalog/tables/` has the tables, by content key. Beside scoring files, in `<home>/catalog/scoring_files/`, is a
note for each, such as `PGS000001_hmPOS_GRCh38.table.json`: of which file it was made, and under which keys.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from sluiceway.core.catalog.source import scoring_file_name
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.objects import ObjectStore
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.catalog.release import Upstream
    from sluiceway.core.genetics.build import Build

log = logging.getLogger(__name__)

SUFFIX: Final = ".table.json"
FORM: Final = 1
"""Goes up when a file is read into another table than before: tables of an older form are made again."""

_ORIGIN: Final = "user.xdg.origin.url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A score's table: the file of which it was made, as the catalogue had it, and the keys of its parts.

    `etag` and `modified` are told where the catalogue publishes no md5; the same file always has the same note.
    """

    pgs_id: str
    link: str
    md5: str
    sha256: str
    size: int
    etag: str | None
    modified: str | None
    released: str | None
    keys: tuple[str, ...]
    form: int = FORM

    @classmethod
    def read(cls, note: Path) -> Self | None:
        """Read a note; none where there is none, or it is damaged, which is told."""
        try:
            content = content_of(note)
            document = None if content is None else unsealed(content, name=note.name)
        except (Damage, OSError) as error:
            tell(log, "note of a table unreadable", level=logging.WARNING, path=str(note), reason=str(error))
            return None
        return None if document is None else cls(**{**document, "keys": tuple(document["keys"])})

    def is_of(self, upstream: Upstream) -> bool:
        """Whether this is the table of the file that the catalogue has now, as far as can be known."""
        if upstream.md5 is not None:
            return self.md5 == upstream.md5
        return upstream.etag is None or self.etag == upstream.etag

    def write(self, note: Path) -> None:
        """Write the note."""
        document: dict[str, Any] = {**asdict(self), "keys": list(self.keys)}
        with Storing("write", note):
            note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, sealed(document))
        # The attribute in which browsers write it down, too; not every file system has attributes.
        with contextlib.suppress(OSError):
            os.setxattr(note, _ORIGIN, self.link.encode())


class KeptTables:
    """All tables below one home."""

    def __init__(self, home: Path) -> None:
        """Use the folders of this home; they are made when the first table is kept."""
        self.store = ObjectStore(home / "catalog" / "tables")
        self.folder = home / "catalog" / "scoring_files"

    def note(self, pgs_id: str, build: Build | None) -> Path:
        """Give the place of a score's note."""
        return self.folder / f"{scoring_file_name(pgs_id, build).removesuffix('.txt.gz')}{SUFFIX}"

    def find(self, pgs_id: str, build: Build | None) -> Kept | None:
        """Give a score whose table is there and can be relied on as far as its size tells; of this form only."""
        return usable(self.note(pgs_id, build))

    def is_whole(self, pgs_id: str, build: Build | None) -> bool:
        """Whether every byte of a score's table is as it was written."""
        kept = self.find(pgs_id, build)
        return kept is not None and all(self.store.verified(key) for key in kept.keys)

    def notes(self) -> Iterator[Path]:
        """Give every note there is."""
        if self.folder.is_dir():
            yield from sorted(each for each in self.folder.iterdir() if is_note(each))


def is_note(path: Path) -> bool:
    """Whether a path is that of a note, not of a scoring file."""
    return path.name.endswith(SUFFIX)


def store_beside(note: Path) -> ObjectStore:
    """Give the store of the tables of which a note tells."""
    return ObjectStore(note.parent.parent / "tables")


def usable(note: Path) -> Kept | None:
    """Read the note of a table that is there, of this form; none where it has to be made again."""
    kept = Kept.read(note)
    if kept is None or kept.form != FORM:
        return None
    store = store_beside(note)
    return kept if all(store.get(key) is not None for key in kept.keys) else None


def require_kept(note: Path) -> Kept:
    """Read a note that must be there; ScoringFileBroken says how to have it made again."""
    kept = Kept.read(note)
    if kept is None or kept.form != FORM:
        raise damaged(note)
    return kept


def damaged(note: Path) -> ScoringFileBroken:
    """Say that a table cannot be used, and how it is made again."""
    pgs_id = note.name.partition("_")[0].partition(".")[0]
    reason = f"its table is damaged or missing; 'sluiceway catalog pull {pgs_id}' brings it again"
    return ScoringFileBroken(path=note, reason=reason)
