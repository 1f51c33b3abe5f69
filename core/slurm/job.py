"""What a job is: the order for it, its id, its state by Slurm's own name, and how it ended.

Slurm's words become these types in parse.py and nowhere else, and nothing here asks a machine anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from sluiceway.core.errors import OutcomeBroken, ResourcesInvalid

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import PurePosixPath

    from sluiceway.core.slurm.resources import Component, Resources


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class JobId:
    """Slurm's id of a job, of one element of an array, or of a heterogeneous job's leader.

    >>> JobId.parse("79;west")
    JobId(number=79, task=None, cluster='west')
    >>> str(JobId.parse("73_4"))
    '73_4'
    """

    _FORM: ClassVar[re.Pattern[str]] = re.compile(r"(\d+)(?:_(?:(\d+)|\[[^\]]*\]?))?(?:\+(\d+))?(?:;([^;\s]+))?")

    number: int
    task: int | None = None
    cluster: str | None = None

    @classmethod
    def parse(cls, text: str) -> JobId:
        """Read an id; of a component (79+1), or of elements that still wait (79_[2-9]), it is the id of the whole."""
        found = cls._FORM.fullmatch(text.strip())
        if found is None:
            raise ResourcesInvalid(option="job id", value=text, reason="it is no id of Slurm, such as 79, 79_4 or 79+1")
        number, task, _component, cluster = found.groups()
        return cls(int(number), None if task is None else int(task), cluster)

    @property
    def whole(self) -> JobId:
        """The job that this is an element of, or itself."""
        return JobId(self.number, None, self.cluster)

    def element(self, task: int) -> JobId:
        """Give one element of this array."""
        return JobId(self.number, task, self.cluster)

    def __str__(self) -> str:
        """Write the id as Slurm's commands take it; the cluster is an option of theirs."""
        return str(self.number) if self.task is None else f"{self.number}_{self.task}"


class JobState(StrEnum):
    """Every state of a job, by Slurm's own name (https://slurm.schedmd.com/job_state_codes.html)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    COMPLETING = "COMPLETING"
    CONFIGURING = "CONFIGURING"
    EXPEDITING = "EXPEDITING"
    POWER_UP_NODE = "POWER_UP_NODE"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESIZING = "RESIZING"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    REVOKED = "REVOKED"
    SIGNALING = "SIGNALING"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STAGE_OUT = "STAGE_OUT"
    STOPPED = "STOPPED"
    UPDATE_DB = "UPDATE_DB"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended, unless Slurm puts it back into the queue."""
        return self in _FINAL

    @property
    def may_return(self) -> bool:
        """Whether Slurm itself may put a job in this state back into the queue a moment later."""
        return self in _MAY_RETURN

    @property
    def is_waiting(self) -> bool:
        """Whether a job in this state has no nodes yet, or none any more and gets others."""
        return self in _WAITING

    @property
    def is_running(self) -> bool:
        """Whether a job in this state holds nodes: also one that is suspended, or on its way out."""
        return not (self.is_final or self.is_waiting)


