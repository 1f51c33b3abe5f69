"""The life of a run: stage, submit, await, collect. Each step may be repeated after any crash, and finds what it did.

A run that succeeded is not run again. One that is on its way is joined, from wherever it was started, and one that has
ended is collected. One that failed gets a new attempt. Nothing here knows what kind of place the run has: a cluster
answers the same questions as this machine (`core.runs.host`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import OutputBusy, RunElsewhere, SlurmRefused
from sluiceway.core.events import tell
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.registry import notes
from sluiceway.core.registry.asker import by_whom
from sluiceway.core.registry.runs import State
from sluiceway.core.runs import messages, peers, streams
from sluiceway.core.runs.asked import written
from sluiceway.core.runs.folder import AttemptFolder, RunFolder
from sluiceway.core.runs.host import Attempt, JobHost, News, Waiting, keep_code
from sluiceway.core.runs.messages import Lines, LogLine, Message
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.remains import gather, manifest_of, receipt_of
from sluiceway.core.runs.retries import next_attempt, since
from sluiceway.core.slurm.job import Ending
from sluiceway.core.store.durable import content_of, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.request import Element, RunRequest
    from sluiceway.core.runs.retries import Retries
    from sluiceway.core.slurm.job import JobId

log = logging.getLogger(__name__)

_PAUSE = timedelta(milliseconds=100)


class Step(StrEnum):
    """What is done on the way of a run, in this order; each is told when it is done, and may be the last thing done."""

    CHOSEN = "attempt chosen"
    STAGED = "attempt staged"
    INTENDED = "attempt intended"
    SUBMITTED = "job submitted"
    ENDED = "job ended"
    COLLECTED = "outputs collected"
    SEALED = "receipt written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that a job printed: on stdout or stderr."""

    stream: str
    text: str


Heard = Line | Message | Waiting


async def nobody(_heard: Heard) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs of this machine's home, and how to wait."""

    home: Path
    clock: Clock

    def folder(self, key: str) -> RunFolder:
        """Give the folder of a run."""
        return RunFolder(base=PurePosixPath(self.home.absolute()), key=key)

    def receipt(self, folder: RunFolder) -> RunReceipt | None:
        """Read how the last finished attempt ended; none where there is none that can be read."""
        content = content_of(Path(folder.receipt))
        try:
            return None if content is None else RunReceipt.of(content)
        except (ValueError, KeyError, TypeError) as error:
            # Everything in it can be had again: from the attempt's outcome, or by running.
            tell(log, "receipt unreadable", level=logging.WARNING, run_id=folder.run_id, reason=str(error))
            return None

    def last(self, folder: RunFolder) -> AttemptFolder | None:
        """Give the latest attempt; none where there is none."""
        with contextlib.suppress(FileNotFoundError):
            found = folder.attempts(each.name for each in Path(folder.path).iterdir())
            return found[-1] if found else None
        return None

    @contextlib.asynccontextmanager
    async def alone(self, folder: RunFolder) -> AsyncIterator[None]:
        """Keep everyone else from changing this run's attempts, waiting for them where they do."""
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive(Path(folder.path), purpose="run"))
                except OutputBusy:
                    await self.clock.sleep(_PAUSE)
                else:
                    break
            yield


def intent_of(folder: AttemptFolder) -> dict[str, Any] | None:
    """Read where an attempt was to run; none where it was not wholly staged."""
    content = content_of(Path(folder.intent))
    return None if content is None else dict(json.loads(content))


def plan(request: RunRequest, *, runs: Runs, fresh: bool = False) -> tuple[int, str]:
    """Say which attempt a run would get, and whether it would be returned, joined or started; nothing is changed."""
    folder = runs.folder(request.key)
    receipt = runs.receipt(folder)
    if receipt is not None and receipt.succeeded and not fresh and receipt.is_whole:
        return receipt.attempt, "return"
    attempt = _next(runs, folder, receipt)
    return attempt.number, "start" if intent_of(attempt) is None else "join"


async def stage(
    request: RunRequest,
    *,
    runs: Runs,
    host: JobHost,
    place: Place,
    fresh: bool = False,
    divide: Callable[[AttemptFolder, RunReceipt | None], tuple[Element, ...]] | None = None,
) -> Attempt | RunReceipt:
    """Give the receipt of a run that succeeded, else the attempt that is on its way, else a new one, ready to start.

    Args:
        request: What is to be done.
        runs: Where runs are kept.
        host: The place where it is to run.
        place: The place's name.
        fresh: Run it again although it has succeeded.
        divide: Gives the elements of an attempt that is an array.
    """
    folder = runs.folder(request.key)
    async with runs.alone(folder):
        receipt = await asyncio.to_thread(runs.receipt, folder)
        if receipt is not None and receipt.succeeded and not fresh:
            if await asyncio.to_thread(lambda: receipt.is_whole):
                _hit(receipt)
                return receipt
            tell(log, "outputs damaged", level=logging.WARNING, run_id=folder.run_id, attempt=receipt.attempt)
        chosen = _next(runs, folder, receipt)
        first = await asyncio.to_thread(_since, chosen, receipt, fresh=fresh)
        attempt = Attempt(request=request, folder=chosen, place=str(place), since=first)
        if divide is not None:
            before = None if fresh else receipt
            attempt = replace(attempt, elements=await asyncio.to_thread(divide, attempt.folder, before))
        _done(Step.CHOSEN, attempt.folder)
        await _ready(attempt, runs=runs, host=host)
    await notes.note(attempt.folder)
    return attempt


