"""What was read, as a manifest has it: by its content, by where it lies on this machine, by where it came from."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.errors import TreeUnreadable
from sluiceway.core.provenance.manifest import Input
from sluiceway.core.provenance.tree import Looking, listing
from sluiceway.core.store.durable import content_of
from sluiceway.core.store.record import Damage, unsealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluiceway.core.provenance.tree import Cache

# curl --xattr, wget and browsers write it: https://www.freedesktop.org/wiki/CommonExtendedAttributes/
_ATTRIBUTE: Final = "user.xdg.origin.url"
# What the catalogue's files come to; core.catalog.kept writes it.
_KEPT: Final = ".table.json"


def input_at(  # noqa: PLR0913 - one per thing that is known of it
    file: Path,
    *,
    role: str,
    read: str | None,
    name: str | None = None,
    beside: Path | None = None,
    cache: Cache | None = None,
    is_it: Callable[[str], bool] | None = None,
) -> Input:
    """Give a file that was read as an input with its path; by its content alone where it no longer holds that.

    Args:
        file: The file.
        role: What it was read as.
        read: The digest of what was read; none where that is not known, and what is there now counts.
        name: What it is called.
        beside: The folder of the manifest, from which the path is then seen; else the path is absolute.
        cache: What is known of files that were read before.
        is_it: Tells by the digest of the bytes there whether they are what was read, where `read` is no such digest.
    """
    is_it = is_it or (lambda content: read in {None, content})
    path = path_seen(file, beside)
    try:
        entry = listing(file, Looking(cache=cache, plain=True))[0]
    except TreeUnreadable:
        entry = None
    if path is None or entry is None or entry.content is None or not is_it(entry.content):
        return Input(role=role, digest=read, name=name, origin=origin_of(file))
    return Input(role=role, digest=entry.digest, size=entry.size, name=name, path=path, origin=origin_of(file))


def path_seen(file: Path, folder: Path | None) -> str | None:
    """Give a file's path as seen from a folder, or its absolute one; none where no text can hold it."""
    # Its own name may be a link, and whoever points it elsewhere changes what was read.
    place = file.parent.resolve() / file.name
    path = str(place) if folder is None else os.path.relpath(place, folder.resolve())
    with contextlib.suppress(UnicodeEncodeError):
        path.encode()
        return path
    return None


def place_of_module(name: str, file: Path) -> str:
    """Give a module's place below the folder that it is imported from.

    >>> from pathlib import Path
    >>> [place_of_module("a.b", Path("x", each)) for each in ("b.py", "__init__.py")]
    ['a/b.py', 'a/b/__init__.py']
    """
    bare = name.replace(".", "/")
    return f"{bare}/__init__.py" if file.name == "__init__.py" else f"{bare}.py"


def origin_of(file: Path) -> str | None:
    """Give the address that a file came from, where whoever brought it wrote that down: in a note or an attribute."""
    url = _noted(file) or _kept(file) or _attribute(file)
    return without_secret(url) if url and url.isprintable() and "://" in url else None


def without_secret(address: str) -> str:
    """Leave out who logs in, which may be a token.

    >>> without_secret("https://ada:token@git.example.org/x.git")
    'https://git.example.org/x.git'
    >>> without_secret("git@git.example.org:x.git")
    'git@git.example.org:x.git'
    """
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else address


def _noted(file: Path) -> str | None:
    """Read the note that a download leaves beside a file; one of a file of another size is not this one's."""
    try:
        note: Any = json.loads(content_of(file.with_name(f".{file.name}.seen.json")) or b"{}")
        url = note.get("url")
        return url if isinstance(url, str) and note.get("size") == file.stat().st_size else None
    except (ValueError, OSError, AttributeError):
        return None


def _kept(file: Path) -> str | None:
    """Read the address in the note of a score whose table was kept instead of its file: the note is what was read."""
    if not file.name.endswith(_KEPT):
        return None
    try:
        return str(unsealed(content_of(file) or b"", name=file.name)["link"])
    except (Damage, OSError, KeyError):
        return None


def _attribute(file: Path) -> str | None:
    try:
        return os.getxattr(file, _ATTRIBUTE).decode()
    except (OSError, UnicodeDecodeError):
        return None
