"""Brings back what a crash left half done: whoever calls this, however often, comes to the same state, done or clean.

What became of a job is not guessed: the host of its place says so, by the files that the job wrote and by Slurm, in
the order in which they are trusted. Whoever does not answer is asked the next time, and nothing is decided for them. A
run that somebody sees to, by its claim, is left to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from sluiceway.core.errors import OutputBusy, SluicewayError, StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.registry import events, files
from sluiceway.core.registry.claims import Claims, Standing
from sluiceway.core.registry.claims import State as ClaimState
from sluiceway.core.registry.coalesce import leading
from sluiceway.core.registry.events import Event
from sluiceway.core.registry.home import identity_of, is_gone
from sluiceway.core.registry.moments import moment
from sluiceway.core.registry.record import Finding, record
from sluiceway.core.registry.runs import OVER, State, runs_in
from sluiceway.core.registry.schema import attempts
from sluiceway.core.registry.schema import claims as claims_table
from sluiceway.core.registry.unwatched import unwatched
from sluiceway.core.runs import peers, run
from sluiceway.core.runs.listing import every_attempt
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.unwatched import Over
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.job import JobId

log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(minutes=1)
"""For how long a place is asked how a job is."""


class Repair(StrEnum):
    """What was found and mended."""

    HALF_STAGED = "half-staged attempt removed"
    ORPHANED = "orphaned intent"
    FOUND = "lost job found"
    COLLECTED = "finished job collected"
    REGISTERED = "attempt registered"
    LOST = "process lost"
    FREED = "claim freed"
    UNKNOWN = "not known yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One thing that was mended, or could not be."""

    repair: Repair
    key: str
    what: str
    attempt: int | None = None

    def __str__(self) -> str:
        """Give the line a person reads."""
        number = "" if self.attempt is None else f" attempt {self.attempt}"
        return f"{self.repair}: {self.key}{number}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Looks through the runs of a home.

    Attributes:
        reach: Gives the host of a place by its name.
    """

    database: Database
    runs: Runs
    reach: Callable[[str], AbstractAsyncContextManager[JobHost]]
    patience: timedelta = PATIENCE

    async def all(self) -> list[Repaired]:
        """Mend everything, and give what was mended."""
        folders = await asyncio.to_thread(lambda: list(every_attempt(self.runs)))
        last = {each.run.key: each for each in folders}
        mended = [each for folder in folders if (each := await self._attempt(folder, last[folder.run.key]))]
        mended += await self._outputs()
        mended += await self._claims()
        await self._write_down(mended)
        return mended

    async def _attempt(self, folder: AttemptFolder, last: AttemptFolder) -> Repaired | None:
        home = await asyncio.to_thread(identity_of, self.runs.home)
        finding = await asyncio.to_thread(files.attempt_in, folder, home)
        if finding is None:
            return await asyncio.to_thread(self._clear, folder)
        if finding.attempt.state in OVER:
            return await self._register(finding)
        if folder != last:
            # There is a later one, so somebody knew that this one was over.
            return await self._register(files.with_state(finding, State.LOST))
        if await self._is_seen_to(folder.run.key):
            return None
        try:
            return await self._unseen(folder, finding)
        except (SluicewayError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            return Repaired(repair=Repair.UNKNOWN, key=folder.run.key, attempt=folder.number, what=why)

    def _clear(self, folder: AttemptFolder) -> Repaired | None:
        """Remove what was staged in part, unless somebody is at it."""
        with contextlib.suppress(OutputBusy, StorageFailed), exclusive(Path(folder.run.path), purpose="reconcile"):
            if run.intent_of(folder) is None and Path(folder.path).is_dir():
                shutil.rmtree(folder.path, ignore_errors=True)
                what = str(folder.path)
                return Repaired(repair=Repair.HALF_STAGED, key=folder.run.key, attempt=folder.number, what=what)
        return None

    async def _register(self, finding: Finding) -> Repaired | None:
        """Write down an attempt that the registry does not know like this."""
        if finding.attempt.state is await self._state(finding):
            return None
        await record(self.database, finding, anew=True)
        return self._repaired(Repair.REGISTERED, finding)

    async def _unseen(self, folder: AttemptFolder, finding: Finding) -> Repaired | None:
        """See to an attempt that nobody sees to, and whose end nobody has seen."""
        async with self.reach(finding.attempt.place) as host, asyncio.timeout(self.patience.total_seconds()):
            job = await host.find(folder)
            if job is None:
                return await self._orphan(finding)
            place = finding.attempt.place
            left = await asyncio.to_thread(unwatched, folder, job, host, place=place)
            over = None if left is None else await left.end(self.patience / 2)
            if over is None:
                return await self._going_on(finding, job)
            return await self._collect(over, finding)

    async def _collect(self, over: Over, finding: Finding) -> Repaired | None:
        async with leading(finding.run.key, self.runs.home) as lead:
            if lead.follows:
                return None
            receipt = await over.collect(self.runs)
            await peers.settle(lead, receipt)
        return self._repaired(Repair.COLLECTED, finding, what=receipt.why)

    async def _orphan(self, finding: Finding) -> Repaired | None:
        """Leave an intent to whoever asks for the run next: they start it, once. Until then nothing of it runs."""
        if await self._state(finding) is State.LOST:
            return None
        await record(self.database, files.with_state(finding, State.LOST))
        return self._repaired(Repair.ORPHANED, finding, what="no job was submitted for it")

    async def _going_on(self, finding: Finding, job: JobId) -> Repaired | None:
        """Know a job that goes on, or that whoever asks next collects."""
        known = await self._state(finding)
        if known in {State.RUNNING, State.ENDED}:
            return None
        attempt = replace(finding.attempt, state=State.RUNNING, job_id=str(job))
        await record(self.database, replace(finding, attempt=attempt))
        return self._repaired(Repair.FOUND, finding, what=f"job {job}")

    async def _outputs(self) -> list[Repaired]:
        """Find outputs that were being made by processes which have ended."""
        home = await asyncio.to_thread(identity_of, self.runs.home)
        async with self.database.reading() as connection:
            under_way = await runs_in(connection, states=(State.RUNNING,), kind=files.SCORES)
        mended = []
        for each in under_way:
            folder = Path(each.attempt.folder)
            if each.attempt.home != home or await asyncio.to_thread(_is_written_to, folder):
                continue
            # What was there before it began may be there still.
            sealed = await asyncio.to_thread(files.output_at, folder, home)
            lost = Finding(run=each.run, attempt=replace(each.attempt, state=State.LOST))
            await record(self.database, sealed or lost, anew=True)
            repair = Repair.LOST if sealed is None else Repair.REGISTERED
            mended.append(self._repaired(repair, sealed or lost, what=f"nobody writes to {each.attempt.folder!r}"))
        return mended

    async def _claims(self) -> list[Repaired]:
        """Free what is claimed by those who have ended."""
        claims = Claims(self.database, clock=self.runs.clock)
        wanted = select(claims_table).where(claims_table.c.state == ClaimState.RUNNING)
        async with self.database.reading() as connection:
            rows = list((await connection.execute(wanted)).mappings())
        now = moment(self.runs.clock.now())
        freed = []
        for row in rows:
            standing = Standing(**{name: row[name] for name in Standing.__slots__})
            if row["lease_until"] < now or await asyncio.to_thread(is_gone, row["owner"], self.runs.home):
                await claims.expire(standing)
                taken = await claims.take(standing.key, owner="reconcile")
                if not isinstance(taken, Standing):
                    await claims.release(taken)
                    freed.append(Repaired(repair=Repair.FREED, key=standing.key, what=standing.owner))
        return freed

    async def _is_seen_to(self, key: str) -> bool:
        standing = await Claims(self.database, clock=self.runs.clock).standing(key)
        if standing is None or standing.state is not ClaimState.RUNNING:
            return False
        wanted = select(claims_table.c.lease_until).where(claims_table.c.key == key)
        async with self.database.reading() as connection:
            until = (await connection.execute(wanted)).scalar() or 0
        expired = until < moment(self.runs.clock.now())
        return not expired and not await asyncio.to_thread(is_gone, standing.owner, self.runs.home)

    async def _state(self, finding: Finding) -> State | None:
        from_registry = select(attempts.c.state).where(attempts.c.id == finding.attempt.id)
        async with self.database.reading() as connection:
            found = (await connection.execute(from_registry)).scalar()
        return None if found is None else State(found)

    async def _write_down(self, mended: list[Repaired]) -> None:
        home = await asyncio.to_thread(identity_of, self.runs.home)
        now = moment(self.runs.clock.now())
        known = [each for each in mended if each.repair is not Repair.UNKNOWN]
        for each in mended:
            level = logging.INFO if each in known else logging.WARNING
            tell(log, "run recovered" if each in known else each.repair, level=level, run_id=each.key, what=str(each))
        happened = [Event(at=now, kind="run recovered", home=home, key=each.key, told=asdict(each)) for each in known]
        async with self.database.writing() as connection:
            await events.record(connection, happened)

    def _repaired(self, repair: Repair, finding: Finding, *, what: str = "") -> Repaired:
        key, number = finding.run.key, finding.attempt.number
        return Repaired(repair=repair, key=key, attempt=number, what=what or finding.run.what)


def _is_written_to(folder: Path) -> bool:
    """Tell whether a process has a folder's lock: the kernel takes it from whoever ends."""
    if not folder.is_dir():
        return False
    try:
        with exclusive(folder, purpose="reconcile"):
            return False
    except (OutputBusy, StorageFailed):
        return True
