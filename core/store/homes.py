"""Whose outputs name a store's artifacts: the homes that ever used it, so that nobody collects what another needs."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core import settings
from sluiceway.core.errors import StorageFailed
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from sluiceway.core.provenance.tree import Cache
    from sluiceway.core.remote.clock import Clock


class Homes:
    """The homes that use a store."""

    def __init__(self, store: ArtifactStore) -> None:
        """Know the homes of this store."""
        self._store = store
        self._folder = store.folder / "homes"

    def add(self, home: Path) -> None:
        """Know one more home, before anything of it names what is in the store."""
        place = os.fsencode(home.absolute())
        path = self._folder / f"{hashlib.sha256(place).hexdigest()}.json"
        if not path.is_file():
            with Storing("write", path):
                self._store.sharing.folder(self._folder)
            write_whole(path, sealed({"home": place.decode("latin-1")}))

    def every(self) -> list[Path]:
        """Give every home; raises where one is not there, for what it names cannot be known then."""
        return [_home_in(each) for each in self._notes()]

    def others(self, home: Path) -> list[Path]:
        """Give every other home that can be found from here."""
        found = []
        for each in self._notes():
            with contextlib.suppress(StorageFailed, OSError):
                found.append(_home_in(each))
        return [each for each in found if not each.samefile(home)]

    def _notes(self) -> list[Path]:
        """Give the files that name a home each; not those that are being written."""
        if not self._folder.is_dir():
            return []
        return sorted(each for each in self._folder.iterdir() if not each.name.startswith("."))


def store_here(clock: Clock, cache: Cache | None = None) -> ArtifactStore:
    """Give the store that this machine's user has chosen; from now on it knows their home."""
    chosen = settings.load()
    store = ArtifactStore(chosen.store_dir or chosen.home / "store", clock=clock, cache=cache, group=chosen.store_group)
    if chosen.store_dir is not None and chosen.home.is_dir():
        Homes(store).add(chosen.home)
    return store


def _home_in(path: Path) -> Path:
    try:
        home = Path(os.fsdecode(unsealed(content_of(path) or b"", name=path.name)["home"].encode("latin-1")))
    except Damage as error:
        raise StorageFailed(what="read which home uses the store", path=path, reason=str(error)) from error
    if not home.is_dir():
        reason = f"it is not there, so what it names is not known; if it is gone for good, remove {str(path)!r}"
        raise StorageFailed(what="look for outputs of the home", path=home, reason=reason)
    return home