_FINAL = frozenset(
    {
        JobState.COMPLETED,
        JobState.CANCELLED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
        JobState.PREEMPTED,
        JobState.BOOT_FAIL,
        JobState.DEADLINE,
        JobState.OUT_OF_MEMORY,
        JobState.LAUNCH_FAILED,
    }
)
_MAY_RETURN = frozenset({JobState.NODE_FAIL, JobState.PREEMPTED, JobState.BOOT_FAIL, JobState.LAUNCH_FAILED})
_WAITING = frozenset(
    {
        JobState.PENDING,
        JobState.REQUEUED,
        JobState.REQUEUE_FED,
        JobState.REQUEUE_HOLD,
        JobState.RESV_DEL_HOLD,
        JobState.REVOKED,
        JobState.SPECIAL_EXIT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Elements `offset` to `offset + count - 1` of a map, run as one array with the indices 0 to `count - 1`.

    Slurm caps the index, not the number: a map that is too long becomes several arrays, each told where it starts.

    >>> [(part.offset, part.count) for part in Array.split(250, largest=100)]
    [(0, 100), (100, 100), (200, 50)]
    """

    count: int
    offset: int = 0
    throttle: int | None = None

    def __post_init__(self) -> None:
        """Refuse what Slurm would refuse, or take for something else."""
        if self.count < 1 or self.offset < 0 or (self.throttle is not None and self.throttle < 1):
            reason = "count and throttle start at 1, the offset at 0"
            raise ResourcesInvalid(option="array", value=repr(self), reason=reason)

    @classmethod
    def split(cls, total: int, *, largest: int, throttle: int | None = None) -> tuple[Array, ...]:
        """Divide so many elements into arrays of at most `largest` elements."""
        starts = range(0, total, largest)
        return tuple(cls(count=min(largest, total - start), offset=start, throttle=throttle) for start in starts)

    def __str__(self) -> str:
        """Write the indices as sbatch takes them."""
        return f"0-{self.count - 1}" + ("" if self.throttle is None else f"%{self.throttle}")


class DependencyKind(StrEnum):
    """What has to become of another job before this one may start."""

    AFTER = "after"
    AFTER_ANY = "afterany"
    AFTER_OK = "afterok"
    AFTER_NOT_OK = "afternotok"
    AFTER_CORRESPONDING = "aftercorr"


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another job that this one waits for."""

    kind: DependencyKind
    job: JobId

    @classmethod
    def parse(cls, text: str) -> tuple[Dependency, ...]:
        """Read dependencies that must all be met, as sbatch takes them.

        >>> [str(each) for each in Dependency.parse("afterok:812:813_4,afterany:9")]
        ['afterok:812', 'afterok:813_4', 'afterany:9']
        """
        found = []
        for part in text.split(","):
            kind, *jobs = part.split(":")
            if kind not in set(DependencyKind) or not jobs:
                reason = f"write one of {', '.join(DependencyKind)}, a colon and ids of jobs"
                raise ResourcesInvalid(option="dependency", value=text, reason=reason)
            found += [cls(DependencyKind(kind), JobId.parse(job)) for job in jobs]
        return tuple(found)

    def __str__(self) -> str:
        """Write it as sbatch takes it."""
        return f"{self.kind}:{self.job}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """The order for one job: enough to write its script, to submit it, and to find it again by its token.

    `folder` is the attempt's folder, and the job's working directory. In `stdout`, `stderr`, `outcome` and `messages`,
    the two characters %a stand for an array's index; every other percent sign is itself. `messages` is one more file
    that grows. So long before the time limit as `signal_lead` says, the command gets the signal USR1.
    """

    token: str
    comment: str
    resources: Resources
    command: tuple[str, ...]
    folder: PurePosixPath
    stdout: PurePosixPath
    stderr: PurePosixPath
    outcome: PurePosixPath
    messages: PurePosixPath | None = None
    array: Array | None = None
    components: tuple[Component, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    signal_lead: timedelta | None = None
    requeue: bool = False

    def __post_init__(self) -> None:
        """Refuse what no script can say."""
        for name, value in (("token", self.token), ("folder", str(self.folder))):
            if not value or "\0" in value:
                raise ResourcesInvalid(option=name, value=value, reason="it is empty or holds a NUL")
        if not self.folder.is_absolute() or _CONTROL.search(str(self.folder)):
            reason = "it must be absolute, and hold no tab, newline or other control character"
            raise ResourcesInvalid(option="folder", value=str(self.folder), reason=reason)
        if not self.command or any("\0" in word for word in self.command):
            raise ResourcesInvalid(option="command", value=repr(self.command), reason="it is empty or holds a NUL")

    @property
    def script(self) -> PurePosixPath:
        """Where the batch script lies."""
        return self.folder / "job.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What the program on the node wrote when the work had ended: the first witness of how it ended."""

    job_id: int
    task: int | None
    restart: int
    exit_code: int | None
    signal: str | None
    started: datetime
    ended: datetime
    host: str
    peak_memory: int | None

    @classmethod
    def of(cls, content: bytes) -> JobOutcome:
        """Read an outcome file, or raise OutcomeBroken: half a file says nothing."""
        try:
            fields = json.loads(content)
            return cls(
                job_id=_whole(fields["job_id"]),
                task=_whole_or_none(fields["task"]),
                restart=_whole(fields["restart"]),
                exit_code=_whole_or_none(fields["exit_code"]),
                signal=_text_or_none(fields["signal"]),
                started=_moment(fields["started"]),
                ended=_moment(fields["ended"]),
                host=str(fields["host"]),
                peak_memory=_whole_or_none(fields["peak_memory"]),
            ).with_one_ending()
        except (ValueError, KeyError, TypeError) as error:
            text = content[:200].decode(errors="replace")
            raise OutcomeBroken(text=text, reason=f"{type(error).__name__}: {error}") from error

    def with_one_ending(self) -> JobOutcome:
        """Return this, or raise ValueError where it names no ending, or two."""
        if (self.exit_code is None) == (self.signal is None):
            raise ValueError("one of exit_code and signal must be there")
        return self

    def is_of(self, job: JobId, *, raw: int | None = None, restart: int | None = None) -> bool:
        """Whether this is that job's, and of that run of it where the number of restarts is known.

        An element of an array has an id of its own (`raw`) besides its array's; SLURM_JOB_ID holds the former.
        """
        return self.job_id in (job.number, raw) and self.task == job.task and restart in (None, self.restart)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class EndingKind(StrEnum):
    """How a job ended, each something a caller does differently."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "timeout"
    NODE_FAILURE = "node failure"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    VANISHED = "vanished"
    CONTRADICTORY = "contradictory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended, and by what evidence: outcome file, Slurm's state and absence, weighed in that order."""

    job: JobId
    kind: EndingKind
    evidence: str
    exit_code: int | None = None
    signal: str | None = None
    state: JobState | None = None
    outcome: JobOutcome | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the work was done."""
        return self.kind is EndingKind.SUCCEEDED
