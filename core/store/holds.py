"""What is in flight: digests that a living process is about to name, which nobody may collect meanwhile.

A hold is a folder with an empty file for each digest, and a lock that goes with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from sluiceway.core.store.durable import Storing
from sluiceway.core.store.lock import NAME
from sluiceway.core.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.store.sharing import Sharing


class Hold:
    """Holds digests as long as its block lasts."""

    def __init__(self, folder: Path) -> None:
        """Hold by files in this folder."""
        self._folder = folder

    def add(self, digest: str) -> None:
        """Hold one more; from now on it stays, if it is there."""
        with Storing("hold", self._folder):
            (self._folder / digest.rpartition(":")[2]).touch()


class Holds:
    """All holds of a store."""

    def __init__(self, folder: Path, sharing: Sharing) -> None:
        """Keep them below this folder."""
        self._folder = folder
        self._scratch = Scratch(folder)
        self._sharing = sharing

    @contextlib.contextmanager
    def own(self) -> Iterator[Hold]:
        """Give a hold that ends with the block."""
        with contextlib.ExitStack() as undo:
            with Storing("hold in", self._folder):
                self._sharing.folder(self._folder)
                mine = undo.enter_context(self._scratch.own(purpose="hold"))
                self._sharing.item(mine)
            yield Hold(mine)

    def held(self) -> set[str]:
        """Give every digest that a living process holds."""
        with contextlib.suppress(FileNotFoundError), Storing("look for holds in", self._folder, foreign=True):
            return {digest for each in self._folder.iterdir() for digest in _held_in(each)}
        return set()


def _held_in(folder: Path) -> set[str]:
    # It may end while it is looked at.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        handle = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return {f"sha256:{each.name}" for each in folder.iterdir() if each.name != NAME}
        finally:
            os.close(handle)
    return set()
