"""A cluster as a place for jobs: each is submitted once, however often it is asked for and whatever breaks meanwhile.

A job is known by its token, the name it has in Slurm. Before sbatch runs, the job's folder says that it is about to;
after that only proof of absence lets it run again: squeue and accounting answered, twice, and know no such name.
"""

from __future__ import annotations

import io
import logging
import re
import secrets
import tarfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sluiceway.core import errors
from sluiceway.core.errors import CommandTimedOut, ConnectionLost, SlurmRefused
from sluiceway.core.events import tell
from sluiceway.core.remote.patience import Patience
from sluiceway.core.slurm import commands, parse
from sluiceway.core.slurm.parse import Absent, Frames, Refused, Unreachable
from sluiceway.core.slurm.script import batch_script
from sluiceway.core.slurm.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Command, Shell
    from sluiceway.core.slurm.job import JobId, JobSpec, JobState
    from sluiceway.core.slurm.parse import AccountRow, QueueRow
    from sluiceway.core.slurm.usage import JobUsage

    Files = Mapping[str, bytes | PurePosixPath]

log = logging.getLogger(__name__)

_ANSWER_LIMIT = timedelta(minutes=8)
# squeue shows a job 20 to 30 ms after sbatch; one that sbatch left behind unanswered may take the controller longer.
_SETTLED = timedelta(seconds=10)
_FOR_EVER = Patience(first=timedelta(seconds=1), longest=timedelta(seconds=30), total=timedelta.max)


@dataclass(frozen=True, slots=True)
class Known:
    """Slurm knows the job, or has told its id before."""

    job: JobId
    state: JobState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Where and when Slurm would start a job, were it submitted now."""

    start: datetime | None
    partition: str
    nodes: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one visit to a job's folder found out."""

    answer: Known | Absent | Refused | Unreachable
    began: str = ""


class Cluster:
    """One user's way to one Slurm: over a shell that reaches a machine with its commands."""

    def __init__(self, shell: Shell, clock: Clock, *, name: str = "", was_reached: bool = False) -> None:
        """Use a shell; a name is that of one cluster among several behind the same commands (sbatch -M).

        A machine that has answered before is waited for; one that never has may be a wrong name.
        """
        self._shell = shell
        self._clock = clock
        self._name = name
        self._was_reached = was_reached

    @property
    def shell(self) -> Shell:
        """What reaches the machine with Slurm's commands."""
        return self._shell

    @property
    def clock(self) -> Clock:
        """How to wait."""
        return self._clock

    async def find(self, token: str, *, since: str = "now-7days") -> Known | Absent | Unreachable:
        """Say whether there is a job of that name: from squeue, and where that knows none, from accounting."""
        frames = await self._frames(commands.find(token, since=since, cluster=self._name))
        return frames if isinstance(frames, Unreachable) else _found(frames)

    async def submit(self, spec: JobSpec, files: Files) -> JobId:
        """Bring a job's files there and submit it, or find the one that is there already; wait while nobody answers.

        The names of the files are relative to the job's folder; the batch script is added to them. A path instead of a
        content is a link to what is there already.
        """
        mark = secrets.token_hex(4)
        may_submit = await self._stage(spec, files)
        absent_since: tuple[str, datetime] | None = None
        for pause in _FOR_EVER.pauses():
            look = await self._visit(spec, may_submit=may_submit, mark=mark)
            match look.answer:
                case Known(job):
                    return job
                case Refused(reason):
                    await self._frames(commands.withdraw(spec.folder, mark=mark))
                    raise SlurmRefused(machine=self._shell.machine, attempted=f"submit {spec.token}", reason=reason)
                case Absent() if not look.began:
                    may_submit = True
                case Absent():
                    if absent_since is None or absent_since[0] != look.began:
                        absent_since = look.began, self._clock.now()
                    if self._clock.now() - absent_since[1] >= _SETTLED:
                        await self._frames(commands.withdraw(spec.folder, mark=look.began.split()[-1]))
                        may_submit = await self._stage(spec, files)
                case Unreachable(reason):
                    tell(log, "waiting for Slurm", job=spec.token, because=reason)
                    may_submit = False
            await self._clock.sleep(pause)
        raise AssertionError  # the pauses never end

    async def cancel(self, *jobs: JobId) -> None:
        """Cancel jobs, and come back when each is on its way out; one that Slurm no longer knows is."""
        for pause in replace(_FOR_EVER, first=timedelta(seconds=0.5)).pauses():
            frames = await self._frames(commands.cancel(jobs, cluster=self._name))
            rows = frames if isinstance(frames, Unreachable) else parse.read_queue(frames.of("queue"))
            if isinstance(frames, Frames) and not isinstance(rows, Unreachable):
                self._require_allowed(jobs, frames)
                if not any(_is_alive(row) and _is_one_of(row, jobs) for row in rows):
                    return
            else:
                tell(log, "waiting for Slurm", because=getattr(rows, "reason", ""))
            await self._clock.sleep(pause)

    async def in_flight(self) -> tuple[QueueRow, ...] | Unreachable:
        """Give our jobs that wait or run, each element of an array by itself."""
        frames = await self._frames(commands.queue(cluster=self._name))
        rows = frames if isinstance(frames, Unreachable) else parse.read_queue(frames.of("queue"))
        return rows if isinstance(rows, Unreachable) else tuple(row for row in rows if _is_alive(row))

    async def usage(self, *jobs: JobId) -> dict[JobId, JobUsage] | Unreachable:
        """Say what jobs used, in one round trip; those that accounting does not know yet are left out."""
        frames = await self._frames(commands.account(jobs, cluster=self._name))
        told = frames if isinstance(frames, Unreachable) else parse.read_accounts(frames.of("account"))
        if isinstance(told, Unreachable):
            return told
        return {job: used for job in jobs if (used := usage_of(told, job)) is not None}

    async def estimate(self, spec: JobSpec) -> Estimate:
        """Ask Slurm where and when the job would start; raise SlurmRefused where it never would."""
        script = batch_script(spec).encode(errors="surrogateescape")
        done = await self._shell.run(commands.estimate(script, cluster=self._name), timeout=_ANSWER_LIMIT)
        said = done.stderr.decode(errors="replace").strip()
        found = re.search(r"to start at (\S+) using .* on nodes? (\S+) in partition (\S+)", said)
        if not done.succeeded or found is None:
            raise SlurmRefused(machine=self._shell.machine, attempted=f"estimate {spec.token}", reason=said)
        start = datetime.fromtimestamp(int(found[1]), tz=UTC) if found[1].isdecimal() else None
        return Estimate(start=start, nodes=found[2], partition=found[3], said=said)

    async def _stage(self, spec: JobSpec, files: Files) -> bool:
        """Bring the files; say whether the folder knows of no submit before."""
        script = batch_script(spec).encode(errors="surrogateescape")
        command = commands.stage(spec.folder, _bundle({**files, spec.script.name: script}))
        for pause in _FOR_EVER.pauses():
            frames = await self._frames(command)
            if isinstance(frames, Frames):
                return not frames.value("began")
            tell(log, "waiting for the cluster", job=spec.token, because=frames.reason)
            await self._clock.sleep(pause)
        raise AssertionError  # the pauses never end

    async def _visit(self, spec: JobSpec, *, may_submit: bool, mark: str) -> _Look:
        frames = await self._frames(commands.submit(spec, may_submit=may_submit, mark=mark, cluster=self._name))
        if isinstance(frames, Unreachable):
            return _Look(answer=frames)
        return _Look(answer=_submitted(frames), began=frames.value("began"))

    async def _frames(self, command: Command) -> Frames | Unreachable:
        """Run a composed script; a machine that never answered yet may raise, so that a wrong name shows at once."""
        try:
            done = await self._shell.run(command, timeout=_ANSWER_LIMIT)
        except errors.Unreachable as error:
            if not self._was_reached:
                raise
            return Unreachable(str(error))
        except (ConnectionLost, CommandTimedOut) as error:
            return Unreachable(str(error))
        self._was_reached = True
        return parse.read_frames(done)

    def _require_allowed(self, jobs: tuple[JobId, ...], frames: Frames) -> None:
        told = frames.of("cancel")
        if told.exit_code != 0 and "denied" in told.stderr:
            attempted = f"cancel {', '.join(map(str, jobs))}"
            raise SlurmRefused(machine=self._shell.machine, attempted=attempted, reason=told.stderr.strip())


