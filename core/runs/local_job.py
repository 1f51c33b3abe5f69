"""Runs attempts on this machine, as processes that outlive whoever started them.

Whether an attempt is alive is asked of the kernel: whatever belongs to it holds a lock on its file started.json, and
the lock goes with the last of them. Numbers of processes are used for ending them alone, and only where the kernel says
that the process is still the one that was meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from sluiceway.core.environments import provision
from sluiceway.core.errors import CommandTimedOut, OutcomeBroken
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import jobside
from sluiceway.core.runs.host import JobHost, News, staged_files
from sluiceway.core.slurm.job import Ending, EndingKind, JobId, JobOutcome
from sluiceway.core.store.durable import Storing, content_of, flush

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt, Waiting

_SHORTEST, _LONGEST = timedelta(milliseconds=50), timedelta(seconds=1)
_PIECE = 1 << 18
_GRACE_SECONDS = 10
_SPARE_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """What jobside wrote when it began."""

    job: JobId
    born: str | None


class LocalJob(JobHost):
    """This machine as a place for attempts: the twin of a cluster, with the same files."""

    def __init__(self, home: Path, *, shell: Shell, clock: Clock, grace_seconds: int = _GRACE_SECONDS) -> None:
        """Keep runs below this folder; a payload that is told to end has so long."""
        self._home = home
        self._shell = shell
        self._clock = clock
        self._grace_seconds = grace_seconds

    @property
    def base(self) -> PurePosixPath:
        """The folder that holds the folder of runs."""
        return PurePosixPath(self._home)

    async def stage(self, attempt: Attempt) -> None:
        """Write the attempt's files; large inputs are linked to, not copied."""
        runtime = attempt.request.runtime
        activation = None if runtime is None else (await provision.here(runtime, self._shell, self._clock)).document()
        await asyncio.to_thread(_stage, attempt, activation)

    async def find(self, folder: AttemptFolder) -> JobId | None:
        """Give the attempt's process; none where it has not started."""
        started = await asyncio.to_thread(_started, folder)
        return None if started is None else started.job

    async def submit(self, attempt: Attempt) -> JobId:
        """Start the attempt unless it has started, and give its process."""
        folder = attempt.folder
        program = (sys.executable, "-I", str(folder.jobside), f"--detach={self._grace_seconds}", str(folder.path))
        while True:
            job = await self.find(folder)
            if job is not None:
                return job
            completed = await self._shell.run(Command(argv=program))
            if completed.exit_code != jobside.REFUSED:
                completed.require_success()
            # Refused by one that has the lock and is about to write who it is.
            await self._clock.sleep(_SHORTEST)

    async def watch(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[News | Waiting | Ending]:
        """Tell what the attempt prints and says while it does, and then how it ended."""
        pause, follow = _SHORTEST, _Follow(folder)
        try:
            while True:
                # Asked before the last look, so that the last look misses nothing.
                over = not await asyncio.to_thread(is_alive, folder)
                while news := await asyncio.to_thread(follow.more):
                    pause = _SHORTEST
                    yield news
                if over:
                    break
                await self._clock.sleep(pause)
                pause = min(pause * 1.5, _LONGEST)
        finally:
            follow.close()
        yield await asyncio.to_thread(_ending, folder, job)

    async def has_checkpoint(self, folder: AttemptFolder, since: int, part: str = "") -> bool:
        """Whether attempts from that one on have left anything, in this part, from which the next one can go on."""
        place = Path(folder.run.checkpoint(since) / part)
        return await asyncio.to_thread(lambda: place.is_dir() and any(place.iterdir()))

    async def cancel(self, folder: AttemptFolder, job: JobId) -> None:
        """Tell the attempt to end, and after its grace make it end."""
        if not await asyncio.to_thread(is_alive, folder):
            return
        await asyncio.to_thread(_tell_to_end, folder, job)
        if await self._ends_within(folder, self._grace_seconds + _SPARE_SECONDS):
            return
        await asyncio.to_thread(_kill, folder, job)
        if not await self._ends_within(folder, _SPARE_SECONDS):
            limit = timedelta(seconds=self._grace_seconds + 2 * _SPARE_SECONDS)
            raise CommandTimedOut(machine=self._shell.machine, attempted=f"end process {job}", limit=limit)

    async def fetch(self, folder: AttemptFolder, name: PurePosixPath) -> Path:
        """Give a file's place: it is on this machine."""
        return Path(folder.path / name)

    async def _ends_within(self, folder: AttemptFolder, seconds: float) -> bool:
        deadline = self._clock.now() + timedelta(seconds=seconds)
        while await asyncio.to_thread(is_alive, folder):
            if self._clock.now() >= deadline:
                return False
            await self._clock.sleep(_SHORTEST)
        return True


class _Follow:
    """Reads what is added to the three files of an attempt that grow."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._paths = {"stdout": Path(folder.stdout), "stderr": Path(folder.stderr), "messages": Path(folder.messages)}
        self._open: dict[str, BinaryIO] = {}

    def more(self) -> News | None:
        """Give the next pieces; none where there is nothing new."""
        pieces = {name: self._piece(name) for name in self._paths}
        return News(**pieces) if any(pieces.values()) else None

    def close(self) -> None:
        for file in self._open.values():
            file.close()

    def _piece(self, name: str) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            if name not in self._open:
                self._open[name] = self._paths[name].open("rb", buffering=0)
            return self._open[name].read(_PIECE)
        return b""


def _stage(attempt: Attempt, activation: bytes | None = None) -> None:
    folder = Path(attempt.folder.path)
    with Storing("stage", folder):
        # What a run that was killed while it staged has left.
        shutil.rmtree(folder, ignore_errors=True)
        for place in (attempt.folder.inputs, attempt.folder.work):
            Path(place).mkdir(parents=True)
        for each in staged_files(attempt, activation):
            target = folder / each.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(each.content)
            target.chmod(0o755 if each.executable else 0o644)
            flush(target)
        for name, file in attempt.request.inputs.items():
            link = Path(attempt.folder.input(name))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.path)
        flush(folder)


def _started(folder: AttemptFolder) -> _Started | None:
    """Read who the attempt is; none where it has not begun."""
    content = content_of(Path(folder.started))
    try:
        fields: dict[str, Any] = json.loads(content or b"{}")
        return _Started(job=JobId(fields["job_id"]), born=fields["born"])
    except (ValueError, KeyError):
        return None


def is_alive(folder: AttemptFolder) -> bool:
    """Whether the attempt has started and not ended; a daemon that it left behind does not count."""
    if _started(folder) is None or Path(folder.outcome).exists():
        return False
    handle = os.open(folder.started, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _ending(folder: AttemptFolder, job: JobId) -> Ending:
    """Weigh what is left of an attempt of which nothing lives."""
    content = content_of(Path(folder.outcome))
    # Whoever cancels an array cancels its elements.
    was_cancelled = Path(folder.cancelled).exists() or Path(folder.whole.cancelled).exists()
    if content is None:
        kind = EndingKind.CANCELLED if was_cancelled else EndingKind.VANISHED
        return Ending(job=job, kind=kind, evidence="nothing of it lives, and it wrote no outcome")
    try:
        outcome = JobOutcome.of(content)
    except OutcomeBroken as error:
        return Ending(job=job, kind=EndingKind.CONTRADICTORY, evidence=str(error))
    if not outcome.is_of(job, restart=0):
        evidence = f"its outcome is that of job {outcome.job_id}, not of {job}"
        return Ending(job=job, kind=EndingKind.CONTRADICTORY, evidence=evidence, outcome=outcome)
    return _told(outcome, job, was_cancelled=was_cancelled)


def _told(outcome: JobOutcome, job: JobId, *, was_cancelled: bool) -> Ending:
    """Say how an attempt ended that left its outcome."""
    if outcome.exit_code == 0:
        kind = EndingKind.SUCCEEDED
    elif was_cancelled:
        kind = EndingKind.CANCELLED
    else:
        kind = EndingKind.KILLED if outcome.signal else EndingKind.FAILED
    evidence = f"signal {outcome.signal}" if outcome.signal else f"exit code {outcome.exit_code}"
    return Ending(
        job=job, kind=kind, evidence=evidence, exit_code=outcome.exit_code, signal=outcome.signal, outcome=outcome
    )


def _tell_to_end(folder: AttemptFolder, job: JobId) -> None:
    """Give TERM to jobside, which passes it on and sees to the grace; where it is gone, to what it has left."""
    for process in _jobside(folder, job) or _payload(folder):
        _signal(process, signal.SIGTERM)


def _kill(folder: AttemptFolder, job: JobId) -> None:
    for process in [*_payload(folder), *_jobside(folder, job)]:
        _signal(process, signal.SIGKILL)


def _jobside(folder: AttemptFolder, job: JobId) -> list[int]:
    """Find jobside's process; the number alone may be somebody else's by now."""
    started = _started(folder)
    born = None if started is None else started.born
    return [job.number] if born is not None and _born(job.number) == born else []


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _born(process: int) -> str | None:
    """Give when a process began, in the kernel's ticks (proc(5), field 22 of stat); none for one that has ended."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        # A zombie's number stays until somebody asks how it ended.
        return None if fields[0] == b"Z" else fields[19].decode()
    return None


def _payload(folder: AttemptFolder) -> list[int]:
    """Find the payload's processes, wherever they have gone: by what only they have in their environment."""
    mark = f"SLUICEWAY_CONTEXT={folder.context}".encode(errors="surrogateescape")
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found
