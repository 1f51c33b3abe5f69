"""Runs attempts on a cluster: the twin of LocalJob, with the same files.

What the job asks of Slurm, and its id, are kept in the attempt's folder on this machine, so that whoever comes later
need not know the one nor ask for the other. Small inputs travel with the attempt's other files; large ones are kept on
the cluster by content, and linked to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections import Counter
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, LiteralString
from urllib.parse import quote

from sluiceway.core.environments import provision
from sluiceway.core.errors import SlurmRefused
from sluiceway.core.events import tell
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.folder import attempt_called
from sluiceway.core.runs.host import JobHost, News, Waiting, staged_files, unchanged
from sluiceway.core.runs.retries import kept_change
from sluiceway.core.runs.throttle import Throttle
from sluiceway.core.runs.transfer import Transfer, kept_name
from sluiceway.core.slurm import commands
from sluiceway.core.slurm.cluster import Known
from sluiceway.core.slurm.job import Dependency, Ending, EndingKind, JobId, JobSpec
from sluiceway.core.slurm.parse import Unreachable, is_out_of_reach
from sluiceway.core.slurm.resources import Resources, format_walltime
from sluiceway.core.slurm.watched import Ended, LogGrew, StateSeen, Unanswered
from sluiceway.core.store.durable import Storing, content_of, write_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.remote.shell import Completed
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt
    from sluiceway.core.runs.request import Content
    from sluiceway.core.slurm.cluster import Estimate
    from sluiceway.core.slurm.usage import JobUsage
    from sluiceway.core.slurm.watched import Change

log = logging.getLogger(__name__)

KEPT = "inputs"
"""The folder of inputs that are kept by content, below the base."""
_THROTTLES = "throttles"
ACCOUNT_TRIES = 10
_LOOK_INSIDE: LiteralString = 'cd -- "$1" 2>/dev/null && [ -n "$(ls -A)" ] && echo @found; echo @end'
_SMALL, _ALL_SMALL = 1 << 18, 1 << 22
PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)


class SlurmJob(JobHost):
    """A cluster as a place for attempts."""

    def __init__(self, access: Access, *, wish: Resources | None = None) -> None:
        """Use a cluster; attempts that are staged by this host ask for these resources."""
        self._access = access
        self._wish = wish
        self._asked = access.settings.resources_for(wish or Resources())
        self._transfer = Transfer(access.shell, access.clock)

    @property
    def access(self) -> Access:
        """The cluster."""
        return self._access

    @property
    def base(self) -> PurePosixPath:
        """The folder there that holds the folder of runs."""
        return self._access.base

    async def stage(self, attempt: Attempt) -> None:
        """Bring the large inputs there, and keep here what the job is to ask for; the rest goes with the submit."""
        await asyncio.to_thread(_begin, attempt.folder, self._asked_by(attempt.folder))
        _, large = _sorted_by_size(attempt)
        await self._transfer.keep(large.values(), self.base / KEPT)
        if attempt.request.runtime is not None:
            activation = await provision.at_cluster(attempt.request.runtime, self._access, self._asked.partition)
            await asyncio.to_thread(write_whole, Path(attempt.folder.activation), activation.document())

    async def find(self, folder: AttemptFolder) -> JobId | None:
        """Give the attempt's job: from this machine's folder, else from Slurm; none where it was never submitted."""
        written = await asyncio.to_thread(_written_job, folder)
        pause = PAUSE
        while written is None:
            match await self._access.cluster.find(folder.token):
                case Known(job):
                    return job
                case Unreachable(reason):
                    tell(log, "waiting for Slurm", run_id=folder.run.run_id, because=reason)
                case _:
                    return None
            await self._access.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return written

    async def submit(self, attempt: Attempt) -> JobId:
        """Submit the attempt with its files, unless that was done before, and give its job."""
        folder = attempt.folder
        job = await asyncio.to_thread(_written_job, folder)
        if job is None:
            if self._wish is not None:
                # Staged by somebody who was stopped before this, and may have wished for something else.
                await asyncio.to_thread(_keep_resources, folder, self._asked_by(folder))
            job = await self._submit_now(attempt)
            at = self._access.clock.now().isoformat()
            written = json.dumps({"job": job.number, "cluster": job.cluster, "at": at}).encode()
            await asyncio.to_thread(write_whole, Path(folder.job), written)
        return job

    async def _submit_now(self, attempt: Attempt) -> JobId:
        files = await asyncio.to_thread(self._files, attempt)
        spec = await asyncio.to_thread(self.spec, attempt.folder)
        n_jobs = 1 if spec.array is None else spec.array.count
        home = Path(attempt.folder.run.base)
        try:
            async with self._throttle_of(home, attempt.place).turn(n_jobs, lambda: self._in_flight(home)):
                return await self._access.cluster.submit(spec, files)
        except SlurmRefused as error:
            # Asked for better, the same request is a new attempt.
            ended = {"refused": error.reason, "ended": self._access.clock.now().isoformat()}
            await asyncio.to_thread(write_whole, Path(attempt.folder.cancelled), json.dumps(ended).encode())
            raise

    def _throttle_of(self, home: Path, place: str) -> Throttle:
        settings, rate = self._access.settings, self._access.settings.submits_per_minute
        pause = timedelta() if rate is None else timedelta(minutes=1) / rate
        folder = home / _THROTTLES / quote(place, safe="")
        return Throttle(folder=folder, clock=self._access.clock, most=settings.most_jobs, pause=pause)

    async def _in_flight(self, home: Path) -> int | Unreachable:
        """Count the jobs of this home's runs that wait or run there; others of the same user are none of ours."""
        rows = await self._access.cluster.in_flight()
        if isinstance(rows, Unreachable):
            return rows
        return await asyncio.to_thread(_count_ours, [row.comment for row in rows], home)

    async def watch(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[News | Waiting | Ending]:
        """Tell what becomes of the job, from its first byte on, and then how it ended."""
        follow = self._access.watcher.follow(self.spec(folder), job)
        async with self.patience(folder, job) as patience, aclosing(follow) as changes:
            async for change in changes:
                seen = told_by(change, folder)
                if seen is not None:
                    yield patience.judge(seen)

    @asynccontextmanager
    async def patience(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[Patience]:
        """Let the job wait in the queue for as long as it may while a block lasts, and then give it up."""
        limit = self.asked(folder).queue_limit
        giving_up = None if limit is None else asyncio.create_task(self._give_up(folder, job, limit))
        try:
            yield Patience(limit, giving_up)
        finally:
            if giving_up is not None:
                giving_up.cancel()

    async def _give_up(self, folder: AttemptFolder, job: JobId, limit: timedelta) -> None:
        """Cancel the job where it still waits after so long; time in which it runs is not Slurm's to count here."""
        submitted = await asyncio.to_thread(_submitted, folder)
        waited = self._access.clock.now() - submitted if submitted else timedelta()
        await self._access.clock.sleep(max(limit - waited, timedelta()))
        await self._ask_slurm(commands.give_up(job))

    async def _ask_slurm(self, command: Command) -> Completed:
        """Run a command of Slurm's that may be repeated, until its daemons answer."""
        pause = PAUSE
        while True:
            done = await self._transfer.ask(command)
            said = done.stderr.decode(errors="replace").strip()
            if done.succeeded or not is_out_of_reach(said):
                return done
            tell(log, "waiting for Slurm", because=said)
            await self._access.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def asked(self, folder: AttemptFolder) -> Resources:
        """Give what an attempt asks for; of one that was staged, that stands in its folder."""
        staged = content_of(Path(folder.resources))
        return self._asked_by(folder) if staged is None else Resources.model_validate_json(staged)

    def _asked_by(self, folder: AttemptFolder) -> Resources:
        """Give what an attempt is to ask for: what was wished, or more after one that failed for want of it."""
        again = kept_change(folder)
        return self._asked if again is None else again.change.on(self._asked)

    async def used(self, folder: AttemptFolder, *, waits: bool = True) -> JobUsage | None:
        """Ask accounting what an attempt that has ended was given and used; it may know a little later."""
        job = await asyncio.to_thread(_written_job, folder)
        if job is None:
            return None
        if not waits:
            told = await self._access.cluster.usage(job)
            return told.get(job) if isinstance(told, dict) else None
        for _ in range(ACCOUNT_TRIES):
            told = await self._access.cluster.usage(job)
            if isinstance(told, dict) and told:
                return told[job]
            await self._access.clock.sleep(PAUSE)
        return None

    async def has_checkpoint(self, folder: AttemptFolder, since: int, part: str = "") -> bool:
        """Whether attempts from that one on have left anything, in this part, from which the next one can go on."""
        place = folder.at(self.base).run.checkpoint(since) / part
        done = await self._transfer.ask(Command.script(_LOOK_INSIDE, str(place)))
        return "@found" in done.text.splitlines()

    async def cancel(self, folder: AttemptFolder, job: JobId) -> None:
        """Cancel the job, and come back when Slurm says that it is over."""
        tell(log, "job cancelled", run_id=folder.run.run_id, job_id=str(job))
        await self._access.cluster.cancel(job)

    async def fetch(self, folder: AttemptFolder, name: PurePosixPath) -> Path:
        """Bring a file of the attempt's folder, checked; where the same is here already, it is left as it is."""
        target = Path(folder.path / name)
        digest = await asyncio.to_thread(_declared, folder, name)
        await self._transfer.bring(folder.at(self.base).path / name, target, digest=digest)
        return target

    async def estimate(self, folder: AttemptFolder) -> Estimate:
        """Ask Slurm when and where the attempt would start, were it submitted now; or raise SlurmRefused."""
        return await self._access.cluster.estimate(self.spec(folder))

    def spec(self, folder: AttemptFolder) -> JobSpec:
        """Give the order for an attempt: what one asks for that was staged stands in its folder."""
        there, asked = folder.at(self.base), self.asked(folder)
        return JobSpec(
            token=folder.token,
            comment=folder.comment,
            resources=asked,
            components=asked.components,
            dependencies=() if asked.dependency is None else Dependency.parse(asked.dependency),
            signal_lead=asked.warning,
            command=(self._access.settings.python, "-I", str(there.jobside), str(there.path)),
            folder=there.path,
            stdout=there.stdout,
            stderr=there.stderr,
            outcome=there.outcome,
            messages=there.messages,
        )

    def _files(self, attempt: Attempt) -> dict[str, bytes | PurePosixPath]:
        """Give what goes into the attempt's folder there: contents, and links to the inputs that are kept."""
        folder = attempt.folder
        small, large = _sorted_by_size(attempt)
        staged = staged_files(attempt, content_of(Path(folder.activation)))
        files: dict[str, bytes | PurePosixPath] = {str(each.name): each.content for each in staged}
        for name, content in small.items():
            files[_inside(folder, name)] = unchanged(content)
        for name, content in large.items():
            files[_inside(folder, name)] = self.base / KEPT / kept_name(content)
        return files


class Patience:
    """With the time that a job spends in the queue, where that has a limit."""

    def __init__(self, limit: timedelta | None, giving_up: asyncio.Task[None] | None) -> None:
        """Know of the task that waits so long, and gives the job up."""
        self._limit, self._giving_up = limit, giving_up

    def forget_the_limit(self) -> None:
        """Give nothing up any more."""
        if self._giving_up is not None:
            self._giving_up.cancel()

    def judge(self, seen: News | Waiting | Ending) -> News | Waiting | Ending:
        """Say of a job that was cancelled before it ran why that was."""
        if not isinstance(seen, Ending) or seen.kind is not EndingKind.CANCELLED or seen.outcome is not None:
            return seen
        if self._limit is None or self._giving_up is None:
            return seen
        if not self._giving_up.done() or self._giving_up.cancelled():
            return seen
        waited = f"it had waited in the queue for {format_walltime(self._limit)}, which is as long as it may"
        return replace(seen, evidence=f"{waited}; {seen.evidence}")


def told_by(change: Change, folder: AttemptFolder) -> News | Waiting | Ending | None:
    """Give what a change of a job is to whoever watches its attempt; a mere state goes to the log alone."""
    match change:
        case LogGrew(stream=stream, content=content):
            return News(**{stream: content})
        case StateSeen() if change.state.is_waiting:
            return Waiting(reason=_why_it_waits(change))
        case StateSeen():
            run_id, job_id = folder.run.run_id, str(change.job)
            tell(log, "job state", run_id=run_id, job_id=job_id, state=change.state, nodes=change.nodes)
            return None
        case Unanswered(reason=reason):
            return Waiting(reason=f"nobody answers for the job, which may go on all the same: {reason}")
        case Ended(ending):
            return ending


def _sorted_by_size(attempt: Attempt) -> tuple[dict[str, Content], dict[str, Content]]:
    """Tell the inputs that travel with the other files from those that are kept by content."""
    small: dict[str, Content] = {}
    room = _ALL_SMALL
    for name, content in sorted(attempt.request.inputs.items(), key=lambda each: each[1].size):
        if content.size <= min(_SMALL, room):
            small[name] = content
            room -= content.size
    return small, {name: each for name, each in attempt.request.inputs.items() if name not in small}


def _inside(folder: AttemptFolder, name: str) -> str:
    return str(folder.input(name).relative_to(folder.path))


def _begin(folder: AttemptFolder, asked: Resources) -> None:
    here = Path(folder.path)
    with Storing("stage", here):
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir(parents=True)
    _keep_resources(folder, asked)


def _keep_resources(folder: AttemptFolder, asked: Resources) -> None:
    write_whole(Path(folder.resources), asked.model_dump_json(exclude_unset=True).encode())


def _written_job(folder: AttemptFolder) -> JobId | None:
    content = content_of(Path(folder.job))
    if content is None:
        return None
    written = json.loads(content)
    return JobId(int(written["job"]), cluster=written["cluster"])


def _count_ours(comments: list[str], home: Path) -> int:
    """Count the jobs whose attempt has a folder in this home; elements of an array share one."""
    counted = Counter(attempt_called(comment, PurePosixPath(home)) for comment in comments)
    return sum(jobs for folder, jobs in counted.items() if folder is not None and Path(folder.path).is_dir())


def _submitted(folder: AttemptFolder) -> datetime | None:
    """Read when the job was submitted, as this machine's clock had it."""
    written = json.loads(content_of(Path(folder.job)) or b"{}")
    return datetime.fromisoformat(written["at"]) if "at" in written else None


def _declared(folder: AttemptFolder, name: PurePosixPath) -> str | None:
    """Give the digest that an output had when it was made, where the outcome is here and tells one."""
    outcome = json.loads(content_of(Path(folder.outcome)) or b"{}")
    names = {str(folder.output(each["name"]).relative_to(folder.path)): each for each in outcome.get("outputs", [])}
    return names[str(name)]["digest"] if str(name) in names else None


def _why_it_waits(seen: StateSeen) -> str:
    start = "" if seen.start is None else f"; Slurm expects to start it at {seen.start:%Y-%m-%d %H:%M:%S} UTC"
    return f"{seen.state}{f' ({seen.reason})' if seen.reason else ''}{start}"
