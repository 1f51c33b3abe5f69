"""Environments where jobs are: each lies there once, by its key, whoever asks for it and however many at once.

What is done beside that folder, `keeper.py` does. What takes long, building and sending, is done by the one who has
the claim, and who says so as long as it goes on; everybody else waits, and takes over from one who has gone silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sluiceway.core import errors
from sluiceway.core.environments import entry, inventory, keeper, tree, uses
from sluiceway.core.errors import CommandTimedOut, ConnectionLost, EnvironmentUnusable, TransferFailed
from sluiceway.core.events import tell
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell

log = logging.getLogger(__name__)

FOLDER = "environments"
"""The folder of environments, below the base."""
_ANSWER_LIMIT = timedelta(minutes=60)
_STALE = timedelta(minutes=2)
_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.5), timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An environment as one file, ready to be sent.

    Attributes:
        path: The file.
        digest: Of its content.
        form: How it is packed: zst, gz, tar (whatever tar itself knows), program (unpacks itself), or file (as it is).
        unpacked: About how many bytes it takes there.
        steps: Commands that finish it there; `@tree@` stands for its folder.
    """

    path: Path
    digest: str
    form: str
    unpacked: int
    steps: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An environment that lies there, whole."""

    tree: PurePosixPath
    seal: PurePosixPath
    machines: tuple[str, ...]
    shipped: int
    """How many bytes were sent for this asking: none where it was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An environment that is to lie there, and how to make it if it does not: `pack` is told whether zstd is there."""

    key: str
    name: str
    pack: Callable[[bool], Awaitable[Packed]]
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """Where it is written who may need environments there.

    Attributes:
        runs: The folder of runs.
        others: Folders whose folders are each a session's, an engine's, or whose else.
        jobs: The names of those folders of which a job waits or runs; none where nobody could say.
        needed: Keys of which it is known otherwise that they are needed.
    """

    runs: PurePosixPath
    others: tuple[PurePosixPath, ...] = ()
    jobs: frozenset[str] | None = None
    needed: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Give it as the keeper reads it."""
        others, jobs = [str(each) for each in self.others], None if self.jobs is None else sorted(self.jobs)
        return {"runs": str(self.runs), "others": others, "jobs": jobs, "needed": sorted(self.needed)}


