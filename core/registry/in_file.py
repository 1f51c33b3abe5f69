"""What is being made right now, read from a registry that is a file of SQLite.

`status` asks this of every home, and what talks to all databases takes longer to load than a thousand outputs to look
at. Whatever is odd is left to `core.registry.running`, which tells what it is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from sluiceway.core import settings
from sluiceway.core.registry.home import FILE, identity_of

if TYPE_CHECKING:
    from pathlib import Path

KNOWN: Final = 2
"""The version of the tables that are read here; `core.registry.schema` has the newest."""
_SECONDS: Final = 10
_RUNNING: Final = "SELECT folder, key FROM attempts WHERE state IN ('running', 'ended') AND home = ?"


def running_in_file(home: Path) -> dict[str, str] | None:
    """Give the folders that are being written, and the keys of the work; none where this is not the way to know."""
    if settings.load().registry is not None or not (home / FILE).is_file():
        return None
    try:
        place = f"{(home / FILE).absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(place, _SECONDS, uri=True)) as file:
            if file.execute("SELECT max(version) FROM registry_version").fetchone() != (KNOWN,):
                return None
            return dict(file.execute(_RUNNING, (identity_of(home),)).fetchall())
    except (sqlite3.Error, OSError):
        return None
