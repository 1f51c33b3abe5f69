"""The user's own code as it is now: packed so that equal code is an equal file, and what git knows of it.

In a working tree of git it is what is committed with what was changed since, new files too, but nothing that git
ignores; elsewhere it is the whole folder. Of a wheel it is what is in it.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import stat
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.environments.cache import Packed
from sluiceway.core.environments.workshop import without_secrets
from sluiceway.core.errors import EnvironmentInvalid
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.manifest import Git
from sluiceway.core.remote.shell import Command
from sluiceway.core.store.durable import Storing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sluiceway.core.environments.workshop import Workshop

_LEFT_OUT = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Code as it was at one moment, packed; below `inside` lies what is imported."""

    digest: str
    inside: str
    git: Git | None
    packed: Packed


async def snapshot_of(source: Path, *, name: str, workshop: Workshop) -> Snapshot:
    """Take a snapshot of a folder or a wheel; raise EnvironmentInvalid where there is neither."""
    place = await asyncio.to_thread(source.absolute)
    if place.suffix == ".whl":
        content = await asyncio.to_thread(_of_wheel, place)
        return await _kept(content, inside="", git=None, workshop=workshop)
    if not await asyncio.to_thread(place.is_dir):
        raise EnvironmentInvalid(name=name, where="source", problems=(f"{str(source)!r} is no folder and no wheel",))
    listed = await _ask_git(workshop, place, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = sorted(_every_file(place)) if listed is None else sorted({each for each in listed.split(b"\0") if each})
    content = await asyncio.to_thread(_of_folder, place, names)
    git = None if listed is None else await _known_to_git(workshop, place, content)
    inside = "src" if any(each.startswith(b"src/") for each in names) else ""
    return await _kept(content, inside=inside, git=git, workshop=workshop)


async def _kept(content: bytes, *, inside: str, git: Git | None, workshop: Workshop) -> Snapshot:
    """Keep what was packed on this machine until it is sent."""
    digest = digest_of_bytes(content)

    async def write(folder: Path) -> Packed:
        file = folder / "archive.gz"
        packed = await asyncio.to_thread(gzip.compress, content, 6, mtime=0)
        await asyncio.to_thread(file.write_bytes, packed)
        return Packed(path=file, digest=digest_of_bytes(packed), form="gz", unpacked=len(content))

    packed = await workshop.packed(f"source-{digest[7:39]}", build=write)
    return Snapshot(digest=digest, inside=inside, git=git, packed=packed)


async def _known_to_git(workshop: Workshop, place: Path, content: bytes) -> Git:
    """Give the commit, whether anything differs from it, and the digest of what does."""
    head = await _ask_git(workshop, place, "rev-parse", "--verify", "-q", "HEAD")
    status = await _ask_git(workshop, place, "status", "--porcelain", "-z", "--", ".") or b""
    patch = await _ask_git(workshop, place, "diff", "--binary", "HEAD", "--", ".") or b""
    remote = await _ask_git(workshop, place, "config", "--get", "remote.origin.url") or b""
    # Of new files a patch says nothing: the whole snapshot then stands for what differs.
    differs = content if b"?? " in status else patch
    return Git(
        head=(head or b"").decode().strip() or None,
        dirty=bool(status),
        patch_digest=digest_of_bytes(differs) if status else None,
        remote=without_secrets(remote.decode(errors="replace").strip()) or None,
    )


async def _ask_git(workshop: Workshop, place: Path, *words: str) -> bytes | None:
    """Give git's answer; none where there is no git, or it knows nothing of the folder."""
    done = await workshop.shell.run(Command.of("git", "-c", "core.fsmonitor=false", "-C", str(place), *words))
    return done.stdout if done.succeeded else None


def _every_file(place: Path) -> Iterator[bytes]:
    root = os.fsencode(place)
    for folder, folders, names in os.walk(root):
        folders[:] = [each for each in folders if os.fsdecode(each) not in _LEFT_OUT]
        yield from (os.path.relpath(folder + b"/" + each, root) for each in names)


def _of_folder(place: Path, names: Iterable[bytes]) -> bytes:
    """Pack files and links by their names; what git lists and is not there was removed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for each in names:
            name = os.fsdecode(each)
            file = place / name
            try:
                about = file.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(about.st_mode):
                member = _member(name, executable=False)
                member.type, member.linkname = tarfile.SYMTYPE, str(file.readlink())
                archive.addfile(member)
            elif stat.S_ISREG(about.st_mode):
                _add(archive, name, file.read_bytes(), executable=bool(about.st_mode & stat.S_IXUSR))
    return packed.getvalue()


def _of_wheel(place: Path) -> bytes:
    packed = io.BytesIO()
    with Storing("read", place), zipfile.ZipFile(place) as wheel, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(each for each in wheel.namelist() if not each.endswith("/")):
            _add(archive, name, wheel.read(name), executable=False)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, executable: bool) -> None:
    member = _member(name, executable=executable)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _member(name: str, *, executable: bool) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if executable else 0o644
    return member
