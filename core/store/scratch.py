"""Folders for what is under way: each goes with its block, and what a killed process left goes with the next one."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import OutputBusy, StorageFailed
from sluiceway.core.store.lock import exclusive
from sluiceway.core.store.placing import remove

if TYPE_CHECKING:
    from collections.abc import Iterator


class Scratch:
    """Gives folders below one folder, which is made when needed; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Use this folder, and nothing else may be kept in it."""
        self._folder = folder
        self._swept = False

    @contextlib.contextmanager
    def own(self, *, purpose: str) -> Iterator[Path]:
        """Give a folder that goes when the block ends; its lock says that its process lives."""
        with contextlib.ExitStack() as undo:
            yield self._locked(undo, purpose)

    def _locked(self, undo: contextlib.ExitStack, purpose: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        while True:
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            # Another process may sweep it before it is locked; then there is another.
            with contextlib.suppress(OutputBusy):
                try:
                    undo.enter_context(exclusive(folder, purpose=purpose))
                except StorageFailed:
                    if folder.exists():
                        raise
                    continue
                undo.callback(remove, folder)
                return folder

    def _sweep(self) -> None:
        """Remove, once, what processes left that were killed: what nobody holds."""
        if self._swept:
            return
        self._swept = True
        for left in self._folder.iterdir():
            # What vanishes meanwhile was another's, who is done with it.
            with contextlib.suppress(OutputBusy, StorageFailed), exclusive(left, purpose="sweep"):
                remove(left)
