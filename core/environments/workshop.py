"""Where environments are built on this machine: each once, by its key, and kept as the file that is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
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
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Completed, Shell

_PAUSE = timedelta(milliseconds=200)
_BUILD_LIMIT = timedelta(hours=3)


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

    async def run(self, name: str, *argv: str) -> Completed:
        """Run a program that builds; raise EnvironmentUnusable with what it said where it is missing or fails."""
        if shutil.which(argv[0]) is None:
            raise EnvironmentUnusable(name=name, where="this machine", reason=f"{argv[0]} is not on PATH")
        try:
            return (await self.shell.run(Command.of(*argv), timeout=_BUILD_LIMIT)).require_success()
        except CommandFailed as error:
            raise EnvironmentUnusable(name=name, where="this machine", reason=str(error)) from error

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
                    held.enter_context(exclusive(folder.with_name(f"{folder.name}.lock"), purpose="build"))
                except OutputBusy:
                    await self.clock.sleep(_PAUSE)
                else:
                    break
            yield


def this_machine() -> str:
    """Give this machine's architecture."""
    return platform.machine()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _found(folder: Path) -> Packed | None:
    """Read what was built before; none where there is none, or it is not as it was."""
    content = content_of(folder / "packed.json")
    if content is None:
        return None
    told = json.loads(content)
    path = folder / told["file"]
    if not path.is_file() or digest_of_file(path) != told["digest"]:
        return None
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
    write_whole(folder / "packed.json", json.dumps(told).encode())