async def submit(attempt: Attempt, *, runs: Runs, host: JobHost) -> JobId:
    """Start an attempt unless it was started before."""
    try:
        async with runs.alone(attempt.folder.run):
            job = await host.submit(attempt)
    except SlurmRefused:
        await notes.note(attempt.folder)
        raise
    _done(Step.SUBMITTED, attempt.folder, job_id=str(job))
    await notes.note(attempt.folder, state=State.RUNNING)
    return job


async def await_end(
    attempt: Attempt, job: JobId, *, host: JobHost, heard: Callable[[Heard], Awaitable[None]] = nobody
) -> Ending:
    """Wait until a job has ended; everything that it says is heard, from its beginning."""
    async with streams.sealing(attempt):
        async for each in follow(attempt.folder, job, host=host):
            if isinstance(each, Ending):
                _done(Step.ENDED, attempt.folder, job_id=str(job), ending=each.kind, evidence=each.evidence)
                await notes.note(attempt.folder, state=State.ENDED)
                return each
            await heard(each)
    raise AssertionError("a host tells last how a job ended")


async def follow(folder: AttemptFolder, job: JobId, *, host: JobHost) -> AsyncIterator[Heard | Ending]:
    """Give what a job says line by line, and last how it ended."""
    ear = Ear()
    async for each in host.watch(folder, job):
        for heard in ear.hear(each):
            yield heard
        if isinstance(each, Ending):
            yield each


async def collect(attempt: Attempt, ending: Ending, *, runs: Runs, host: JobHost) -> RunReceipt:
    """Bring home what an attempt made, and write the receipt, whether it succeeded or not."""
    remains = await gather(attempt, ending, host=host, clock=runs.clock)
    if attempt.request.markers:
        await streams.collect(attempt)
    _done(Step.COLLECTED, attempt.folder, outputs=len(remains.outputs))
    # Who waits for accounting waits for nothing that matters here: what it does not know yet is left out.
    used = await host.used(attempt.folder, waits=False)
    receipt = replace(receipt_of(attempt, ending, remains), usage=None if used is None else used.as_json())
    await seal(await asyncio.to_thread(manifest_of, attempt.request, receipt), attempt, runs=runs)
    await keep(receipt, attempt, runs=runs)
    return receipt


async def seal(manifest: Manifest, attempt: Attempt, *, runs: Runs) -> None:
    """Enter into the ledger how what an attempt made came to be."""
    await asyncio.to_thread(ledger_here(runs.clock).enter, manifest, Path(attempt.folder.path))


async def keep(receipt: RunReceipt, attempt: Attempt, *, runs: Runs) -> None:
    """Write the receipt of an attempt, unless a newer one has its receipt."""
    async with runs.alone(attempt.folder.run):
        newer = await asyncio.to_thread(runs.receipt, attempt.folder.run)
        await asyncio.to_thread(write_whole, Path(attempt.folder.receipt), receipt.to_bytes())
        # Somebody else may have collected this one, found it failed, and be further by now.
        if newer is None or newer.attempt <= receipt.attempt:
            await asyncio.to_thread(write_whole, Path(attempt.folder.run.receipt), receipt.to_bytes())
    _done(Step.SEALED, attempt.folder, ending=receipt.ending, why=receipt.why)
    await notes.note(attempt.folder)


async def cancel(folder: AttemptFolder, job: JobId, *, runs: Runs, host: JobHost) -> None:
    """End a job, and come back when it has ended; the same request then starts a new attempt."""
    wanted = {"wanted": runs.clock.now().isoformat()}
    await asyncio.to_thread(write_whole, Path(folder.cancelled), json.dumps(wanted).encode())
    await host.cancel(folder, job)
    ended = {**wanted, "ended": runs.clock.now().isoformat()}
    await asyncio.to_thread(write_whole, Path(folder.cancelled), json.dumps(ended).encode())


async def run(  # noqa: PLR0913 - one per choice of whoever asks
    request: RunRequest,
    *,
    runs: Runs,
    host: JobHost,
    place: Place,
    fresh: bool = False,
    heard: Callable[[Heard], Awaitable[None]] = nobody,
    retries: Retries | None = None,
) -> RunReceipt:
    """Do all of it: give the receipt of a run that succeeded, or run it, join it or collect it, and perhaps again."""

    async def lived() -> RunReceipt:
        return await _lived(request, runs=runs, host=host, place=place, fresh=fresh, heard=heard, retries=retries)

    return await peers.once(request.key, runs, lived)


