"""One watcher for all jobs of a cluster: one command a cycle, however many jobs there are.

It asks for the queue, for accounts of jobs that the queue no longer has, for outcome files, and for what the logs have
grown by, at a pace that slows while nothing happens. Trouble on the way ends no job and counts towards no deadline.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.errors import RemoteError
from sluiceway.core.events import tell
from sluiceway.core.slurm import commands, parse
from sluiceway.core.slurm.parse import Frames, Unreachable
from sluiceway.core.slurm.verdict import Deadlines
from sluiceway.core.slurm.watched import Change, Ended, Unanswered, Watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.slurm.job import JobId, JobSpec
    from sluiceway.core.slurm.parse import AccountRow, QueueRow
    from sluiceway.core.slurm.watched import Queue

log = logging.getLogger(__name__)

_ANSWER_LIMIT = timedelta(minutes=3)
_MOST_HURRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often to ask: soon after a job is new, then ever more rarely, from `busy` on anew when something happens.

    >>> pace = Pace()
    >>> pace.after(timedelta(seconds=4)).total_seconds(), pace.after(timedelta(minutes=1)).total_seconds()
    (6.0, 60.0)
    """

    first: timedelta = timedelta(seconds=0.5)
    busy: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(seconds=60)
    growth: float = 1.5

    def after(self, pause: timedelta) -> timedelta:
        """Give the pause after a cycle in which nothing happened."""
        return min(pause * self.growth, self.longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """How many bytes of logs one cycle brings: of all files, and of one."""

    room: int = 1 << 20
    share: int = 1 << 18


class Watcher:
    """Watches jobs from wherever one asks for them, until none is left."""

    def __init__(
        self,
        shell: Shell,
        clock: Clock,
        *,
        name: str = "",
        pace: Pace | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Use a shell; a name is that of one cluster among several behind the same commands (squeue -M)."""
        self._shell = shell
        self._clock = clock
        self._name = name
        self._pace = pace or Pace()
        self._deadlines = deadlines or Deadlines()
        self._limits = LogLimits()
        self._watched: dict[str, Watched] = {}
        self._numbers = self._hurries = 0
        self._awake = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None

    async def follow(
        self, spec: JobSpec, job: JobId, *, stdout_from: int = 0, stderr_from: int = 0
    ) -> AsyncGenerator[Change]:
        """Give each change of a job as it is seen, of an array's elements too; the end of all of them is the end.

        The logs start at these offsets. Whoever stops listening leaves the job alone.
        """
        changes: asyncio.Queue[Change | BaseException] = asyncio.Queue()
        elements = [job] if spec.array is None else [job.element(task) for task in range(spec.array.count)]
        keys = [self._add(Watched.of(spec, each, changes, (stdout_from, stderr_from))) for each in elements]
        try:
            self._wake()
            while not all(self._is_over(key) for key in keys) or not changes.empty():
                change = await changes.get()
                if isinstance(change, BaseException):
                    raise change
                yield change
        finally:
            for key in keys:
                self._watched.pop(key, None)

    def _add(self, watched: Watched) -> str:
        self._numbers += 1
        key = str(self._numbers)
        self._watched[key] = watched
        return key

    def _is_over(self, key: str) -> bool:
        return key not in self._watched

    def _wake(self) -> None:
        self._awake.set()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        pause = self._pace.first
        try:
            while self._watched:
                self._awake.clear()
                happened = await self._cycle()
                pause = await self._rest(self._hurried(min(pause, self._pace.busy) if happened else pause))
        except BaseException as error:
            # A fault of ours must not look like a job that takes long.
            for watched in self._watched.values():
                watched.changes.put_nowait(error)
            raise

    def _hurried(self, pause: timedelta) -> timedelta:
        """Ask soon where a job is about to be over, but not for long."""
        is_ending = any(each.is_ending for each in self._watched.values())
        self._hurries = self._hurries + 1 if is_ending else 0
        return min(pause, self._pace.first) if 0 < self._hurries <= _MOST_HURRIES else pause

    async def _rest(self, pause: timedelta) -> timedelta:
        """Wait so long, or until a new job comes; give the pause after that one."""
        resting = [asyncio.ensure_future(self._clock.sleep(pause)), asyncio.ensure_future(self._awake.wait())]
        try:
            await asyncio.wait(resting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in resting:
                each.cancel()
        return self._pace.first if self._awake.is_set() else self._pace.after(pause)

    async def _cycle(self) -> bool:
        """Ask once, and tell each job what was heard of it; give whether anything happened."""
        asked = dict(self._watched)
        frames = await self._ask(asked)
        if isinstance(frames, Unreachable):
            self._tell_unanswered(asked, frames.reason)
            return False
        self._take_files(asked, frames)
        rows, accounts = parse.read_queue(frames.of("queue")), self._accounts(asked, frames)
        if isinstance(rows, Unreachable):
            self._tell_unanswered(asked, rows.reason)
        queue = rows if isinstance(rows, Unreachable) else _by_job(rows)
        now = self._clock.now()
        happened = False
        for key, watched in asked.items():
            watched.hear(queue, accounts.get(watched.job.number), now)
            ending = watched.verdict(self._deadlines, now)
            if ending is not None and key in self._watched:
                del self._watched[key]
                watched.tell(Ended(ending))
            happened |= watched.has_news()
        return happened

    async def _ask(self, asked: dict[str, Watched]) -> Frames | Unreachable:
        lines = [f"n\t{token}" for token in sorted({each.spec.token for each in asked.values()})]
        files = [line for key, each in asked.items() for line in each.files(key)]
        # Outcomes first: they are small, and nothing is to keep them from having room.
        lines += sorted(files, key=lambda line: ":o\t" not in line)
        missing = sorted({each.job.number for each in asked.values() if each.is_missing})
        command = commands.watch(
            "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"),
            missing=missing,
            room=self._limits.room,
            share=self._limits.share,
            cluster=self._name,
        )
        try:
            return parse.read_frames(await self._shell.run(command, timeout=_ANSWER_LIMIT))
        except RemoteError as error:
            return Unreachable(str(error))

    def _take_files(self, asked: dict[str, Watched], frames: Frames) -> None:
        now = self._clock.now()
        unfinished = {*frames.of("more").lines}
        for key, watched in asked.items():
            watched.has_more = not unfinished.isdisjoint(f"{key}:{kind}" for kind in "123")
        for piece in frames.pieces:
            key, _, kind = piece.key.partition(":")
            asked[key].take(kind, piece, now)

    def _accounts(self, asked: dict[str, Watched], frames: Frames) -> dict[int, tuple[AccountRow, ...] | Unreachable]:
        """Sort accounts by job; of a job that was not asked for there is nothing here."""
        numbers = {each.job.number for each in asked.values() if each.is_missing}
        if not numbers:
            return {}
        rows = parse.read_accounts(frames.of("account"))
        if isinstance(rows, Unreachable):
            return dict.fromkeys(numbers, rows)
        found: dict[int, tuple[AccountRow, ...] | Unreachable]
        found = {number: tuple(row for row in rows if row.job.number == number) for number in numbers}
        return found

    def _tell_unanswered(self, asked: dict[str, Watched], reason: str) -> None:
        tell(log, "waiting for Slurm", machine=self._shell.machine, because=reason)
        for watched in asked.values():
            watched.tell(Unanswered(watched.job, reason))
            watched.nothing_heard()


def _by_job(rows: tuple[QueueRow, ...]) -> Queue:
    """Sort rows by job, the leader's first where a job has several components."""
    return {(row.job.number, row.job.task): row for row in sorted(rows, key=lambda row: -row.raw)}