class EnvironmentCache:
    """The folder of environments at one place."""

    def __init__(
        self, shell: Shell, clock: Clock, *, folder: PurePosixPath, python: str, stale: timedelta = _STALE
    ) -> None:
        """Use a folder; whoever ships and has been silent for so long counts as gone."""
        self._shell = shell
        self._clock = clock
        self._folder = folder
        self._python = python
        self._stale = stale

    async def provide(self, wanted: Wanted) -> Kept:
        """Let the environment lie there, whole, and give its place; raise EnvironmentUnusable where it cannot."""
        token, pause = secrets.token_hex(8), _PAUSE
        while True:
            try:
                kept = await self._try(wanted, token)
            except (ConnectionLost, CommandTimedOut, errors.Unreachable) as error:
                tell(log, "waiting for the cluster", because=str(error))
                kept = None
            if kept is not None:
                return kept
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def entries(self, *, check: bool = False) -> list[dict[str, Any]]:
        """List what lies there; with `check`, after reading all of it."""
        answer = await self._ask("entries", name="*", check=check)
        return list(answer["entries"])

    async def tidy(
        self, used: Uses, *, older: timedelta, most_bytes: int | None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Remove what was not used for so long, and more until the rest is so small; never what may be needed."""
        asked = {"older_seconds": older.total_seconds(), "most_bytes": most_bytes, "dry_run": dry_run}
        return await self._ask("gc", name="*", **asked, **used.as_json())

    async def _try(self, wanted: Wanted, token: str) -> Kept | None:
        """Find the environment or ship it; none where somebody else is about to."""
        asked = {"name": wanted.name, "key": wanted.key, "token": token}
        by, stale = f"{secrets.token_hex(2)} ({wanted.name})", self._stale.total_seconds()
        answer = await self._ask("claim", **asked, by=by, stale_seconds=stale)
        if answer["state"] == "yours":
            if answer["aside"]:
                why = answer["aside"]
                tell(log, "environment damaged", level=logging.WARNING, key=wanted.key, because=why)
            return await self._ship(wanted, token, has_zstd=answer["zstd"])
        return _kept(answer, shipped=0) if answer["state"] == "ready" else None

    async def _ship(self, wanted: Wanted, token: str, *, has_zstd: bool) -> Kept | None:
        asked = {"name": wanted.name, "key": wanted.key, "token": token}
        async with self._alive(asked):
            try:
                packed = await wanted.pack(has_zstd)
                await self._send(packed, wanted, token)
            except (ConnectionLost, CommandTimedOut, errors.Unreachable):
                raise
            except BaseException:
                await asyncio.shield(self._abandon(asked))
                raise
            how: dict[str, Any] = {"digest": packed.digest, "form": packed.form, "bytes": packed.unpacked}
            answer = await self._ask("install", **asked, **how, steps=packed.steps, machine=wanted.machine)
        size = await asyncio.to_thread(lambda: packed.path.stat().st_size)
        return _kept(answer, shipped=size) if answer["state"] == "ready" else None

    async def _send(self, packed: Packed, wanted: Wanted, token: str) -> None:
        size = await asyncio.to_thread(lambda: packed.path.stat().st_size)
        tell(log, "environment shipped", name=wanted.name, key=wanted.key, bytes=size)
        try:
            await self._shell.put(packed.path, self._folder / "incoming" / token)
        except TransferFailed as error:
            free = await self._abandon({"name": wanted.name, "key": wanted.key, "token": token})
            reason = _no_room(error.reason, size=size, free=free)
            raise self._unusable(wanted.name, f"{reason}; nothing half-written is left") from error

    @contextlib.asynccontextmanager
    async def _alive(self, asked: dict[str, str]) -> AsyncIterator[None]:
        """Say again and again that the work goes on."""

        async def beat() -> None:
            while True:
                await self._clock.sleep(self._stale / 6)
                # The claim may be another's by now; the install is told so.
                with contextlib.suppress(errors.RemoteError, EnvironmentUnusable):
                    await self._ask("touch", **asked)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _abandon(self, asked: dict[str, str]) -> int | None:
        """Leave it to others; give how much room there is, where that can be told."""
        with contextlib.suppress(errors.RemoteError, EnvironmentUnusable):
            return int((await self._ask("abandon", **asked))["free"])
        return None

    async def _ask(self, operation: str, *, name: str, **wish: Any) -> dict[str, Any]:
        """Let the keeper do one thing there."""
        asked = json.dumps({**wish, "name": name, "folder": str(self._folder)})
        command = Command.of(self._python, "-I", "-", operation, asked, stdin=_program())
        done = (await self._shell.run(command, timeout=_ANSWER_LIMIT)).require_success()
        found = re.findall(r"^@answer (.*)$", done.text, re.MULTILINE)
        if not found:
            raise self._unusable(name, f"{self._python} there gave no answer: {done.text[-200:]!r}")
        answer: dict[str, Any] = json.loads(found[-1])
        if answer.get("state") == "failed":
            raise self._unusable(name, f"{answer['why']}; nothing half-written is left")
        return answer

    def _unusable(self, name: str, reason: str) -> EnvironmentUnusable:
        return EnvironmentUnusable(name=name, where=f"{self._shell.machine}:{self._folder}", reason=reason)


def _no_room(reason: str, *, size: int, free: int | None) -> str:
    """Say what SFTP does not: that there is no room."""
    if free is None or free >= size:
        return reason
    return f"No space left on device: it takes {size} bytes, and {free} are free ({reason})"


def _program() -> bytes:
    """Give the keeper as one text."""
    return b"\n\n".join(Path(str(each.__file__)).read_bytes() for each in (tree, uses, entry, inventory, keeper))


def _kept(answer: dict[str, Any], *, shipped: int) -> Kept:
    return Kept(
        tree=PurePosixPath(answer["tree"]),
        seal=PurePosixPath(answer["seal"]),
        machines=tuple(answer["machines"]),
        shipped=shipped,
    )