async def _lived(  # noqa: PLR0913 - as above
    request: RunRequest,
    *,
    runs: Runs,
    host: JobHost,
    place: Place,
    fresh: bool,
    heard: Callable[[Heard], Awaitable[None]],
    retries: Retries | None,
) -> RunReceipt:
    receipt: RunReceipt | None = None
    while True:
        staged = await stage(request, runs=runs, host=host, place=place, fresh=fresh and receipt is None)
        if isinstance(staged, RunReceipt):
            return staged
        try:
            job = await submit(staged, runs=runs, host=host)
        except SlurmRefused as error:
            if receipt is None:
                raise
            # What it asked for after the first failure is more than there is: that failure is what counts.
            await heard(LogLine(text=str(error), level="warning"))
            return receipt
        ending = await await_end(staged, job, host=host, heard=heard)
        receipt = await collect(staged, ending, runs=runs, host=host)
        again = None
        if retries is not None:
            again = await next_attempt(receipt, folder=staged.folder, host=host, policy=retries)
        if again is None:
            return receipt
        await heard(LogLine(text=again.why, level="warning"))


def _next(runs: Runs, folder: RunFolder, receipt: RunReceipt | None) -> AttemptFolder:
    """Give the attempt whose end nobody has seen, or else a new one."""
    last = runs.last(folder)
    if last is None:
        return folder.attempt(1)
    is_over = (receipt is not None and receipt.attempt >= last.number) or _was_ended(last)
    return folder.attempt(last.number + 1) if is_over else last


def _was_ended(folder: AttemptFolder) -> bool:
    """Whether somebody wanted the attempt to end and saw it end; one that may be running yet is not over."""
    return b'"ended"' in (content_of(Path(folder.cancelled)) or b"")


def _since(folder: AttemptFolder, receipt: RunReceipt | None, *, fresh: bool) -> int:
    """Say with which attempt those begin whose checkpoint this one goes on from: the failed ones right before it."""
    if intent_of(folder) is not None:
        return since(folder)
    has_succeeded = receipt is not None and receipt.succeeded
    is_first = folder.number == 1 or fresh or has_succeeded
    return folder.number if is_first else since(folder.run.attempt(folder.number - 1))


async def _ready(attempt: Attempt, *, runs: Runs, host: JobHost) -> None:
    """Stage an attempt unless that was done before; the intent is written when all else is there."""
    folder = attempt.folder
    intent = await asyncio.to_thread(intent_of, folder)
    if intent is None:
        await host.stage(attempt)
        _done(Step.STAGED, folder)
        # Where the attempt runs elsewhere, this machine keeps what it brings home.
        await asyncio.to_thread(Path(folder.path).mkdir, exist_ok=True)
        await asyncio.to_thread(keep_code, attempt)
        asked: dict[str, Any] = {"token": folder.token, "place": attempt.place, "at": runs.clock.now().isoformat()}
        asked |= {"key": folder.run.key, "what": attempt.request.what, "since": attempt.since}
        asked |= {"by": by_whom(), "request": written(attempt.request)}
        content = json.dumps(asked).encode()
        await asyncio.to_thread(write_whole, Path(folder.intent), content)
        _done(Step.INTENDED, folder, place=attempt.place)
    elif intent["place"] != attempt.place:
        raise RunElsewhere(run=folder.run.run_id, place=intent["place"])


class Ear:
    """Makes lines and messages of what the files of a job, or of one element of an array, grow by."""

    def __init__(self) -> None:
        """Begin at the beginning of all files."""
        self._stdout, self._stderr, self._told = Lines(), Lines(), Lines()

    def hear(self, each: News | Waiting | Ending) -> Iterator[Heard]:
        """Give what is whole now; at the end, what is left."""
        match each:
            case News():
                yield from _lines("stdout", self._stdout.feed(each.stdout))
                yield from _lines("stderr", self._stderr.feed(each.stderr))
                yield from map(messages.parse, self._told.feed(each.messages))
            case Waiting():
                yield each
            case Ending():
                yield from _lines("stdout", self._stdout.end())
                yield from _lines("stderr", self._stderr.end())
                yield from map(messages.parse, self._told.end())


def _lines(stream: str, lines: Iterator[bytes]) -> Iterator[Line]:
    return (Line(stream=stream, text=each.decode(errors="replace")) for each in lines)


def _hit(receipt: RunReceipt) -> None:
    """Say why nothing is done."""
    reason = "the same work on the same contents has succeeded, and all that it made is as it was"
    output = str(receipt.folder)
    tell(log, "cache hit", run_id=receipt.run_id, attempt=receipt.attempt, output=output, reason=reason)


def _done(step: Step, folder: AttemptFolder, **figures: str | int | None) -> None:
    tell(log, step, level=logging.INFO, run_id=folder.run.run_id, attempt=folder.number, **figures)
