"""The content digest of a file, a folder, a value or a set of modules: equal exactly for equal contents.

A Merkle tree of SHA-256 digests. Every preimage begins with a domain tag that holds this form's version, and one letter
that says what it is; numbers take eight bytes, little end first, and a framed text is its length, then itself. So no
two different things can write the same bytes. docs/provenance.md states the form field by field.

What counts: names, as the bytes that they are; the bytes of files, and who may execute them; where symbolic links
point; folders, empty ones too. What does not: times, owners, other permissions, where the tree lies.
"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sluiceway.core.errors import TreeUnreadable
from sluiceway.core.provenance.key import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sluiceway.core.provenance.key import Json


_TAG: Final = b"sluiceway tree v1"
_EXECUTABLE: Final = 0o111
_BLOCK: Final = 1 << 20
_THREADS: Final = min(8, os.cpu_count() or 1)
_DEEP: Final = 50


class Kind(StrEnum):
    """What a thing in a tree is, by the letter in its preimage."""

    FILE = "F"
    LINK = "L"
    FOLDER = "D"


_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}
_BY_NAME: Final = attrgetter("name")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigests:
    """A file's two digests: in a tree, and of its bytes alone, as sha256sum has it, where that was asked for."""

    leaf: str
    content: str | None = None


class Cache(Protocol):
    """What is known of files that were read before."""

    def find(self, status: os.stat_result) -> FileDigests | None:
        """Give a file's digests, where it is certain that it was not changed since."""

    def now(self) -> int:
        """Tell the time in nanoseconds."""

    def keep(self, read: Iterable[tuple[os.stat_result, FileDigests, int]]) -> None:
        """Remember files, each with its digests and the time at which it was about to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in a tree: its name from the root on, what it is, and its digest with all that is below it."""

    name: bytes
    kind: Kind
    digest: str
    content: str | None = None
    size: int = 0

    @property
    def text(self) -> str:
        """The name for people; bytes that are no UTF-8 show as escapes."""
        return text_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How files are looked at.

    Attributes:
        cache: What is known of files that were read before.
        full: Whether every file is read, whatever is known of it.
        plain: Whether the digests of the bytes alone are wanted, too.
        leave_out: Names at the root that are not part of the content.
    """

    cache: Cache | None = None
    full: bool = False
    plain: bool = False
    leave_out: frozenset[bytes] = frozenset()


@dataclass(slots=True, kw_only=True)
class _Found:
    name: bytes
    path: bytes
    status: os.stat_result
    kind: Kind = field(init=False)

    def __post_init__(self) -> None:
        """Say what it is, once: to ask again and again takes longer than to stat it."""
        kind = _KINDS.get(stat.S_IFMT(self.status.st_mode))
        if kind is None:
            raise TreeUnreadable(path=_path(self.path), reason="it is neither a file, a folder nor a link")
        self.kind = kind


def text_of(path: str | bytes | os.PathLike[str]) -> str:
    """Give a path as a text that UTF-8 can hold: its bytes that are none are written out, backslash and number."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def digest_of_tree(path: Path, looking: Looking | None = None) -> str:
    """Give the digest of a file, or of a folder with all that is in it; a link at the root is followed."""
    looking = looking or Looking()
    known = None
    if looking.cache is not None and not looking.full and not looking.plain:
        known = _known(os.fsencode(path), looking.cache, looking.leave_out)
    return known or listing(path, looking)[0].digest


def listing(path: Path, looking: Looking | None = None) -> list[Entry]:
    """Give everything in a tree with its digest, the root first, then by name."""
    looking = looking or Looking()
    try:
        found = sorted(_walk(_real(os.fsencode(path)), looking.leave_out), key=_BY_NAME)
        files = [each for each in found if each.kind is Kind.FILE]
        read = dict(zip((each.name for each in files), _digests(files, looking), strict=True))
        return _folded(found, read)
    except OSError as error:
        where = path if error.filename is None else _path(error.filename)
        raise TreeUnreadable(path=where, reason=str(error.strerror)) from error


def digest_of_value(value: Json) -> str:
    """Give the digest of a JSON value.

    >>> digest_of_value({"b": 1, "a": [True, None]}) == digest_of_value({"a": [True, None], "b": 1})
    True
    """
    return _named(hashlib.sha256(_head("V") + _framed(canonical_json(value).encode())).digest())


def digest_of_modules(modules: Mapping[str, str]) -> str:
    """Give the digest of a set of modules: the digest of each one's text, by its name."""
    rows = b"".join(
        _framed(name.encode()) + _framed(modules[name].encode()) for name in sorted(modules, key=str.encode)
    )
    return _named(hashlib.sha256(_head("M") + _number(len(modules)) + rows).digest())


def digest_of_link(target: bytes) -> str:
    """Give the digest of a symbolic link, by where it points."""
    return _named(hashlib.sha256(_head(Kind.LINK) + target).digest())


def digest_of_leaf(content: bytes, *, mode: int = 0) -> str:
    """Give the digest of a file's bytes in a tree, with the permissions that say who may execute it."""
    return _named(hashlib.sha256(_file_head(mode, len(content)) + content).digest())


def digest_of_folder(children: Mapping[bytes, tuple[Kind, str]]) -> str:
    """Give the digest of a folder: of each name in it, what it is and its digest."""
    rows = (_framed(name) + children[name][0].encode() + _raw(children[name][1]) for name in sorted(children))
    return _named(hashlib.sha256(_head(Kind.FOLDER) + _number(len(children)) + b"".join(rows)).digest())


