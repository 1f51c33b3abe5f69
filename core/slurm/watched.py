"""One job under watch: what has been heard of it so far, and what that makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sluiceway.core.errors import OutcomeBroken
from sluiceway.core.slurm import parse
from sluiceway.core.slurm.job import JobOutcome, JobState
from sluiceway.core.slurm.parse import Unreachable
from sluiceway.core.slurm.verdict import Deadlines, Evidence, judge

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from sluiceway.core.slurm.job import Ending, JobId, JobSpec
    from sluiceway.core.slurm.parse import AccountRow, Piece, QueueRow

# By job number and index; of a heterogeneous job, its leader's row.
Queue = Mapping[tuple[int, int | None], "QueueRow"]
Stream = Literal["stdout", "stderr", "messages"]
_STREAMS: dict[str, Stream] = {"1": "stdout", "2": "stderr", "3": "messages"}
# The line of Slurm's daemon may come in two pieces.
_LAST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StateSeen:
    """Slurm tells a state, or a reason to wait, other than before."""

    job: JobId
    state: JobState
    reason: str = ""
    start: datetime | None = None
    restarts: int = 0
    nodes: str = ""


@dataclass(frozen=True, slots=True)
class LogGrew:
    """Output of the job, from this offset on; the next piece starts where this one ends."""

    job: JobId
    stream: Stream
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody could say anything this time; told once, until something is heard again."""

    job: JobId
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The job has ended; all of its output has been told."""

    ending: Ending


Change = StateSeen | LogGrew | Unanswered | Ended


@dataclass(slots=True)
class Spell:
    """For how long the same has been heard without a break; the time in which nothing was heard does not count."""

    what: JobState | Literal["absent"] | None = None
    lasted: timedelta = timedelta()
    heard_at: datetime | None = None

    def hear(self, what: JobState | Literal["absent"], now: datetime) -> None:
        """Note what was heard now."""
        if what != self.what:
            self.what, self.lasted = what, timedelta()
        elif self.heard_at is not None:
            self.lasted += now - self.heard_at
        self.heard_at = now

    def hear_nothing(self) -> None:
        """Note that nobody answered: the spell goes on, but not its time."""
        self.heard_at = None


@dataclass(slots=True, kw_only=True)
class Watched:
    """A job, or an element of an array, with all that has been heard of it."""

    spec: JobSpec
    job: JobId
    changes: asyncio.Queue[Change | BaseException]
    offsets: dict[str, int]
    spell: Spell = field(default_factory=Spell)
    seen: StateSeen | None = None
    raw: int | None = None
    restarts: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    outcome: JobOutcome | None = None
    outcome_at: datetime | None = None
    remark: str = ""
    last_stderr: bytes = b""
    is_over_memory: bool = False
    is_missing: bool = False
    has_more: bool = False
    is_unanswered: bool = False
    told: bool = False

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        job: JobId,
        changes: asyncio.Queue[Change | BaseException],
        offsets: tuple[int, int],
    ) -> Watched:
        """Begin to watch a job, its logs from these offsets on."""
        return cls(spec=spec, job=job, changes=changes, offsets={"1": offsets[0], "2": offsets[1], "3": 0})

    @property
    def state(self) -> JobState | None:
        """The state that Slurm told last, unless it does not know the job now."""
        return self.spell.what if isinstance(self.spell.what, JobState) else None

    @property
    def is_ending(self) -> bool:
        """Whether the job is about to be over, so that it is worth asking again soon."""
        has_ended = self.state is not None and self.state.is_final
        return has_ended or self.is_missing or self._own_outcome() is not None

    def files(self, key: str) -> Iterator[str]:
        """Give the files to look at, a line each; of a long array, the elements that wait have none yet."""
        is_waiting = self.state is not None and self.state.is_waiting
        if self.job.task is not None and is_waiting and not self.restarts and not self.is_missing:
            return
        spec = self.spec
        stderr = None if spec.stderr == spec.stdout else spec.stderr
        for kind, path in (("o", spec.outcome), ("1", spec.stdout), ("2", stderr), ("3", spec.messages)):
            if path is not None:
                yield f"f\t{key}:{kind}\t{self.offsets.get(kind, 0)}\t{self._place(path)}"

    def take(self, kind: str, piece: Piece, now: datetime) -> None:
        """Take what a file has grown by."""
        if kind == "o":
            self._take_outcome(piece.content, now)
        elif piece.offset == self.offsets[kind]:
            self.offsets[kind] += len(piece.content)
            if piece.content:
                self.tell(LogGrew(self.job, _STREAMS[kind], piece.offset, piece.content))
            if kind != "3":
                self._look_for_daemon(piece.content)

    def hear(
        self,
        queue: Queue | Unreachable,
        accounts: tuple[AccountRow, ...] | Unreachable | None,
        now: datetime,
    ) -> None:
        """Take what Slurm tells; accounts are there where they were asked for."""
        row = None if isinstance(queue, Unreachable) else queue.get((self.job.number, self.job.task))
        if row is not None:
            self._hear_queue(row, now)
        elif isinstance(queue, Unreachable):
            self.spell.hear_nothing()
        elif accounts is None:
            # The queue has forgotten it: next time accounting is asked as well.
            self.is_missing = True
            self.spell.hear_nothing()
        else:
            self._hear_accounts(accounts, now)

    def has_news(self) -> bool:
        """Whether anything was told since this was asked last."""
        told, self.told = self.told, False
        return told

    def verdict(self, deadlines: Deadlines, now: datetime) -> Ending | None:
        """Say how the job ended, where that is clear and all of its output was told."""
        outcome = self._own_outcome()
        is_told = self.spell.heard_at is not None or (self.state is not None and self.state.is_final)
        known = Evidence(
            job=self.job,
            outcome=outcome,
            outcome_for=timedelta() if self.outcome_at is None else now - self.outcome_at,
            state=self.state if is_told else None,
            state_for=self.spell.lasted,
            exit_code=self.exit_code,
            signal=self.signal,
            reason=self.reason,
            absent_for=self.spell.lasted if self.spell.what == "absent" else None,
            is_over_memory=self.is_over_memory,
            may_be_requeued=self.spec.requeue,
            remark=self.remark,
        )
        return None if self.has_more else judge(known, deadlines)

    def tell(self, change: Change) -> None:
        """Tell whoever listens; that nobody answers is told once."""
        if isinstance(change, Unanswered):
            if self.is_unanswered:
                return
            self.is_unanswered = True
        self.told = True
        self.changes.put_nowait(change)

    def nothing_heard(self) -> None:
        """Note that nobody answered."""
        self.spell.hear_nothing()

    def _own_outcome(self) -> JobOutcome | None:
        """The outcome file's content, if it is of this very run of the job."""
        if self.outcome is None:
            return None
        is_ours = self.outcome.is_of(self.job, raw=self.raw, restart=self.restarts)
        self.remark = "" if is_ours else f"an outcome file of another run was there (restart {self.outcome.restart})"
        return self.outcome if is_ours else None

    def _is_of(self, row: AccountRow) -> bool:
        # Of a heterogeneous job the leader's row counts: its id is the job's.
        is_leader = row.job.task is not None or row.raw == row.job.number
        return is_leader and row.job.number == self.job.number and row.job.task == self.job.task

    def _hear_queue(self, row: QueueRow, now: datetime) -> None:
        self.is_missing = self.is_unanswered = False
        self.raw, self.restarts = row.raw, row.restarts
        self.reason = row.reason
        self.exit_code, self.signal = (row.exit_code, row.signal) if row.state.is_final else (None, None)
        self.spell.hear(row.state, now)
        self._see(StateSeen(self.job, row.state, row.reason, row.start, row.restarts, row.nodes))

    def _hear_accounts(self, accounts: tuple[AccountRow, ...] | Unreachable, now: datetime) -> None:
        if isinstance(accounts, Unreachable):
            self.tell(Unanswered(self.job, accounts.reason))
            self.spell.hear_nothing()
            return
        self.is_unanswered = False
        wholes = [row for row in accounts if row.step is None]
        # Elements that never started share a row of their array's.
        runs = [row for row in wholes if self._is_of(row)] or [row for row in wholes if row.job == self.job.whole]
        last = runs[-1] if runs else None
        if last is None or not last.state.is_final:
            # Accounts lag behind: what still runs there, but is in no queue, is gone all the same.
            self.spell.hear("absent", now)
            return
        self.raw, self.restarts = last.raw, max(self.restarts or 0, len(runs) - 1)
        self.exit_code, self.signal, self.reason = last.exit_code, last.signal, ""
        self.spell.hear(last.state, now)
        self._see(StateSeen(self.job, last.state, "", last.start, self.restarts, last.nodes))

    def _see(self, seen: StateSeen) -> None:
        if seen != self.seen:
            self.seen = seen
            self.tell(seen)

    def _take_outcome(self, content: bytes, now: datetime) -> None:
        try:
            outcome = JobOutcome.of(content)
        except OutcomeBroken as error:
            self.remark = str(error)
            return
        if outcome != self.outcome:
            self.outcome, self.outcome_at = outcome, now

    def _look_for_daemon(self, content: bytes) -> None:
        self.last_stderr = (self.last_stderr + content)[-_LAST_BYTES:]
        self.is_over_memory = self.is_over_memory or parse.was_over_memory(self.last_stderr)

    def _place(self, path: PurePosixPath) -> str:
        text = str(path)
        return text if self.job.task is None else text.replace("%a", str(self.job.task))