def _found(frames: Frames) -> Known | Absent | Unreachable:
    rows: Sequence[QueueRow | AccountRow] | Unreachable = parse.read_queue(frames.of("queue"))
    if not rows:
        rows = parse.read_accounts(frames.of("account"))
    if isinstance(rows, Unreachable):
        return rows
    # Where the same name was given twice, the newer job is meant.
    newest: QueueRow | AccountRow | None = max(rows, key=lambda row: row.job.number, default=None)
    return Absent() if newest is None else Known(newest.job.whole, newest.state)


def _submitted(frames: Frames) -> Known | Absent | Refused | Unreachable:
    """Weigh what a visit found: what sbatch said, else the queue, else accounting and what sbatch wrote down."""
    if frames.of("sbatch").exit_code is not None:
        submission = parse.read_submission(frames.of("sbatch"))
        return submission if isinstance(submission, Refused | Unreachable) else Known(submission)
    rows = parse.read_queue(frames.of("queue"))
    if rows or not frames.value("began"):
        return _found(frames) if rows else Absent()
    found = _found(frames)
    written = parse.read_id(frames.value("answer"))
    if written is not None and not isinstance(found, Known):
        return Known(written)
    if isinstance(found, Absent) and frames.value("traces"):
        return Refused("a job of this name has run, but neither squeue nor accounting tells its id; use a new attempt")
    return found


def _is_alive(row: QueueRow) -> bool:
    return not (row.state.is_final or row.state.value == "COMPLETING")


def _is_one_of(row: QueueRow, jobs: tuple[JobId, ...]) -> bool:
    return any(job.number == row.job.number and job.task in (None, row.job.task) for job in jobs)


def _bundle(files: Files) -> bytes:
    """Pack files and links, the mark of wholeness last; they are their owner's only, and may be run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in {**files, commands.LAST_FILE: b""}.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size, member.mode = len(content), 0o700
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(member)
    return packed.getvalue()
