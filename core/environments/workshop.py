"""Where environments are built on this machine: each once, by its key, and kept as the file that is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import re
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.environments.cache import Packed
from sluiceway.core.errors import CommandFailed, EnvironmentUnusable, OutputBusy
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.shell import Command
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Completed, Shell

_PAUSE = timedelta(milliseconds=200)
_BUILD_LIMIT = timedelta(hours=3)
_ON_ITS_WAY = timedelta(days=1)
_SECRET = re.compile(r"(?<=://)[^/@\s]*@")
_TOLD, _LOCK = "packed.json", ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A folder of this machine for what is built, the shell that builds, and how to wait."""

    folder: Path
    shell: Shell
    clock: Clock

    async def packed(self, key: str, *, build: Callable[[Path], Awaitable[Packed]]) -> Packed:
        """Give what was built under a key, or build it now in a folder that is empty."""
        folder = self.folder / key
        async with self._alone(folder):
            found = await asyncio.to_thread(_found, folder)
            if found is not None:
                return found
            with Storing("build in", folder):
                await asyncio.to_thread(_empty, folder)
                packed = await build(folder)
            await asyncio.to_thread(_write_down, packed, folder)
            return packed

    async def tidy(self, *, older: timedelta, dry_run: bool = False) -> list[str]:
        """Remove what was not used for so long, and for a day at least: it may be on its way. Gives what went."""
        before = (self.clock.now() - max(older, _ON_ITS_WAY)).timestamp()
        return await asyncio.to_thread(lambda: sorted(_tidied(self.folder, before, dry_run=dry_run)))

    async def run(self, name: str, *argv: str) -> Completed:
        """Run a program that builds; raise EnvironmentUnusable with what it said where it is missing or fails."""
        if shutil.which(argv[0]) is None:
            raise EnvironmentUnusable(name=name, where="this machine", reason=f"{argv[0]} is not on PATH")
        try:
            return (await self.shell.run(Command.of(*argv), timeout=_BUILD_LIMIT)).require_success()
        except CommandFailed as error:
            # What fetches packages says from where, and a private index has a password in its URL.
            reason = without_secrets(str(error))
            raise EnvironmentUnusable(name=name, where="this machine", reason=reason) from error

    async def pack(self, name: str, tree: Path, target: Path, *, zstd: bool) -> Packed:
        """Pack a folder: the same files make the same archive, but for their times."""
        form = "zst" if zstd and shutil.which("zstd") else "gz"
        way = "--use-compress-program=zstd -3 -T0" if form == "zst" else "--gzip"
        options = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner")
        file = target / f"archive.{form}"
        await self.run(name, "tar", "--create", way, *options, "--file", str(file), "--directory", str(tree), ".")
        size = await asyncio.to_thread(lambda: sum(each.lstat().st_size for each in tree.rglob("*")))
        return Packed(path=file, digest=await asyncio.to_thread(digest_of_file, file), form=form, unpacked=size)

    @contextlib.asynccontextmanager
    async def _alone(self, folder: Path) -> AsyncIterator[None]:
        """Keep everyone else from building the same, waiting for them where they do."""
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive(_lock_of(folder), purpose="build"))
                except OutputBusy:
                    await self.clock.sleep(_PAUSE)
                else:
                    break
            yield


def without_secrets(text: str) -> str:
    """Leave out of a text who logs in by which password, where its URLs say so.

    >>> without_secrets("asked https://me:word@example.org/simple and http://example.org/a@b")
    'asked https://example.org/simple and http://example.org/a@b'
    """
    return _SECRET.sub("", text)


def this_machine() -> str:
    """Give this machine's architecture."""
    return platform.machine()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _tidied(place: Path, before: float, *, dry_run: bool) -> Iterator[str]:
    """Remove what nobody builds, and nobody has used since then; give what went, or would."""
    for folder in [each for each in place.glob("*") if each.suffix != _LOCK]:
        with Storing("remove", folder), contextlib.suppress(OutputBusy), exclusive(_lock_of(folder), purpose="remove"):
            used = max((each.stat().st_mtime for each in (folder, folder / _TOLD) if each.exists()), default=0.0)
            if used < before:
                yield folder.name
                if not dry_run:
                    shutil.rmtree(folder)
    for lock in place.glob(f"*{_LOCK}"):
        # Whoever is about to lock it makes it again.
        with contextlib.suppress(OSError):
            lock.rmdir()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _found(folder: Path) -> Packed | None:
    """Read what was built before; none where there is none, or it is not as it was."""
    content = content_of(folder / _TOLD)
    if content is None:
        return None
    told = json.loads(content)
    path = folder / told["file"]
    if not path.is_file() or digest_of_file(path) != told["digest"]:
        return None
    # For whoever removes what is not used any more.
    (folder / _TOLD).touch()
    steps = tuple(tuple(each) for each in told["steps"])
    return Packed(path=path, digest=told["digest"], form=told["form"], unpacked=told["unpacked"], steps=steps)


def _write_down(packed: Packed, folder: Path) -> None:
    told = {
        "file": packed.path.name,
        "digest": packed.digest,
        "form": packed.form,
        "unpacked": packed.unpacked,
        "steps": packed.steps,
    }
    write_whole(folder / _TOLD, json.dumps(told).encode())
