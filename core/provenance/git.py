"""The commit of a working tree, read from git's own files: core starts no processes.

See https://git-scm.com/docs/gitrepository-layout. Whether files were changed since cannot be read so: it stays unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_LINKS = 5


def head_of(tree: Path) -> str | None:
    """Give the commit that is checked out in the working tree at this folder; none where that cannot be told."""
    try:
        own = _git_folder(tree)
        shared = _shared_folder(own)
        name = (own / "HEAD").read_text().strip()
        # HEAD names a branch, and a branch may name another.
        for _ in range(_MOST_LINKS):
            if not name.startswith("ref: "):
                break
            name = _value_of(name.removeprefix("ref: "), own, shared)
    except (OSError, UnicodeDecodeError):
        return None
    return name if _COMMIT.fullmatch(name) else None


def _git_folder(tree: Path) -> Path:
    """Give a tree's folder of git; in a linked worktree, `.git` is a file that says where it is."""
    own = tree / ".git"
    if own.is_file():
        return tree / own.read_text().strip().removeprefix("gitdir: ")
    return own


def _shared_folder(own: Path) -> Path:
    named = own / "commondir"
    return own / named.read_text().strip() if named.is_file() else own


def _value_of(branch: str, own: Path, shared: Path) -> str:
    for folder in (own, shared):
        if (folder / branch).is_file():
            return (folder / branch).read_text().strip()
    packed = shared / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == branch:
                return commit
    return ""
