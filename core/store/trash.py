"""The trash of a shelf: what nothing names goes there, comes back from it, and after a while is gone for good.

Each move is one rename, so that whoever is killed leaves each thing in its place or in the trash.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from sluiceway.core.errors import ArtifactUnknown
from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.sharing import Sharing

log = logging.getLogger(__name__)

GRACE: Final = timedelta(days=14)
"""How long something stays that nothing names, and how long it stays in the trash."""
_RECORD: Final = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What went to the trash, came back from it, and is gone for good; or would, where nothing was changed.

    Attributes:
        kept: How many stay.
        size: How many bytes went to the trash.
        others: What somebody else put, who may collect it.
        results: The same of results of scores.
    """

    trashed: tuple[str, ...]
    restored: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int
    size: int
    others: tuple[str, ...] = ()
    results: Collected | None = None


class Shelf(Protocol):
    """Where things stand that can go: each is a folder called by digits, with a record in it."""

    @property
    def clock(self) -> Clock:
        """Tells the time."""

    @property
    def sharing(self) -> Sharing:
        """Who may do what."""

    def every(self) -> Iterator[str]:
        """Give the names of all there are."""

    def place_of(self, name: str, /) -> Path:
        """Give the folder of one, whether it is there or not."""

    def find(self, name: str, /) -> object | None:
        """Give one; none where it is not there, or not whole."""

    def last_used(self, name: str, /) -> datetime | None:
        """Give when one was last used; none where there is none."""

    def touch(self, name: str, /) -> None:
        """Let one count as used now."""

    def locked(self, *, alone: bool = False) -> AbstractContextManager[None]:
        """Keep out whoever collects while something comes to be named; alone, keep out everybody."""

    def staging(self) -> AbstractContextManager[Path]:
        """Give a folder beside it that goes when the block ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trash:
    """What a shelf's things go to."""

    shelf: Shelf
    folder: Path
    grace: timedelta = GRACE
    keep: timedelta = GRACE

    def collect(self, named: Callable[[], set[str]], *, do: bool, what: str) -> Collected:
        """Move what is not named, and old; or only tell what would be moved.

        Args:
            named: Gives what is named; it is asked while nothing can come to be named.
            do: Whether anything is changed.
            what: What the things are, for whoever reads what was done.
        """
        old = [each for each in self.shelf.every() if self._is_old(each)]
        with self.shelf.locked(alone=True):
            marked = named()
            doomed = [each for each in old if each not in marked and self._is_old(each)]
            back = [each for each in self.names() if each in marked and self.shelf.find(each) is None]
            gone = [each for each in self.names() if each not in back and self._is_over(each)]
            size = sum(_size(self.shelf.place_of(each)) for each in doomed)
            others = self._move(doomed, back, gone) if do else []
        trashed = tuple(each for each in doomed if each not in others)
        kept = sum(1 for _ in self.shelf.every()) - (0 if do else len(doomed))
        if do:
            told: dict[str, Any] = {"trashed": len(trashed), "restored": len(back), "removed": len(gone), "kept": kept}
            tell(log, "garbage collected", what=what, **told)
        return Collected(
            trashed=trashed, restored=tuple(back), removed=tuple(gone), kept=kept, size=size, others=tuple(others)
        )

    def names(self) -> list[str]:
        """Give what can be restored."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(f"sha256:{each.name}" for each in self.folder.iterdir() if len(each.name) == 64)
        return []

    def restore(self, name: str) -> None:
        """Bring one back; one that is in its place is left there."""
        with self.shelf.locked(alone=True):
            if self.shelf.find(name) is None:
                if name not in self.names():
                    raise ArtifactUnknown(name=name, reason="it is not in the trash")
                self._restore(name)

    def _is_old(self, name: str) -> bool:
        used = self.shelf.last_used(name)
        return used is not None and self.shelf.clock.now() - used >= self.grace

    def _is_over(self, name: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            since = datetime.fromtimestamp((self._place(name) / _RECORD).stat().st_mtime, UTC)
            return self.shelf.clock.now() - since >= self.keep
        return True

    def _move(self, doomed: list[str], back: list[str], gone: list[str]) -> list[str]:
        """Move what is to be moved; give those that are somebody else's, and stay."""
        others = []
        with self.shelf.staging() as staging:
            for each in back:
                self._restore(each)
            for number, each in enumerate(gone):
                with Storing("remove", self._place(each)):
                    self._place(each).rename(staging / f"gone.{number}")
            for number, each in enumerate(doomed):
                if not self._trash_one(each, staging / f"before.{number}"):
                    others.append(each)
        return others

    def _trash_one(self, name: str, before: Path) -> bool:
        place, trashed = self.shelf.place_of(name), self._place(name)
        with Storing("move to the trash", place):
            self.shelf.sharing.folder(trashed.parent)
            with contextlib.suppress(FileNotFoundError):
                # An older one of the same content.
                trashed.rename(before)
            # From now on it counts how long it is in the trash.
            self.shelf.touch(name)
            try:
                place.rename(trashed)
            except PermissionError:
                return False
            flush(trashed.parent)
            flush(place.parent)
        return True

    def _restore(self, name: str) -> None:
        place = self.shelf.place_of(name)
        with Storing("restore", place):
            self.shelf.sharing.folder(place.parent)
            self._place(name).rename(place)
            self.shelf.touch(name)
            flush(place.parent)

    def _place(self, name: str) -> Path:
        return self.folder / name.rpartition(":")[2]


def _size(place: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(each.stat().st_size for each in place.rglob("*") if each.is_file() and not each.is_symlink())
    return 0
