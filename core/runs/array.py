"""The life of an array: many calls of a function in one attempt, each element of it making some of them.

It has the steps of every run (`core.runs.run`). An item is done once its answer says that the function returned. A
receipt names the answers of all attempts, so that a new attempt makes only the calls that have none yet.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sluiceway.core.errors import SlurmRefused
from sluiceway.core.events import tell
from sluiceway.core.registry.coalesce import leading
from sluiceway.core.runs import callers, peers, run
from sluiceway.core.runs.answers import (
    Answer,
    answers_before,
    answers_in,
    array_manifest,
    array_receipt,
    bring_answers,
    failures_of,
    results_in,
)
from sluiceway.core.runs.array_retries import next_elements
from sluiceway.core.runs.host import JobHost, Waiting
from sluiceway.core.runs.messages import LogLine, Progress
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Element
from sluiceway.core.runs.run import Ear, Line, Step, nobody
from sluiceway.core.slurm.job import Array, Ending
from sluiceway.core.store.durable import content_of, write_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import PurePosixPath

    from sluiceway.core.errors import RunFailed
    from sluiceway.core.runs.array_retries import Chosen
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.function import Calls
    from sluiceway.core.runs.host import Attempt, News
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.receipt import Output
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.runs.retries import Retries
    from sluiceway.core.runs.run import Heard, Runs
    from sluiceway.core.slurm.job import JobId
    from sluiceway.core.slurm.usage import JobUsage


log = logging.getLogger(__name__)


class ArrayHost(JobHost, Protocol):
    """A place that runs arrays."""

    @abstractmethod
    async def largest(self) -> int:
        """Give how many elements one array may have."""

    @abstractmethod
    def watch_elements(self, attempt: Attempt, job: JobId) -> AsyncIterator[tuple[int, News | Waiting | Ending]]:
        """Tell what becomes of each element; the last thing told of it is how it ended."""

    @abstractmethod
    def follow_elements(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[tuple[int, News | Waiting | Ending]]:
        """Tell what becomes of each element that has begun, and start none."""

    async def used_by(
        self,
        folder: AttemptFolder,  # noqa: ARG002 - this machine keeps no accounts
        elements: Sequence[int],  # noqa: ARG002
    ) -> Mapping[int, JobUsage]:
        """Give what elements that have ended were given and used, as far as anybody knows."""
        return {}

    @abstractmethod
    async def fetch_all(self, folder: AttemptFolder, files: Mapping[PurePosixPath, Output | None]) -> None:
        """Bring files of the attempt's folder to this machine's, and check those whose digest is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Where arrays run, how many items an element has, how many elements there are at once, and who hears of them.

    Elements that fail for no reason of their own are tried again as often as `retries` allows. A `caller` that has a
    name can be asked what it waits for (`core.runs.callers`).
    """

    runs: Runs
    host: ArrayHost
    place: Place
    pack: int = 1
    throttle: int | None = None
    heard: Callable[[Heard], Awaitable[None]] = nobody
    retries: Retries | None = None
    caller: str | None = None

    async def answers(self, calls: Calls) -> list[Answer]:
        """Make the calls that have no result yet, and give all answers in the order of the items."""
        largest = self.pack * await self.host.largest()
        parts = [
            replace(calls, items=calls.items[each.offset : each.offset + each.count])
            for each in Array.split(len(calls.items), largest=largest)
        ]
        if self.throttle is not None:
            # The limit holds for all arrays together.
            return [answer for part in parts for answer in await self._part(part)]
        return [answer for found in await asyncio.gather(*map(self._part, parts)) for answer in found]

    async def _part(self, calls: Calls) -> list[Answer]:
        """Make the calls of one array."""
        request = await asyncio.to_thread(calls.array_request)
        with callers.waiting(self.runs, self.caller, request.key):
            async with leading(request.key, self.runs.home) as lead:
                answers = await self._made(request, calls)
                receipt = await asyncio.to_thread(self.runs.receipt, self.runs.folder(request.key))
                if receipt is not None:
                    await peers.settle(lead, receipt)
                return answers

    async def _made(self, request: RunRequest, calls: Calls) -> list[Answer]:
        """Make them, and those again that failed for no reason of their own."""
        n_items, chosen = len(calls.items), None
        failures: dict[int, RunFailed] = {}
        receipt: RunReceipt | None = None
        while True:
            divide = self._dividing(calls, None if chosen is None else chosen.elements)
            staged = await run.stage(request, runs=self.runs, host=self.host, place=self.place, divide=divide)
            if isinstance(staged, RunReceipt):
                return answers_in(staged, n_items, failures)
            try:
                job = await run.submit(staged, runs=self.runs, host=self.host)
            except SlurmRefused as error:
                if receipt is None:
                    raise
                # What they asked for is more than there is: how they failed before is what counts.
                await self.heard(LogLine(text=str(error), level="warning"))
                return answers_in(receipt, n_items, failures)
            endings = await self._endings(staged, job)
            receipt = await collect(staged, job, endings, n_items, runs=self.runs, host=self.host)
            failures |= await asyncio.to_thread(failures_of, staged, endings)
            chosen = await self._chosen(staged, endings)
            if chosen is None:
                return answers_in(receipt, n_items, failures)

    def _dividing(
        self, calls: Calls, again: tuple[Element, ...] | None
    ) -> Callable[[AttemptFolder, RunReceipt | None], tuple[Element, ...]]:
        """Give what divides calls into elements: those that are made again, or all calls that have no result."""

        def divide(folder: AttemptFolder, receipt: RunReceipt | None) -> tuple[Element, ...]:
            if run.intent_of(folder) is not None:
                return elements_of(folder)
            if again is not None:
                return again
            done = {} if receipt is None else results_in(receipt)
            missing = [number for number in range(len(calls.items)) if number not in done]
            starts = range(0, len(missing), self.pack)
            return tuple(calls.element(missing[start : start + self.pack]) for start in starts)

        return divide

    async def _chosen(self, attempt: Attempt, endings: Mapping[int, Ending]) -> Chosen | None:
        """Give the elements that are tried again, and say why; none where there are none."""
        if self.retries is None:
            return None
        chosen = await next_elements(attempt, endings, host=self.host, policy=self.retries)
        if chosen is not None:
            await self.heard(LogLine(text=chosen.again.why, level="warning"))
        return chosen

    async def _endings(self, attempt: Attempt, job: JobId) -> dict[int, Ending]:
        """Wait until every element has ended."""
        ears = [Ear() for _ in attempt.elements]
        waits_for = ""
        endings: dict[int, Ending] = {}
        async for index, seen in self.host.watch_elements(attempt, job):
            for each in ears[index].hear(seen):
                # A thousand elements wait for the same.
                if isinstance(each, Waiting) and each.reason == waits_for:
                    continue
                waits_for = each.reason if isinstance(each, Waiting) else waits_for
                told = replace(each, text=f"[{index}] {each.text}") if isinstance(each, Line) else each
                await self.heard(told)
            if isinstance(seen, Ending):
                endings[index] = seen
                await self.heard(Progress(done=len(endings), of=len(ears), what="elements"))
        _done(Step.ENDED, attempt, elements=len(endings))
        return endings


async def collect(
    attempt: Attempt, job: JobId, endings: Mapping[int, Ending], n_items: int, *, runs: Runs, host: ArrayHost
) -> RunReceipt:
    """Bring home what the elements of an attempt made, and write the receipt of all calls."""
    made = await bring_answers(attempt, endings, host)
    before = await asyncio.to_thread(runs.receipt, attempt.folder.run)
    earlier = await asyncio.to_thread(answers_before, before, attempt)
    receipt = await asyncio.to_thread(array_receipt, attempt, job, endings, (*earlier, *made), n_items)
    _done(Step.COLLECTED, attempt, outputs=len(made))
    await run.seal(await asyncio.to_thread(array_manifest, attempt, receipt), attempt, runs=runs)
    await run.keep(receipt, attempt, runs=runs)
    return receipt


def _done(step: Step, attempt: Attempt, **figures: int) -> None:
    folder = attempt.folder
    tell(log, step, level=logging.INFO, run_id=folder.run.run_id, attempt=folder.number, **figures)


def keep_elements(attempt: Attempt, **asked: Any) -> None:
    """Write down on this machine which element of an attempt does what, and what else was asked for."""
    elements = [{"arguments": each.arguments, "outputs": each.outputs} for each in attempt.elements]
    written = json.dumps({"elements": elements, **asked}).encode("ascii")
    write_whole(Path(attempt.folder.elements), written)


def kept_elements(folder: AttemptFolder) -> dict[str, Any]:
    """Read what was written down when the attempt was staged; of one that is no array, it has no elements."""
    return dict(json.loads(content_of(Path(folder.elements)) or b'{"elements": []}'))


def elements_of(folder: AttemptFolder) -> tuple[Element, ...]:
    """Give the elements of an attempt that was staged; none where it is no array, or itself an element."""
    kept = kept_elements(folder)["elements"]
    return tuple(Element(arguments=tuple(each["arguments"]), outputs=tuple(each["outputs"])) for each in kept)
