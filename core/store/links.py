"""Where artifacts are shown: an output's path is a link to an artifact, or a copy, and the store knows of each."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import LinkRefused, StorageFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.seal import content_at
from sluiceway.core.store.durable import Storing, content_of, flush, write_whole
from sluiceway.core.store.placing import place as bring
from sluiceway.core.store.placing import remove
from sluiceway.core.store.record import Damage, sealed, unsealed
from sluiceway.core.store.sharing import this_user

if TYPE_CHECKING:
    from datetime import datetime

    from sluiceway.core.store.artifacts import Artifact, ArtifactStore


class Linking(StrEnum):
    """How an artifact is shown at a place: as a symbolic link into the store, or as a copy that may be edited."""

    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """That an artifact is shown at a place; `lost` is when somebody first saw that nothing is there any more."""

    place: str
    digest: str
    how: Linking
    made: str
    by: str
    lost: str | None = None

    @property
    def path(self) -> Path:
        """The place."""
        return Path(os.fsdecode(self.place.encode("latin-1")))

    @property
    def is_there(self) -> bool:
        """Whether anything is at the place."""
        return os.path.lexists(self.path)


class Links:
    """The places at which a store's artifacts are shown."""

    def __init__(self, store: ArtifactStore) -> None:
        """Show artifacts of this store."""
        self._store = store
        self._folder = store.folder / "links"

    def link(self, artifact: Artifact, place: Path, how: Linking = Linking.SYMLINK) -> Link:
        """Show an artifact at a place, in one step instead of the one that is shown there; else nothing may be there.

        Raises:
            LinkRefused: Something is there that the store did not make, or a copy that was edited.
        """
        place = Path(os.path.abspath(place))  # noqa: PTH100 - a link that is there is not followed
        self._require_free(place)
        link = Link(
            place=_as_text(place),
            digest=artifact.digest,
            how=how,
            made=self._store.clock.now().isoformat(),
            by=this_user(),
        )
        with self._store.locked():
            # Known before it is there, so that nobody collects what it shows.
            self._write(link)
            self._store.require(artifact.digest)
            self._store.touch(artifact.digest)
            _show(artifact.path, place, how)
            beside = manifests.path_of(artifact.path)
            if not artifact.is_folder and beside.is_file():
                _show(beside, place.with_name(f"{place.name}.{manifests.FOLDERS_NAME}"), how)
        return link

    def unlink(self, place: Path) -> None:
        """Take away a link, or a copy that nobody edited; the artifact stays until it is collected."""
        place = Path(os.path.abspath(place))  # noqa: PTH100 - see above
        self._require_free(place)
        with Storing("remove", place):
            for each in (place, place.with_name(f"{place.name}.{manifests.FOLDERS_NAME}")):
                if each.is_symlink() or each.is_file():
                    each.unlink()
                elif each.is_dir():
                    remove(each)
        self.forget(place)

    def every(self) -> list[Link]:
        """Give all links, also those whose place is gone; raises where one cannot be read."""
        if not self._folder.is_dir():
            return []
        return [_read(each) for each in sorted(self._folder.iterdir()) if not each.name.startswith(".")]

    def lose(self, link: Link, at: datetime) -> None:
        """Write down that nothing was at a link's place."""
        self._write(replace(link, lost=at.isoformat()))

    def forget(self, place: Path) -> None:
        """Forget that anything was shown at a place."""
        self._path(_as_text(place)).unlink(missing_ok=True)

    def _require_free(self, place: Path) -> None:
        if not os.path.lexists(place) or self._is_ours(place):
            return
        raise LinkRefused(path=place, reason="something is there that the store did not put there, or that was edited")

    def _is_ours(self, place: Path) -> bool:
        if place.is_symlink():
            # Followed once: what the store holds may itself be a link.
            target = Path(os.path.normpath(place.parent / place.readlink()))
            return target.is_relative_to(self._store.folder)
        path = self._path(_as_text(place))
        return path.is_file() and (link := _read(path)).how is Linking.COPY and content_at(place) == link.digest

    def _write(self, link: Link) -> None:
        path = self._path(link.place)
        with Storing("write", path):
            self._store.sharing.folder(self._folder)
        write_whole(path, sealed(asdict(link)))

    def _path(self, place: str) -> Path:
        return self._folder / f"{hashlib.sha256(place.encode('latin-1')).hexdigest()}.json"


def _show(source: Path, place: Path, how: Linking) -> None:
    """Put a link or a copy to a place, whole or not at all."""
    with Storing("link", place):
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name[:100]}."))
        try:
            staged = beside / "staged"
            if how is Linking.SYMLINK:
                staged.symlink_to(source)
            else:
                bring(source, staged)
            if os.path.lexists(place) and (_is_folder(place) or _is_folder(staged)):
                # A folder's name cannot be taken in one step.
                place.rename(beside / "before")
            staged.replace(place)
        finally:
            remove(beside)
        flush(place.parent)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _as_text(place: Path) -> str:
    """Give the text that has one character for each byte of a path: these need not be UTF-8."""
    return os.fsencode(place).decode("latin-1")


def _read(path: Path) -> Link:
    try:
        document: dict[str, Any] = unsealed(content_of(path) or b"", name=path.name)
    except Damage as error:
        raise StorageFailed(what="read the link", path=path, reason=str(error)) from error
    return Link(**{**document, "how": Linking(document["how"])})
