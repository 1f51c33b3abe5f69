"""What becomes of a run whose attempt failed for a reason that is none of its own: another attempt, asked for better.

Out of memory asks for more of it, out of time for more of that or goes on from its checkpoint, a node that failed is
left out, and a job that was preempted is asked for as it was. An error of the payload is nobody's to retry. Each cause
has its bound, and all of them together have one.

What was decided is written down beside the attempts before the next one is staged. So whoever comes after a crash asks
for the same, and counts on from there.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sluiceway.core.events import tell
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Memory, Resources, format_walltime, parse_walltime
from sluiceway.core.store.durable import content_of, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.slurm.usage import JobUsage

log = logging.getLogger(__name__)

T = TypeVar("T", Memory, timedelta)

_GAVE_UP = (EndingKind.FAILED, EndingKind.KILLED)
_BOUNDS = {
    EndingKind.OUT_OF_MEMORY: 3,
    EndingKind.TIMEOUT: 3,
    EndingKind.NODE_FAILURE: 3,
    EndingKind.PREEMPTED: 10,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a run may be tried again: for each cause, and in all; and how much more it then asks for."""

    most: int = 3
    bounds: Mapping[EndingKind, int] = field(default_factory=lambda: dict(_BOUNDS))
    more_memory: float = 2.0
    more_time: float = 2.0
    largest_memory: Memory | None = None
    longest_time: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What is known of an attempt that did not succeed: what it asked for, was given, and left."""

    kind: EndingKind
    asked: Resources
    given_memory: Memory | None = None
    elapsed: timedelta | None = None
    nodes: str = ""
    has_checkpoint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the next attempt asks for at least, and which nodes it leaves out."""

    memory: Memory | None = None
    memory_per_cpu: Memory | None = None
    time: timedelta | None = None
    exclude: str | None = None

    def on(self, asked: Resources) -> Resources:
        """Give what is asked for with this change made.

        >>> Change(memory=Memory(400)).on(Resources(memory="200M", cpus=2)).options
        ('--cpus-per-task=2', '--mem=400M')
        """
        wished = asked.model_dump(exclude_unset=True)
        if self.memory is not None and asked.memory_per_cpu is None and asked.memory != Memory(0):
            wished["memory"] = max(self.memory, asked.memory or self.memory)
        if self.memory_per_cpu is not None and asked.memory_per_cpu is not None:
            wished["memory_per_cpu"] = max(self.memory_per_cpu, asked.memory_per_cpu)
        if self.time is not None:
            wished["time"] = max(self.time, asked.time or self.time)
        if self.exclude is not None and asked.nodelist is None:
            wished["exclude"] = _with_node(asked.exclude, self.exclude)
        return Resources.model_validate(wished)

    def joined(self, other: Change) -> Change:
        """Give the change that is enough for both.

        >>> str(Change(memory=Memory(400)).joined(Change(memory=Memory(200), exclude="node1")))
        'memory 400M, not on node1'
        """
        return Change(
            memory=_larger(self.memory, other.memory),
            memory_per_cpu=_larger(self.memory_per_cpu, other.memory_per_cpu),
            time=_larger(self.time, other.time),
            exclude=self.exclude if other.exclude is None else _with_node(self.exclude, other.exclude),
        )

    def __str__(self) -> str:
        """Say what is different; as it was, where nothing is."""
        told = [
            f"{what} {value if not isinstance(value, timedelta) else format_walltime(value)}"
            for what, value in (
                ("memory", self.memory),
                ("memory for each CPU", self.memory_per_cpu),
                ("time", self.time),
                ("not on", self.exclude),
            )
            if value is not None
        ]
        return ", ".join(told) or "as it was"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """There is another attempt: which, why, after which others, and what it asks for.

    Of an array, `items` says for which of its items that is so, and after which failures of each.
    """

    attempt: int
    causes: tuple[EndingKind, ...]
    change: Change
    why: str
    items: Mapping[int, tuple[EndingKind, ...]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write it down."""
        change = {name: _shown(getattr(self.change, name)) for name in Change.__slots__}
        fields = {"attempt": self.attempt, "causes": self.causes, "change": change, "why": self.why}
        if self.items:
            fields["items"] = dict(self.items)
        return json.dumps(fields, indent=1).encode()

    @classmethod
    def of(cls, content: bytes) -> Again:
        """Read what was written down."""
        fields: dict[str, Any] = json.loads(content)
        given = {name: value for name, value in fields["change"].items() if value is not None}
        change = Change(
            **{name: Memory.parse(given[name]) for name in ("memory", "memory_per_cpu") if name in given},
            time=parse_walltime(given["time"]) if "time" in given else None,
            exclude=given.get("exclude"),
        )
        causes = tuple(map(EndingKind, fields["causes"]))
        items = {int(item): tuple(map(EndingKind, each)) for item, each in fields.get("items", {}).items()}
        return cls(attempt=fields["attempt"], causes=causes, change=change, why=fields["why"], items=items)


def decide(policy: Retries, failed: Failed, causes: Sequence[EndingKind], before: Change) -> Change | str:
    """Say what the next attempt asks for, or why there is none.

    Args:
        policy: How often, and how much more.
        failed: The attempt that failed.
        causes: Why there were attempts before this one.
        before: What was changed for it already.
    """
    bound = policy.bounds.get(failed.kind, 0)
    if not bound:
        return f"{failed.kind} is not retried"
    if len(causes) >= policy.most:
        return f"it was tried again {len(causes)} times already"
    if causes.count(failed.kind) >= bound:
        return f"it was tried again {bound} times for {failed.kind} already"
    remedy = _REMEDIES.get(failed.kind)
    return before if remedy is None else remedy(policy, failed, before)


def _more_memory(policy: Retries, failed: Failed, before: Change) -> Change | str:
    asked = failed.asked
    had = asked.memory_per_cpu or asked.memory or failed.given_memory
    if had is None or not had.mebibytes:
        return "nobody knows how much memory it had, or it had all of its node's"
    more = had.times(policy.more_memory)
    if policy.largest_memory is not None:
        more = min(more, policy.largest_memory)
    if more <= had:
        return f"it had {had} of memory, which is the most it may ask for"
    if asked.memory_per_cpu is not None:
        return _changed(before, memory_per_cpu=more)
    return _changed(before, memory=more)


def _more_time(policy: Retries, failed: Failed, before: Change) -> Change | str:
    if failed.has_checkpoint:
        return before
    had = failed.asked.time or failed.elapsed
    if not had:
        return "nobody knows how much time it had, and it left no checkpoint"
    more = had * policy.more_time
    if policy.longest_time is not None:
        more = min(more, policy.longest_time)
    if more <= had:
        return f"it had {format_walltime(had)}, which is the longest it may ask for, and left no checkpoint"
    return _changed(before, time=more)


def _elsewhere(_policy: Retries, failed: Failed, before: Change) -> Change:
    # Of several nodes nobody says which one failed; Slurm itself gives none that is down.
    is_one = failed.nodes and not set(failed.nodes) & set(",[")
    if not is_one or failed.asked.nodelist is not None:
        return before
    return _changed(before, exclude=_with_node(before.exclude, failed.nodes))


# A job that was preempted is asked for as it was.
_REMEDIES = {
    EndingKind.OUT_OF_MEMORY: _more_memory,
    EndingKind.TIMEOUT: _more_time,
    EndingKind.NODE_FAILURE: _elsewhere,
}


def _changed(before: Change, **fields: Any) -> Change:
    return Change(**{**{name: getattr(before, name) for name in Change.__slots__}, **fields})


def _with_node(known: str | None, nodes: str) -> str:
    if known is None:
        return nodes
    missing = [each for each in nodes.split(",") if each not in known.split(",")]
    return ",".join([known, *missing])


def _larger(one: T | None, other: T | None) -> T | None:
    known = [each for each in (one, other) if each is not None]
    return max(known, default=None)


def _shown(value: Memory | timedelta | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return format_walltime(value) if isinstance(value, timedelta) else str(value)


def since(folder: AttemptFolder) -> int:
    """Say with which attempt those began whose checkpoint this one goes on from."""
    intent: dict[str, Any] = json.loads(content_of(Path(folder.intent)) or b"{}")
    return int(intent.get("since", folder.number))


def kept_change(folder: AttemptFolder) -> Again | None:
    """Read why this attempt was made, where it is another one after a failure."""
    content = content_of(Path(folder.run.again))
    again = None if content is None else Again.of(content)
    return again if again is not None and again.attempt == folder.number else None


async def next_attempt(receipt: RunReceipt, *, folder: AttemptFolder, host: JobHost, policy: Retries) -> Again | None:
    """Decide whether there is another attempt after this one, and write it down; it then is the run's next."""
    if receipt.succeeded:
        return None
    before = await asyncio.to_thread(kept_change, folder)
    causes = () if before is None else before.causes
    failed = await _failed(receipt, folder=folder, host=host)
    change = Change() if before is None else before.change
    decided = decide(policy, failed, causes, change)
    run_id, number = folder.run.run_id, folder.number
    if isinstance(decided, str):
        tell(log, "no further attempt", run_id=run_id, attempt=number, ending=receipt.ending, because=decided)
        return None
    goes_on = " going on from its checkpoint" if failed.kind is EndingKind.TIMEOUT and failed.has_checkpoint else ""
    why = f"attempt {number} ended: {failed.kind}; again{goes_on}, {decided}"
    again = Again(attempt=number + 1, causes=(*causes, failed.kind), change=decided, why=why)
    await asyncio.to_thread(write_whole, Path(folder.run.again), again.to_bytes())
    tell(log, "another attempt", level=logging.WARNING, run_id=run_id, attempt=again.attempt, because=why)
    return again


async def _failed(receipt: RunReceipt, *, folder: AttemptFolder, host: JobHost) -> Failed:
    """Gather what is known of an attempt that failed, as far as its kind needs it."""
    kind, asked = receipt.ending, await asyncio.to_thread(host.asked, folder)
    may_be = await asyncio.to_thread(may_be_retried, kind, folder)
    if not may_be:
        return Failed(kind=kind, asked=asked)
    has_checkpoint = await host.has_checkpoint(folder, await asyncio.to_thread(since, folder))
    return failed(kind, asked, await host.used(folder), has_checkpoint=has_checkpoint)


def may_be_retried(kind: EndingKind, folder: AttemptFolder) -> bool:
    """Whether it may be that an attempt, or an element, that ended so is tried again: more is to be asked of it."""
    return kind in _BOUNDS or (kind in _GAVE_UP and _was_warned(folder))


def failed(kind: EndingKind, asked: Resources, used: JobUsage | None, *, has_checkpoint: bool) -> Failed:
    """Put together what is known of an attempt, or an element, that may be tried again."""
    if kind in _GAVE_UP and has_checkpoint:
        # It was told that its time is short, wrote its checkpoint and gave up, with whatever exit code.
        kind = EndingKind.TIMEOUT
    if used is None:
        return Failed(kind=kind, asked=asked, has_checkpoint=has_checkpoint)
    is_one = not set(used.nodes) & set(",[")
    return Failed(
        kind=kind,
        asked=asked,
        given_memory=Memory(used.memory >> 20) if used.memory and is_one else None,
        elapsed=used.elapsed,
        nodes=used.nodes,
        has_checkpoint=has_checkpoint,
    )


def _was_warned(folder: AttemptFolder) -> bool:
    outcome: dict[str, Any] = json.loads(content_of(Path(folder.outcome)) or b"{}")
    return bool(outcome.get("warned"))
