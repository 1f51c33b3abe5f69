"""Slurm's answers as values; every wart of its text ends here.

An answer is known, absent or unreachable, told apart by exit code and stderr together. Silence counts as absence only
from a command that ran well; anything that cannot be read is unreachable, for a guess here would run a job twice.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluiceway.core.errors import ResourcesInvalid
from sluiceway.core.slurm.job import JobId, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from sluiceway.core.remote.shell import Completed

    T = TypeVar("T")

# The last field may hold the separator; each field of squeue ends with it.
QUEUE_FIELDS = ",".join(
    f"{name}:|"
    for name in (
        "JobArrayID", "JobID", "State", "RestartCnt", "exit_code", "Reason", "StartTime", "SubmitTime", "NodeList",
        "Comment",
    )
)  # fmt: skip
ACCOUNT_FIELDS = (
    "JobID,JobIDRaw,State,ExitCode,DerivedExitCode,Submit,Start,End,ElapsedRaw,TotalCPU,AllocCPUS,MaxRSS,AllocTRES,"
    "NodeList,Reason,JobName"
)

_NO_ACCOUNTING = re.compile(r"accounting storage is disabled", re.IGNORECASE)
_UNKNOWN_JOB = re.compile(r"Invalid job id specified", re.IGNORECASE)
_REFUSED = re.compile(
    r"error: (?!.*(?:slurmdbd|munge))|unrecognized option|allocation failure|not found", re.IGNORECASE
)
# What Slurm's commands say when a daemon, or the way to it, is at fault (slurm/src/common/slurm_errno.c).
_OUT_OF_REACH = re.compile(
    r"unable to contact|timed out|connection refused|connect failure|connection reset|zero bytes were transmitted"
    r"|transport endpoint|protocol authentication|protocol .*error|unexpected message|message receive failure"
    r"|slurm_persist_conn|sending message to slurmdbd|problem talking to the database|standby mode"
    r"|temporarily unable|resource temporarily unavailable|unable to connect to database|munge|no route to host"
    r"|communication(?:s)? (?:connection|failure|shutdown|send|receive|error)",
    re.IGNORECASE,
)
_OVER_MEMORY = re.compile(rb"slurmstepd[^\n]*(?:exceeded memory limit|oom[-_ ]kill)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody could say; the question must be asked again before anything is done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Slurm answered, and knows no such job."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Slurm answered, and will not do what it was asked; nothing was started."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A job, or an element of an array, as squeue tells it."""

    job: JobId
    raw: int
    state: JobState
    restarts: int
    exit_code: int | None
    signal: int | None
    reason: str
    start: datetime | None
    submitted: datetime | None
    nodes: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """A job, or a step of it, as sacct tells it."""

    job: JobId
    step: str | None
    raw: int
    state: JobState
    exit_code: int
    signal: int
    submitted: datetime | None
    start: datetime | None
    end: datetime | None
    elapsed_seconds: int
    cpu_seconds: float
    cpus: int
    peak_memory: int | None
    memory: int | None
    gpus: int
    nodes: str
    reason: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one command of a composed script said: its lines, its stderr, and its exit code."""

    lines: tuple[str, ...] = ()
    stderr: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a file that had grown."""

    key: str
    offset: int
    content: bytes


@dataclass(slots=True)
class Frames:
    """A composed script's answer, taken apart: each of its lines begins with @ and a name."""

    said: dict[str, Told] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)

    def of(self, name: str) -> Told:
        """Give what one command said; one that did not run said nothing, without an exit code."""
        return self.said.get(name, Told())

    def value(self, name: str) -> str:
        """Give a single value that the script told, or an empty text."""
        return "\n".join(self.of(name).lines)


def read_frames(done: Completed) -> Frames | Unreachable:
    """Take a composed script's answer apart; without its last line it is not whole, and counts for nothing."""
    lines = done.text.split("\n")
    if "@end" not in lines:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.exit_code}, signal {done.signal}"
        return Unreachable(f"{done.machine} gave no whole answer ({said[-300:]})")
    frames = Frames()
    try:
        for line in lines:
            if line.startswith("@"):
                _read_frame(frames, *line[1:].partition(" ")[::2])
    except (ValueError, binascii.Error) as error:
        return Unreachable(f"{done.machine} gave an answer that cannot be read ({error})")
    return frames


def _read_frame(frames: Frames, name: str, rest: str) -> None:
    if name == "file":
        key, offset, encoded = rest.split(" ")
        frames.pieces.append(Piece(key=key, offset=int(offset), content=base64.b64decode(encoded, validate=True)))
    else:
        before = frames.of(name.rstrip("!="))
        lines, stderr, exit_code = before.lines, before.stderr, before.exit_code
        if name.endswith("!"):
            stderr = f"{stderr}{rest}\n"
        elif name.endswith("="):
            exit_code = int(rest)
        else:
            lines = (*lines, rest)
        frames.said[name.rstrip("!=")] = Told(lines=lines, stderr=stderr, exit_code=exit_code)


def read_queue(told: Told) -> tuple[QueueRow, ...] | Unreachable:
    """Read what squeue said of our jobs; none is an answer too, where squeue ran well."""
    if told.exit_code != 0:
        return () if _UNKNOWN_JOB.search(told.stderr) else _silence("squeue", told)
    return _all_of("squeue", (line for line in told.lines if "|" in line), _queue_row)


