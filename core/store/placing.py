"""A tree is brought to another place and sealed there: whole, on the disk, and nobody's to write any more.

Bytes are shared with the source where the file system can (a reflink), else copied. Only who asks for it gets hard
links: then the source is the stored file, so it is made nobody's to write first, and is copied all the same where
somebody has it open for writing or the kernel cannot tell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import TreeUnreadable
from sluiceway.core.store.durable import flush

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARE_BYTES: Final = 0x40049409
"""The number of the kernel's request FICLONE (ioctl_ficlone(2))."""
_WRITE: Final = 0o222
_READ: Final = 0o444
_FOLDER: Final = 0o555


class Placing(StrEnum):
    """How bytes get to their new place: shared where that can be, else copied; or as hard links where that is safe."""

    COPY = "copy"
    HARDLINK = "hardlink"


def place(source: Path, target: Path, *, how: Placing = Placing.COPY, leave_out: frozenset[str] = frozenset()) -> None:
    """Bring a file, or a folder with all that is in it, to a place where nothing is; it can be written there still.

    Args:
        source: What is brought; a link here is followed, those inside are brought as they are.
        target: Where it goes.
        how: How bytes get there.
        leave_out: Names at the root that stay.
    """
    source = source.resolve()
    if not source.is_dir():
        _place_file(source, target, how)
        return
    _place_folder(source, target, how, leave_out)


def close(tree: Path) -> None:
    """Take everybody's right to write from a tree, and bring all of it to the disk; who may execute stays as it is."""
    folders = [tree] if tree.is_dir() else []
    for each in _below(tree) if folders else [tree]:
        mode = each.lstat().st_mode
        if stat.S_ISDIR(mode):
            folders.append(each)
        elif stat.S_ISREG(mode):
            each.chmod(_closed(mode))
            flush(each)
    # Those inside first: the names in a folder are on the disk before its own is.
    for each in reversed(folders):
        each.chmod(_FOLDER)
        flush(each)


def remove(tree: Path) -> None:
    """Remove a tree, closed folders too; what cannot be removed stays."""
    for folder, _, _ in os.walk(tree):
        with contextlib.suppress(OSError):
            os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - os.walk gives text
    shutil.rmtree(tree, ignore_errors=True)


def _below(folder: Path) -> Iterator[Path]:
    """Give everything in a folder, each folder before what is in it; no link is followed."""
    for each in sorted(folder.iterdir()):
        yield each
        if stat.S_ISDIR(each.lstat().st_mode):
            yield from _below(each)


def _place_folder(source: Path, target: Path, how: Placing, leave_out: frozenset[str]) -> None:
    target.mkdir()
    folders = [target]
    for each in _below(source):
        name = each.relative_to(source)
        if len(name.parts) == 1 and name.name in leave_out:
            continue
        there, mode = target / name, each.lstat().st_mode
        if stat.S_ISLNK(mode):
            there.symlink_to(os.readlink(each))  # noqa: PTH115 - a Path would tidy up what it gives
        elif stat.S_ISDIR(mode):
            there.mkdir()
            folders.append(there)
        else:
            _place_file(each, there, how)
    for each in reversed(folders):
        flush(each)


def _place_file(source: Path, target: Path, how: Placing) -> None:
    if not stat.S_ISREG(source.lstat().st_mode):
        raise TreeUnreadable(path=source, reason="it is neither a file, a folder nor a link")
    if how is Placing.HARDLINK and _linked(source, target):
        return
    with source.open("rb") as read, target.open("xb") as written:
        try:
            fcntl.ioctl(written, _SHARE_BYTES, read.fileno())
        except OSError:
            shutil.copyfileobj(read, written, 1 << 20)
    target.chmod(stat.S_IMODE(source.stat().st_mode) | stat.S_IWUSR)
    flush(target)


def _linked(source: Path, target: Path) -> bool:
    """Make a hard link, if from now on nobody can write to the file through it or any other name."""
    before = stat.S_IMODE(source.stat().st_mode)
    try:
        source.chmod(_closed(before))
        if _is_being_written(source):
            source.chmod(before)
            return False
        target.hardlink_to(source)
    except OSError:
        # Another's file, or on another file system.
        with contextlib.suppress(OSError):
            source.chmod(before)
        return False
    return True


def _is_being_written(path: Path) -> bool:
    """Tell whether anybody may have a file open for writing: only then does the kernel refuse a lease for reading."""
    with path.open("rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return True
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _closed(mode: int) -> int:
    return stat.S_IMODE(mode) & ~_WRITE & 0o777 | _READ
