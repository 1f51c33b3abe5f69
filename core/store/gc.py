"""Garbage: artifacts that nothing names and nobody has used for a while go to the trash, and later for good.

What is named is marked from roots: tags, links, holds of living processes, and whatever the caller knows, such as the
outputs that there are; and from each marked artifact on, the inputs that its manifests name. Moving to the trash is one
rename, and so is coming back. Whoever is killed in between leaves a store in which each artifact is in its place or in
the trash; the next one goes on. Whenever roots cannot be read, nothing is collected.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import ArtifactUnknown, StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.store.artifacts import RECORD
from sluiceway.core.store.durable import Storing, flush
from sluiceway.core.store.links import Links
from sluiceway.core.store.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sluiceway.core.store.artifacts import ArtifactStore

log = logging.getLogger(__name__)

GRACE: Final = timedelta(days=14)
"""How long an artifact stays that nothing names, and how long one stays in the trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What went to the trash, came back from it, and is gone for good; or would, where nothing was changed."""

    trashed: tuple[str, ...]
    restored: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int
    size: int
    others: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Garbage:
    """The garbage of one store."""

    store: ArtifactStore
    grace: timedelta = GRACE
    keep_trash: timedelta = GRACE
    _edges: dict[str, set[str]] = field(default_factory=dict)

    def collect(self, named: Iterable[str], *, do: bool = False) -> Collected:
        """Collect what is garbage, or only tell what would be.

        Args:
            named: What is named outside of the store: the digests of outputs and inputs that there are.
            do: Whether anything is changed.
        """
        outside = set(named)
        self._edges = self._read_edges()
        old = [each for each in self.store.every() if self._is_old(each)]
        with self.store.locked(alone=True):
            # Nothing comes to be named or used while this is held; a link whose place has gone is named for a while.
            marked = self._reached(outside | self._named_inside(do=do))
            doomed = [each for each in old if each not in marked and self._is_old(each)]
            back = [each for each in self._trash() if each in marked and self.store.find(each) is None]
            gone = [each for each in self._trash() if each not in back and self._is_over(each)]
            size = sum(self._size(self.store.place_of(each)) for each in doomed)
            others = self._move(doomed, back, gone) if do else []
        trashed = tuple(each for each in doomed if each not in others)
        kept = sum(1 for _ in self.store.every()) - (0 if do else len(doomed))
        if do:
            tell(log, "garbage collected", trashed=len(trashed), restored=len(back), removed=len(gone), kept=kept)
        return Collected(
            trashed=trashed, restored=tuple(back), removed=tuple(gone), kept=kept, size=size, others=tuple(others)
        )

    def restore(self, digest: str) -> None:
        """Bring an artifact back from the trash; one that is in its place is left there."""
        with self.store.locked(alone=True):
            if self.store.find(digest) is None:
                if digest not in self._trash():
                    raise ArtifactUnknown(name=digest, reason="it is not in the trash")
                self._restore(digest)
        if self.store.verified(digest) is None:
            raise ArtifactUnknown(name=digest, reason="what was in the trash is damaged, and in quarantine now")

    def in_trash(self) -> list[str]:
        """Give what can be restored."""
        return self._trash()

    def _named_inside(self, *, do: bool) -> set[str]:
        named = {str(each.digest) for each in Tags(self.store).every()} | self.store.holds.held()
        links, now = Links(self.store), self.store.clock.now()
        for link in links.every():
            if link.is_there:
                named.add(link.digest)
            elif link.lost is None and self.grace:
                named.add(link.digest)
                if do:
                    links.lose(link, now)
            elif link.lost is not None and now - datetime.fromisoformat(link.lost) < self.grace:
                named.add(link.digest)
            elif do:
                links.forget(link.path)
        return named

    def _read_edges(self) -> dict[str, set[str]]:
        """Read which inputs each content had, by all manifests that ever came with it."""
        edges: dict[str, set[str]] = {}
        for path in self.store.manifests_in():
            with Storing("read the manifest", path):
                content = path.read_bytes()
            if digest_of_bytes(content).removeprefix("sha256:") != path.stem:
                reason = "it was changed; whatever it names could be collected by mistake, so nothing is"
                raise StorageFailed(what="read the manifest", path=path, reason=reason)
            document = json.loads(content)
            inputs = {each["digest"] for each in document["inputs"] or () if each["digest"]}
            edges.setdefault(document["data_version"], set()).update(inputs)
        return edges

    def _reached(self, roots: set[str]) -> set[str]:
        marked: set[str] = set()
        waiting = list(roots)
        while waiting:
            each = waiting.pop()
            if each not in marked:
                marked.add(each)
                waiting += self._edges.get(each, ())
        return marked

    def _is_old(self, digest: str) -> bool:
        used = self.store.last_used(digest)
        return used is not None and self.store.clock.now() - used >= self.grace

    def _is_over(self, digest: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            since = datetime.fromtimestamp((self._trashed(digest) / RECORD).stat().st_mtime, UTC)
            return self.store.clock.now() - since >= self.keep_trash
        return True

    def _move(self, doomed: list[str], back: list[str], gone: list[str]) -> list[str]:
        """Move what is to be moved; give those that are somebody else's, and stay."""
        others = []
        with self.store.staging() as staging:
            for each in back:
                self._restore(each)
            for number, each in enumerate(gone):
                with Storing("remove", self._trashed(each)):
                    self._trashed(each).rename(staging / f"gone.{number}")
            for number, each in enumerate(doomed):
                if not self._trash_one(each, staging / f"before.{number}"):
                    others.append(each)
        return others

    def _trash_one(self, digest: str, before: Path) -> bool:
        place, trashed = self.store.place_of(digest), self._trashed(digest)
        with Storing("move to the trash", place):
            self.store.sharing.folder(trashed.parent)
            with contextlib.suppress(FileNotFoundError):
                # An older one of the same content.
                trashed.rename(before)
            # From now on it counts how long it is in the trash.
            self.store.touch(digest)
            try:
                place.rename(trashed)
            except PermissionError:
                return False
            flush(trashed.parent)
            flush(place.parent)
        return True

    def _restore(self, digest: str) -> None:
        place = self.store.place_of(digest)
        with Storing("restore", place):
            self.store.sharing.folder(place.parent)
            self._trashed(digest).rename(place)
            self.store.touch(digest)
            flush(place.parent)

    def _trash(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(f"sha256:{each.name}" for each in self._folder.iterdir() if len(each.name) == 64)
        return []

    def _trashed(self, digest: str) -> Path:
        return self._folder / digest.rpartition(":")[2]

    @property
    def _folder(self) -> Path:
        return self.store.folder / "trash"

    def _size(self, place: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            return sum(each.stat().st_size for each in place.rglob("*") if each.is_file() and not each.is_symlink())
        return 0