def _known(root: bytes, cache: Cache, leave_out: frozenset[bytes]) -> str | None:
    """Give the digest of a tree of which every file is known; none where something has to be read, or is odd."""
    try:
        status = os.lstat(root)
        if stat.S_ISLNK(status.st_mode):
            root = _real(root)
            status = os.lstat(root)
        found = _known_here(root, status, cache, leave_out, depth=0)
    except OSError:
        return None
    return None if found is None else found[1]


def _known_here(
    path: bytes, status: os.stat_result, cache: Cache, leave_out: frozenset[bytes], *, depth: int
) -> tuple[Kind, str] | None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is Kind.FILE:
        digests = cache.find(status)
        return None if digests is None else (kind, digests.leaf)
    if kind is Kind.LINK:
        return kind, digest_of_link(_target(path))
    # What lies very deep is left to who walks without calling themselves.
    if kind is None or depth > _DEEP:
        return None
    children = {}
    with os.scandir(path) as inside:
        for each in inside:
            if each.name not in leave_out:
                status = each.stat(follow_symlinks=False)
                child = _known_here(each.path, status, cache, frozenset(), depth=depth + 1)
                if child is None:
                    return None
                children[each.name] = child
    return kind, digest_of_folder(children)


def _folded(found: list[_Found], read: Mapping[bytes, FileDigests]) -> list[Entry]:
    """Give each thing its digest, from the leaves up: a folder's name sorts before whatever is in it."""
    entries: dict[bytes, Entry] = {}
    inside: dict[bytes, dict[bytes, tuple[Kind, str]]] = {}
    for each in reversed(found):
        parent, _, own = each.name.rpartition(b"/")
        entry = _entry(each, read, inside.pop(each.name, {}))
        entries[each.name] = entry
        if each.name:
            inside.setdefault(parent, {})[own] = (entry.kind, entry.digest)
    return list(reversed(entries.values()))


def _entry(found: _Found, read: Mapping[bytes, FileDigests], children: Mapping[bytes, tuple[Kind, str]]) -> Entry:
    match found.kind:
        case Kind.FILE:
            digests = read[found.name]
            size = found.status.st_size
            return Entry(name=found.name, kind=Kind.FILE, digest=digests.leaf, content=digests.content, size=size)
        case Kind.LINK:
            return Entry(name=found.name, kind=Kind.LINK, digest=digest_of_link(_target(found.path)))
        case Kind.FOLDER:
            return Entry(name=found.name, kind=Kind.FOLDER, digest=digest_of_folder(children))


def _real(path: bytes) -> bytes:
    return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 - bytes


def _target(path: bytes) -> bytes:
    return os.readlink(path)  # noqa: PTH115 - a Path would tidy up what it gives


def _walk(root: bytes, leave_out: frozenset[bytes]) -> Iterator[_Found]:
    waiting = [_Found(name=b"", path=root, status=os.lstat(root))]
    while waiting:
        each = waiting.pop()
        yield each
        if each.kind is Kind.FOLDER:
            with os.scandir(each.path) as inside:
                waiting += [
                    _Found(
                        name=b"/".join((each.name, child.name)) if each.name else child.name,
                        path=child.path,
                        status=child.stat(follow_symlinks=False),
                    )
                    for child in inside
                    if each.name or child.name not in leave_out
                ]


def _digests(files: list[_Found], looking: Looking) -> list[FileDigests]:
    """Give the digests of files; only those that the cache does not know are opened, several at once."""
    cache = looking.cache
    known = [None if cache is None or looking.full else cache.find(each.status) for each in files]
    if looking.plain:
        known = [None if each is None or each.content is None else each for each in known]
    waiting = [each for each, digests in zip(files, known, strict=True) if digests is None]
    now = cache.now if cache is not None else lambda: 0
    read = _read_all(waiting, plain=looking.plain, now=now)
    if cache is not None and read:
        cache.keep((each.status, digests, seen) for each, (digests, seen) in zip(waiting, read, strict=True))
    fresh = (digests for digests, _ in read)
    return [next(fresh) if each is None else each for each in known]


def _read_all(files: list[_Found], *, plain: bool, now: Callable[[], int]) -> list[tuple[FileDigests, int]]:
    def read(each: _Found) -> tuple[FileDigests, int]:
        seen = now()
        return _read(each, plain=plain), seen

    if len(files) < 2:
        return [read(each) for each in files]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return list(pool.map(read, files))


def _read(found: _Found, *, plain: bool) -> FileDigests:
    leaf = hashlib.sha256(_file_head(found.status.st_mode, found.status.st_size))
    content = hashlib.sha256() if plain else None
    # Something else may have taken the file's name; a link or a pipe would lead, or wait, elsewhere.
    handle = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb", buffering=0) as file:  # noqa: PTH123 - a handle has no Path
        block = memoryview(bytearray(min(_BLOCK, found.status.st_size + 1)))
        while n := file.readinto(block):
            leaf.update(block[:n])
            if content is not None:
                content.update(block[:n])
        if identity(os.fstat(handle)) != identity(found.status):
            raise TreeUnreadable(path=_path(found.path), reason="it was changed while it was read")
    return FileDigests(leaf=_named(leaf.digest()), content=None if content is None else _named(content.digest()))


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Give what is another after every change of a file, save within the same tick of its file system's clock."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _path(name: bytes | str) -> Path:
    return Path(os.fsdecode(name))


def _file_head(mode: int, size: int) -> bytes:
    return _head(Kind.FILE) + bytes([mode & _EXECUTABLE]) + _number(size)


def _head(letter: str) -> bytes:
    return _framed(_TAG) + letter.encode()


def _framed(text: bytes) -> bytes:
    return _number(len(text)) + text


def _number(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _named(digest: bytes) -> str:
    return f"sha256:{digest.hex()}"


def _raw(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))
