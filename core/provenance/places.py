"""Where things really lie, for whoever asks of many: each folder on the way is resolved once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Places:
    """What folders were found to be; not to be kept for long, for links can be moved."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """Give a path without links, whether anything lies there or not."""
        if path.name in {"", ".."} or path.is_symlink():
            return os.path.realpath(path)
        folder, mark, name = os.fspath(path).rpartition("/")
        return self._below(folder or mark or ".") + name

    def of_folder(self, path: Path) -> str:
        """Give the folder that a path names something in, without links; of what lies there, links are not followed."""
        folder, mark, _ = os.fspath(path).rpartition("/")
        return self._below(folder or mark or ".")

    def _below(self, folder: str) -> str:
        """Give a folder with the mark behind it, to which a name can be added."""
        if folder not in self._folders:
            # To resolve every name on the way again for each output takes longer than to read it.
            real = os.path.realpath(folder)
            self._folders[folder] = real if real.endswith("/") else f"{real}/"
        return self._folders[folder]
