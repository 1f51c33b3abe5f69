"""Names for artifacts: a tag is one artifact's at any moment, and remembers whose it was before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sluiceway.core.errors import ArtifactUnknown, StorageFailed
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed
from sluiceway.core.store.sharing import this_user

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.store.artifacts import Artifact, ArtifactStore

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]{0,99}")
_DIGITS: Final = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """That a tag was given to an artifact, or taken from it, when, and by whom."""

    digest: str | None
    at: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A name with all its moves, the latest last."""

    name: str
    history: tuple[Move, ...]

    @property
    def digest(self) -> str | None:
        """The artifact that it names now; none where it was taken away."""
        return self.history[-1].digest


class Tags:
    """The names of a store's artifacts."""

    def __init__(self, store: ArtifactStore) -> None:
        """Name artifacts of this store."""
        self._store = store
        self._folder = store.folder / "tags"

    def tag(self, name: str, digest: str) -> Tag:
        """Give a name to an artifact that is there and whole; whoever reads it sees the old one or the new one."""
        _require_name(name)
        self._store.require(digest)
        return self._move(name, digest)

    def untag(self, name: str) -> Tag:
        """Take a name away; its history stays."""
        if self.find(name) is None:
            raise ArtifactUnknown(name=name, reason="there is no such tag")
        return self._move(name, None)

    def find(self, name: str) -> Tag | None:
        """Give a tag that names an artifact."""
        tag = self._read(self._path(name)) if _NAME.fullmatch(name) else None
        return tag if tag is not None and tag.digest is not None else None

    def every(self) -> list[Tag]:
        """Give all tags, also those that name nothing now; raises where one cannot be read."""
        if not self._folder.is_dir():
            return []
        paths = sorted(each for each in self._folder.iterdir() if not each.name.startswith("."))
        return [tag for tag in map(self._read, paths) if tag is not None]

    def resolve(self, name: str) -> Artifact:
        """Give the artifact of a tag, or of a digest or its beginning, as it was put; or raise ArtifactUnknown."""
        tag = self.find(name)
        if tag is not None and tag.digest is not None:
            return self._store.require(tag.digest)
        digits = _DIGITS.fullmatch(name)
        if digits is None:
            raise ArtifactUnknown(name=name, reason="it is neither a tag nor eight or more digits of a digest")
        found = [each for each in self._store.every() if each.startswith(f"sha256:{digits[1]}")]
        if len(found) != 1:
            raise ArtifactUnknown(name=name, reason=f"{len(found) or 'no'} artifacts here begin so")
        return self._store.require(found[0])

    def _move(self, name: str, digest: str | None) -> Tag:
        path = self._path(name)
        with self._store.locked(alone=True):
            # Nobody collects it from here on.
            if digest is not None and self._store.find(digest) is None:
                raise ArtifactUnknown(name=digest, reason="it was collected just now")
            before = self._read(path)
            move = Move(digest=digest, at=self._store.clock.now().isoformat(), by=this_user())
            tag = Tag(name=name, history=(*(before.history if before else ()), move))
            history = [{"digest": each.digest, "at": each.at, "by": each.by} for each in tag.history]
            with Storing("write", path):
                self._store.sharing.folder(self._folder)
            write_whole(path, sealed({"name": name, "history": history}))
            for each in {digest, before.digest if before else None} - {None}:
                self._store.touch(str(each))
        return tag

    def _path(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}{_SUFFIX}"

    def _read(self, path: Path) -> Tag | None:
        content = content_of(path)
        if content is None:
            return None
        try:
            document: dict[str, Any] = unsealed(content, name=path.name)
        except Damage as error:
            raise StorageFailed(what="read the tag", path=path, reason=str(error)) from error
        return Tag(name=document["name"], history=tuple(Move(**each) for each in document["history"]))


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name) or _DIGITS.fullmatch(name):
        reason = "a tag has letters, digits and . _ / @ + -, at most a hundred, and does not look like a digest"
        raise ArtifactUnknown(name=name, reason=reason)