def read_accounts(told: Told) -> tuple[AccountRow, ...] | Unreachable:
    """Read what sacct said; a cluster that keeps no accounts knows no job, and says so."""
    if told.exit_code != 0:
        return () if _NO_ACCOUNTING.search(told.stderr) else _silence("sacct", told)
    if _OUT_OF_REACH.search(told.stderr):
        return _silence("sacct", told)
    rows = _all_of("sacct", (line for line in told.lines if "|" in line), _account_row)
    # Until a job's first record has come, later ones stand there under this name, with wrong values.
    return rows if isinstance(rows, Unreachable) else tuple(row for row in rows if row.name != "allocation")


def read_submission(told: Told) -> JobId | Refused | Unreachable:
    """Read what sbatch said; whatever is neither an id nor a clear refusal leaves open whether there is a job."""
    answer = told.lines[-1] if told.lines else ""
    if told.exit_code == 0:
        job = read_id(answer)
        return job or Unreachable(f"sbatch answered {answer!r}, which is no id")
    definite = told.exit_code is not None and (told.exit_code < 124 or told.exit_code in (127, 255))
    if definite and _REFUSED.search(told.stderr) and not _OUT_OF_REACH.search(told.stderr):
        return Refused(told.stderr.strip())
    return _silence("sbatch", told)


def read_id(text: str) -> JobId | None:
    """Read an id such as sbatch prints it, or give none."""
    try:
        return JobId.parse(text)
    except ResourcesInvalid:
        return None


def was_over_memory(stderr: bytes) -> bool:
    """Whether a job's stderr holds the line that Slurm's daemon writes when it kills for memory."""
    return _OVER_MEMORY.search(stderr) is not None


def is_out_of_reach(stderr: str) -> bool:
    """Whether a command of Slurm complains of a daemon, or the way to it."""
    return _OUT_OF_REACH.search(stderr) is not None


def read_state(text: str) -> JobState:
    """Read a state; sacct adds who cancelled, and a plus sign where it cuts.

    >>> read_state("CANCELLED by 20001")
    <JobState.CANCELLED: 'CANCELLED'>
    """
    return JobState(text.split(maxsplit=1)[0].rstrip("+"))


def _silence(command: str, told: Told) -> Unreachable:
    said = told.stderr.strip()[-300:]
    return Unreachable(f"{command} ended with exit code {told.exit_code}: {said or 'it said nothing'}")


def _all_of(command: str, lines: Iterable[str], read: Callable[[str], T]) -> tuple[T, ...] | Unreachable:
    rows = []
    for line in lines:
        try:
            rows.append(read(line))
        except (ValueError, IndexError, ResourcesInvalid) as error:
            return Unreachable(f"{command} answered {line[:200]!r}, which cannot be read ({error})")
    return tuple(rows)


def _queue_row(line: str) -> QueueRow:
    job, raw, state, restarts, status, reason, start, submitted, nodes, comment = line.split("|", maxsplit=9)
    exit_code, signal = _wait_status(status)
    return QueueRow(
        job=JobId.parse(job),
        raw=int(raw),
        state=read_state(state),
        restarts=int(restarts),
        exit_code=exit_code,
        signal=signal,
        reason="" if reason == "None" else reason,
        start=_moment(start),
        submitted=_moment(submitted),
        nodes=nodes,
        comment=comment.removesuffix("|"),
    )


def _wait_status(text: str) -> tuple[int | None, int | None]:
    """Read a status as wait(2) gives it, or as code:signal."""
    if ":" in text:
        code, signal = text.split(":")
        return int(code), int(signal)
    if not text.isdecimal():
        return None, None
    status = int(text)
    return (os.WEXITSTATUS(status), 0) if os.WIFEXITED(status) else (0, os.WTERMSIG(status))


def _account_row(line: str) -> AccountRow:
    fields = line.split("|", maxsplit=15)
    job, _, step = fields[0].partition(".")
    code, _, signal = (fields[3] or "0:0").partition(":")
    return AccountRow(
        job=JobId.parse(job),
        step=step or None,
        raw=int(re.split(r"[._+]", fields[1])[0]),
        state=read_state(fields[2]),
        exit_code=int(code),
        signal=int(signal or 0),
        submitted=_moment(fields[5]),
        start=_moment(fields[6]),
        end=_moment(fields[7]),
        elapsed_seconds=int(fields[8] or 0),
        cpu_seconds=_seconds(fields[9]),
        cpus=int(fields[10] or 0),
        peak_memory=_bytes(fields[11]),
        memory=_bytes(_of_resources(fields[12], "mem")),
        gpus=int(_of_resources(fields[12], "gres/gpu") or 0),
        nodes=fields[13],
        reason=fields[14],
        name=fields[15],
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), tz=UTC) if text.isdecimal() and int(text) else None


def _seconds(text: str) -> float:
    """Read [days-][hours:]minutes:seconds.

    >>> _seconds("1-00:01:02"), _seconds("00:00.002")
    (86462.0, 0.002)
    """
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part or 0)
    return total + 86400 * int(days or 0)


def _of_resources(text: str, name: str) -> str:
    """Read one amount of a list of trackable resources.

    >>> _of_resources("billing=4,cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=8G,node=1", "gres/gpu")
    '2'
    """
    return dict(each.partition("=")[::2] for each in text.split(",")).get(name, "")


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    return None if found is None else int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))
