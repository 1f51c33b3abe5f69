"""Who may do what in a store: its user alone, or a group whose members add what the others can only read."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import SettingsInvalid
from sluiceway.core.store.durable import Storing, flush

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# New things get the folder's group; and only its owner, or the folder's, takes a thing away (the sticky bit).
_SHARED_FOLDER: Final = 0o3770
_SHARED_ITEM: Final = 0o2750
_SHARED_FILE: Final = 0o660


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """With which group a store is shared; with none, modes are as its user's umask says."""

    group: str | None = None

    def folder(self, path: Path) -> Path:
        """Make a folder in which every member may put things, and nobody may touch another's; give it."""
        if not path.is_dir():
            missing = [path, *(each for each in path.parents if not each.exists())]
            for each in reversed(missing):
                each.mkdir(exist_ok=True)
                flush(each.parent)
                if self.group is not None and each.stat().st_uid == os.geteuid():
                    self._own(each, _SHARED_FOLDER)
        return path

    def item(self, path: Path) -> None:
        """Let every member read what one of them is about to put: a folder, with files in it that all may read."""
        if self.group is not None:
            self._own(path, _SHARED_ITEM)

    @contextlib.contextmanager
    def locked(self, path: Path, *, alone: bool) -> Iterator[None]:
        """Hold a lock that every member can take: with others, or alone; it goes with the process."""
        with Storing("lock", path):
            handle = self._opened(path)
        try:
            with Storing("lock", path):
                fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def _opened(self, path: Path) -> int:
        # Where there is one it must not be asked for again: in such folders kernels refuse that for others' files.
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if self.group is not None and os.fstat(handle).st_uid == os.geteuid():
            os.fchown(handle, -1, self._number)
            os.fchmod(handle, _SHARED_FILE)
        return handle

    def _own(self, path: Path, mode: int) -> None:
        os.chown(path, -1, self._number)
        path.chmod(mode)

    @property
    def _number(self) -> int:
        try:
            return grp.getgrnam(str(self.group)).gr_gid
        except KeyError as error:
            raise SettingsInvalid(problems=(f"store_group={self.group!r}: there is no such group",)) from error


def this_user() -> str:
    """Give who this process works for, by name or else by number."""
    number = os.geteuid()
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)
