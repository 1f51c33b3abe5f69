"""An allocation that is held open, so that many short steps need not wait in the queue one by one.

The allocation is a job like every other: submitted once, found again by its name. It does nothing but wait, and ends by
itself when nobody has used it for a while, so that a process that died leaves nothing behind that costs. A step runs by
srun inside of it, over the connection that is open anyway.

A step that was running when its allocation ended has failed: it is never run a second time. The next one gets a new
allocation, where the session may renew it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from sluiceway.core.errors import RemoteError, SessionLost, SlurmRefused
from sluiceway.core.events import tell
from sluiceway.core.remote.shell import Command
from sluiceway.core.slurm import commands, parse
from sluiceway.core.slurm.job import JobSpec, JobState
from sluiceway.core.slurm.parse import Frames, Unreachable

if TYPE_CHECKING:
    from datetime import datetime

    from sluiceway.core.remote.shell import Completed
    from sluiceway.core.slurm.cluster import Cluster
    from sluiceway.core.slurm.job import JobId
    from sluiceway.core.slurm.resources import Resources

log = logging.getLogger(__name__)

_ANSWER_LIMIT = timedelta(minutes=2)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.3), timedelta(seconds=10)
_SPARE = timedelta(seconds=5)
_HELD = (JobState.RUNNING, JobState.SUSPENDED)
_HOLDER, _USED, _OVER, _IN = "hold.sh", "used", "over", "folder"
_LONGEST_SILENCE = timedelta(hours=1)
# It counts its own seconds, for the clocks of a node and of a file server need not agree. Every half an hour it writes
# that it lives, for whoever sees its files and not its Slurm.
_HOLD = b"""\
idle=$1 last= waited=0 turns=0
trap 'exit 0' TERM
while [ "$waited" -lt "$idle" ]; do
    sleep 2 & wait $!
    turns=$((turns + 1))
    case $((turns % 900)) in 0) : >alive ;; esac
    seen=$(stat -c %Y.%s -- used)
    if [ "$seen" = "$last" ]; then waited=$((waited + 2)); else last=$seen waited=0; fi
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Nodes that are held, and until when."""

    job: JobId
    folder: PurePosixPath
    nodes: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Standing:
    """What Slurm tells of an allocation."""

    state: JobState
    reason: str
    nodes: str
    left: timedelta


class Session:
    """Steps in one allocation: `async with Session(...) as session: await session.run(command)`."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        resources: Resources,
        folder: PurePosixPath,
        idle: timedelta = timedelta(minutes=10),
        renews: bool = False,
        enters: tuple[str, ...] = (),
    ) -> None:
        """Hold these resources.

        Args:
            cluster: The way to Slurm.
            resources: What the allocation is, with its time limit.
            folder: A new folder there, which the nodes see.
            idle: For how long it is held although no step runs; also the longest that it outlives this process.
            renews: Whether a step gets a new allocation where the old one has ended or is about to.
            enters: Words that are put before what each task runs, and enter what it is to run in.
        """
        self._cluster, self._shell, self._clock = cluster, cluster.shell, cluster.clock
        self._enters = enters
        self._resources, self._folder, self._idle, self._renews = resources, folder, idle, renews
        self._name = secrets.token_hex(8)
        self._number = 0
        self._held: Allocation | None = None
        self._changing = asyncio.Lock()
        self._steps: Counter[PurePosixPath] = Counter()
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Wait until the allocation is there."""
        try:
            await self._allocation(timedelta())
        except BaseException:
            await self.close()
            raise
        self._keeping = asyncio.create_task(self._keep_alive())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release the allocation; what runs in it ends."""
        await self.close()

    async def close(self) -> None:
        """Release the allocation, if there is one; where nobody answers, it releases itself when it is idle."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping, self._held = None, None
        if self._number:
            await self._tell(commands.release(self._token))
        if self._enters:
            # From now on nothing here needs what its steps ran in.
            await self._tell(Command.of("touch", "--", str(self._folder / _OVER)))

    @property
    def allocation(self) -> Allocation:
        """The allocation as it was when it began; raises SessionLost where there is none."""
        if self._held is None:
            raise self._lost("it is not held")
        return self._held

    @property
    def left(self) -> timedelta:
        """How long the allocation may still be used."""
        return self.allocation.until - self._clock.now()

    async def run(
        self, command: Command, *, options: tuple[str, ...] = (), needs: timedelta = timedelta()
    ) -> Completed:
        """Run a command as a step, by default one task of it, and give its exit code and what it printed.

        Args:
            command: What each task runs; standard input is the first task's.
            options: Options of srun, such as `--ntasks=4`, `--cpus-per-task=2` or `--nodes=2`.
            needs: How much time it needs; where the allocation has less, there is a new one or SessionLost.

        Raises:
            SessionLost: The allocation ended before the step did, or there is not enough of its time left.
            SlurmRefused: srun could not start the step in this allocation.
        """
        held = await self._allocation(needs)
        mark = f"@{secrets.token_hex(8)}"
        self._steps[held.folder] += 1
        try:
            inside = replace(command, argv=(*self._enters, *command.argv))
            asked = commands.step(held.job, inside, mark=mark, used=held.folder / _USED, options=options)
            done = await self._shell.run(asked)
        except asyncio.CancelledError:
            await asyncio.shield(self._tell(commands.end_step(held.job, mark)))
            raise
        finally:
            self._steps[held.folder] -= 1
        return await self._weighed(held, replace(done, command=command), mark.encode())

    async def _weighed(self, held: Allocation, done: Completed, mark: bytes) -> Completed:
        """Take our marks out of what a step printed; where it failed, say whose failure that was."""
        has_begun = mark + b" began\n" in done.stderr
        stdout = done.stdout.partition(mark + b" output\n")[2]
        stderr = done.stderr.replace(mark + b" began\n", b"")
        clean = replace(done, stdout=stdout, stderr=stderr)
        if has_begun and done.exit_code == 0:
            return clean
        standing = await self._standing(held.job)
        if standing is None or standing.state not in _HELD:
            state = "gone" if standing is None else str(standing.state)
            self._forget(held)
            raise self._lost(f"it was {state} when the step ended: {_words(stderr)}")
        if not has_begun:
            raise SlurmRefused(machine=self._shell.machine, attempted="start a step", reason=_words(stderr))
        return clean

    async def _allocation(self, needs: timedelta) -> Allocation:
        """Give the allocation, or a new one in the place of one that does not last."""
        async with self._changing:
            held = self._held
            if held is not None and held.until - self._clock.now() > needs:
                return held
            if self._number and not self._renews:
                left = timedelta() if held is None else held.until - self._clock.now()
                raise self._lost(f"{max(left, timedelta()).total_seconds():g} s of it are left")
            if held is not None and not self._steps[held.folder]:
                await self._cluster.cancel(held.job)
            self._number += 1
            self._held = await self._allocate()
            return self._held

    async def _allocate(self) -> Allocation:
        holder = self._folder / f"s{self._number}"
        words = ("sh", str(holder / _HOLDER), str(int(self._idle.total_seconds())))
        spec = JobSpec(
            token=self._token,
            comment=json.dumps({"session": self._name, "number": self._number, _IN: str(self._folder)}),
            resources=self._resources,
            command=words,
            folder=holder,
            stdout=holder / "stdout.txt",
            stderr=holder / "stderr.txt",
            outcome=holder / "outcome.json",
        )
        job = await self._cluster.submit(spec, {_HOLDER: _HOLD, _USED: b""})
        return await self._begun(job, holder)

    async def _begun(self, job: JobId, holder: PurePosixPath) -> Allocation:
        """Wait until the job runs, telling why it does not yet."""
        pause, told = _FIRST_PAUSE, ""
        while True:
            standing = await self._standing(job)
            if standing is None or standing.state.is_final:
                raise self._lost(f"job {job} ended before it began ({standing and standing.state})")
            if standing.state is JobState.RUNNING:
                until = self._clock.now() + standing.left - _SPARE
                seconds = standing.left.total_seconds()
                tell(log, "allocation held", job_id=str(job), nodes=standing.nodes, seconds=seconds)
                return Allocation(job=job, folder=holder, nodes=standing.nodes, until=until)
            if standing.reason != told:
                told = standing.reason
                tell(log, "allocation waits", job_id=str(job), state=standing.state, because=told)
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def _standing(self, job: JobId) -> _Standing | None:
        """Ask how the allocation is until somebody answers; none where Slurm knows no such job."""
        pause = _FIRST_PAUSE
        while True:
            found = await self._asked(job)
            if not isinstance(found, Unreachable):
                return found
            tell(log, "waiting for Slurm", job_id=str(job), because=found.reason)
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _asked(self, job: JobId) -> _Standing | Unreachable | None:
        try:
            frames = parse.read_frames(await self._shell.run(commands.standing(job), timeout=_ANSWER_LIMIT))
        except RemoteError as error:
            return Unreachable(str(error))
        if not isinstance(frames, Frames):
            return frames
        told = frames.of("queue")
        if told.exit_code != 0:
            rows = parse.read_queue(told)
            return rows if isinstance(rows, Unreachable) else None
        found = [line.split("|") for line in told.lines if line.count("|") == commands.STANDING_FIELDS.count("|")]
        if not found:
            return None
        state, left, nodes, reason, _ = found[0]
        return _Standing(parse.read_state(state), reason, nodes, _left(left))

    async def _keep_alive(self) -> None:
        """Say now and then that steps run, so that the allocation does not take itself for idle."""
        while True:
            await self._clock.sleep(min(self._idle / 4, _LONGEST_SILENCE))
            used = [folder / _USED for folder, steps in self._steps.items() if steps]
            if used or self._renews:
                # Without an allocation nothing else there tells that somebody may come back to this folder.
                await self._tell(commands.touch([*used, *([self._folder] if self._renews else [])]))

    async def _tell(self, command: Command) -> None:
        """Run a command whose loss does no harm."""
        try:
            await self._shell.run(command, timeout=_ANSWER_LIMIT)
        except RemoteError as error:
            tell(log, "waiting for the cluster", because=str(error))

    def _forget(self, held: Allocation) -> None:
        if self._held is held:
            self._held = None

    @property
    def _token(self) -> str:
        return f"sw-session-{self._name}-s{self._number}"

    def _lost(self, reason: str) -> SessionLost:
        return SessionLost(machine=self._shell.machine, session=self._token, reason=reason)


def folder_called(comment: str) -> PurePosixPath | None:
    """Give the folder of the session whose job has this comment; none where it is none's.

    >>> folder_called('{"session": "ab", "number": 1, "folder": "/base/sessions/cd"}'), folder_called("another's")
    (PurePosixPath('/base/sessions/cd'), None)
    """
    try:
        return PurePosixPath(json.loads(comment)[_IN])
    except (ValueError, KeyError, TypeError):
        return None


def _left(text: str) -> timedelta:
    """Read how much time squeue says is left; an allocation without a limit has a year.

    >>> _left("1-02:03:04"), _left("UNLIMITED"), _left("INVALID")
    (datetime.timedelta(days=1, seconds=7384), datetime.timedelta(days=365), datetime.timedelta(0))
    """
    if not re.fullmatch(r"[\d:-]+", text):
        return timedelta(days=365) if text == "UNLIMITED" else timedelta()
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part or 0)
    return timedelta(days=int(days or 0), seconds=seconds)


def _words(stderr: bytes) -> str:
    return " ".join(stderr.decode(errors="replace").split())[-300:] or "it said nothing"
