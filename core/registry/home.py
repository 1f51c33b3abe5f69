"""Which home a row belongs to, and whether whoever claimed work there still lives: the kernel knows that, not a clock.

Several homes may share one registry, and their folders may have the same names on different machines. So each home has
a random name of its own, in a file that goes where the home goes.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core import settings
from sluiceway.core.errors import OutputBusy, StorageFailed
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.lock import exclusive
from sluiceway.core.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE: Final = "registry.sqlite"
"""The registry's file in a home, where no other one is chosen."""
_NAME: Final = "identity"
_OWNERS: Final = "owners"


def has_registry(home: Path) -> bool:
    """Tell whether anything was ever written down for a home, without opening what is not there."""
    return settings.load().registry is not None or (home / FILE).is_file()


def identity_of(home: Path) -> str:
    """Give the name of a home; one that has none gets it now."""
    path = home / _NAME
    content = content_of(path)
    if content is None:
        with Storing("name", home):
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home, prefix=f".{_NAME}") as folder:
                fresh = Path(folder) / _NAME
                write_whole(fresh, secrets.token_hex(16).encode())
                # Whoever is first names it for all.
                with contextlib.suppress(FileExistsError):
                    os.link(fresh, path)
            content = path.read_bytes()
    return content.decode()


@contextlib.contextmanager
def owner_in(home: Path) -> Iterator[str]:
    """Give a name to claim work by; as long as the block lasts, others can see that its process lives."""
    with Scratch(home / _OWNERS).own(purpose="claims") as folder:
        yield f"{identity_of(home)}/{folder.name} {user()} on {platform.node()}, process {os.getpid()}"


def is_gone(owner: str, home: Path) -> bool:
    """Tell whether whoever claimed work in this home has ended; of another home's nobody knows here."""
    name, _, token = owner.partition(" ")[0].partition("/")
    folder = home / _OWNERS / token
    if name != identity_of(home) or not token:
        return False
    if not folder.is_dir():
        return True
    try:
        with exclusive(folder, purpose="look"):
            return True
    except (OutputBusy, StorageFailed):
        return False


def is_of(owner: str, home: Path) -> bool:
    """Tell whether work was claimed in this home."""
    return owner.partition("/")[0] == identity_of(home)


def user() -> str:
    """Give the name of whoever runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
