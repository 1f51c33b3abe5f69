"""Files of runs, to a cluster and back: inputs kept there by content, outputs brought in pieces, both checked.

A transfer that breaks is taken up where it broke. Trouble on the way is waited out: it is no reason to fail a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import secrets
import tarfile
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString, TypeVar

from sluiceway.core import errors
from sluiceway.core.errors import CommandTimedOut, ConnectionLost, InputMissing, TransferFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.visibility import until_visible
from sluiceway.core.slurm.parse import Frames, Unreachable, read_frames
from sluiceway.core.store.durable import Storing, flush, write_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path, PurePosixPath

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Completed, Shell
    from sluiceway.core.runs.request import Content

    T = TypeVar("T")

log = logging.getLogger(__name__)

_ANSWER_LIMIT = timedelta(minutes=30)
_LONGEST_PAUSE = timedelta(seconds=30)
_PIECE = 1 << 22

_MISSING: LiteralString = """
umask 077
mkdir -p -- "$1" && cd -- "$1" || exit 73
while read -r name size; do
    if [ -f "$name" ] && [ "$(wc -c <"$name")" -eq "$size" ]; then
        touch -c -- "$name"
    else
        [ ! -e "$name" ] || { echo "@damaged $name"; rm -rf -- "$name"; }
        echo "@missing $name"
    fi
done
echo @end
"""
# A file gets the name of its content once it is known to have it, and is nobody's to write then. One that is gone was
# judged before, and only the answer was lost.
_KEEP: LiteralString = """
cd -- "$1" || exit 66
if [ ! -e "$2" ]; then
    [ ! -e "$3" ] || echo "@kept yes"
    echo @end
    exit
fi
found=$(sha256sum <"$2") || exit 66
if [ "${found%% *}" = "$3" ]; then chmod 0500 "$2" && mv -f -- "$2" "$3" && echo "@kept yes"; else rm -f -- "$2"; fi
echo @end
"""
_LOOK: LiteralString = """
if [ -f "$1" ]; then
    size=$(wc -c <"$1") && digest=$(sha256sum <"$1") || exit 66
    echo "@size $((size))"
    echo "@digest sha256:${digest%% *}"
    if [ "$size" -le "$3" ] && [ "sha256:${digest%% *}" != "$2" ]; then
        printf '@file whole 0 '; base64 -w 0 <"$1"; echo
    fi
fi
echo @end
"""
# Files that are not there, or are large, are left out.
_PACK: LiteralString = """
cd -- "$1" || exit 66
printf '@file all 0 '
while IFS= read -r name; do
    [ -f "$name" ] && [ "$(wc -c <"$name")" -le "$2" ] && printf '%s\\n' "$name"
done | tar -cf - -T - | base64 -w 0
echo
echo @end
"""
_READ: LiteralString = """
printf '@file part %s ' "$2"
tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | base64 -w 0
echo
echo @end
"""


@dataclass(frozen=True, slots=True)
class Transfer:
    """The way of files between this machine and a cluster."""

    shell: Shell
    clock: Clock

    async def keep(self, contents: Iterable[Content], folder: PurePosixPath) -> None:
        """Bring contents into a folder there in which each is called by its digest; what is there is not sent again."""
        by_name = {kept_name(each): each for each in contents}
        if not by_name:
            return
        asked = "".join(f"{name} {each.size}\n" for name, each in by_name.items()).encode()
        frames = await self._frames(Command.script(_MISSING, str(folder), stdin=asked))
        for name in frames.of("damaged").lines:
            tell(log, "kept input damaged", level=logging.WARNING, machine=self.shell.machine, input=f"sha256:{name}")
        for name in frames.of("missing").lines:
            await self._send(by_name[name], folder, name)

    async def bring(
        self, source: PurePosixPath, target: Path, *, digest: str | None = None, waits: bool = True
    ) -> bool:
        """Bring a file, unless the same is here; give whether there is one there. It must have the digest, if given.

        Args:
            source: The file there.
            target: Its place here.
            digest: What it had when it was made.
            waits: Whether one that was made, and does not show yet, is waited for.

        Raises:
            TransferFailed: What is there is not what it should be, or changes while it is read.
            PendingVisibility: It was made, and did not show in all that time.
        """
        here = await asyncio.to_thread(_digest_here, target)
        if digest is not None and here == digest:
            return True
        frames = await self._seen(source, here or "", is_there=waits and digest is not None)
        found = frames.value("digest")
        if digest is not None and found != digest:
            reason = f"it has {found or 'gone'}, and had {digest} when it was made"
            raise TransferFailed(machine=self.shell.machine, source=source, target=target, reason=reason)
        if not found:
            return False
        if found != here:
            part = target.with_name(f".{target.name[:100]}.{found[-16:]}")
            with Storing("write", target):
                await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
                if frames.pieces:
                    await asyncio.to_thread(part.write_bytes, frames.pieces[0].content)
                else:
                    await self._read(source, part, int(frames.value("size")))
            await asyncio.to_thread(self._finish, source, part, target, found)
        return True

    async def bring_small(self, source: PurePosixPath, target: Path, names: Sequence[PurePosixPath]) -> None:
        """Bring files of one folder into another at once, as far as they are there and small; nothing is checked."""
        asked = "".join(f"{name}\n" for name in names).encode()
        frames = await self._frames(Command.script(_PACK, str(source), str(_PIECE), stdin=asked))
        await asyncio.to_thread(_unpack, frames.pieces[0].content, target, frozenset(map(str, names)))

    async def ask(self, command: Command) -> Completed:
        """Run a command that may be repeated, however long the way there is blocked."""
        return await self._persist(lambda: self.shell.run(command, timeout=_ANSWER_LIMIT))

    async def _send(self, content: Content, folder: PurePosixPath, name: str) -> None:
        staged = folder / f"{name}.{secrets.token_hex(4)}"
        tell(log, "input sent", file=str(content.path), bytes=content.size)
        await self._persist(lambda: self.shell.put(content.path, staged))
        kept = await self._frames(Command.script(_KEEP, str(folder), staged.name, name))
        if not kept.value("kept"):
            raise InputMissing(what="the input, which has changed since it was asked for,", path=content.path)

    async def _read(self, source: PurePosixPath, part: Path, size: int) -> None:
        """Read what is not here yet of a large file, piece by piece."""
        have = await asyncio.to_thread(lambda: part.stat().st_size if part.exists() else 0)
        while have < size:
            frames = await self._frames(Command.script(_READ, str(source), str(have), str(_PIECE)))
            (piece,) = frames.pieces
            if not piece.content:
                break
            await asyncio.to_thread(_append, part, piece.content)
            have += len(piece.content)

    async def _seen(self, source: PurePosixPath, here: str, *, is_there: bool) -> Frames:
        """Look at a file; one that is known to be there is looked at again until it shows."""

        async def look() -> Frames | None:
            frames = await self._frames(Command.script(_LOOK, str(source), here, str(_PIECE)))
            return frames if frames.value("digest") or not is_there else None

        return await until_visible(look, clock=self.clock, machine=self.shell.machine, source=source)

    def _finish(self, source: PurePosixPath, part: Path, target: Path, digest: str) -> None:
        found = digest_of_file(part)
        if found != digest:
            part.unlink()
            reason = f"what arrived has {found}, and what is there {digest}"
            raise TransferFailed(machine=self.shell.machine, source=source, target=target, reason=reason)
        with Storing("write", target):
            flush(part)
            part.replace(target)

    async def _frames(self, command: Command) -> Frames:
        """Ask until there is a whole answer; a command that cannot do its work there fails at once."""
        done = await self.ask(command)
        frames = read_frames(done)
        if isinstance(frames, Unreachable):
            done.require_success()
            raise errors.Unreachable(machine=self.shell.machine, reason=frames.reason)
        return frames

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something again until the way is clear."""
        pause = timedelta(seconds=1)
        while True:
            try:
                return await work()
            except (ConnectionLost, CommandTimedOut, errors.Unreachable) as error:
                tell(log, "waiting for the cluster", because=str(error))
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def kept_name(content: Content) -> str:
    """Give what a content is called where contents are kept."""
    return content.digest.rpartition(":")[2]


def _unpack(content: bytes, target: Path, names: frozenset[str]) -> None:
    """Write the files of an archive that were asked for, each whole or not at all."""
    with Storing("write", target), tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            packed = archive.extractfile(member) if member.name in names else None
            if packed is not None:
                place = target / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, packed.read())


def _digest_here(path: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return digest_of_file(path)
    return None


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
