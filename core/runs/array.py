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

from sluiceway.core.events import tell
from sluiceway.core.runs import run
from sluiceway.core.runs.answers import (
    Answer,
    answers_in,
    array_receipt,
    bring_answers,
    failures_of,
    results_in,
)
from sluiceway.core.runs.host import JobHost, Waiting
from sluiceway.core.runs.messages import Progress
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Element
from sluiceway.core.runs.run import Ear, Line, Step, nobody
from sluiceway.core.slurm.job import Array, Ending
from sluiceway.core.store.durable import content_of, write_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import PurePosixPath

    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.function import Calls
    from sluiceway.core.runs.host import Attempt, News
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.receipt import Output
    from sluiceway.core.runs.run import Heard, Runs
    from sluiceway.core.slurm.job import JobId


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
    async def fetch_all(self, folder: AttemptFolder, files: Mapping[PurePosixPath, Output | None]) -> None:
        """Bring files of the attempt's folder to this machine's, and check those whose digest is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Where arrays run, how many items an element has, how many elements there are at once, and who hears of them."""

    runs: Runs
    host: ArrayHost
    place: Place
    pack: int = 1
    throttle: int | None = None
    heard: Callable[[Heard], Awaitable[None]] = nobody

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

        def divide(folder: AttemptFolder, receipt: RunReceipt | None) -> tuple[Element, ...]:
            if run.intent_of(folder) is not None:
                return elements_of(folder)
            done = {} if receipt is None else results_in(receipt)
            missing = [number for number in range(len(calls.items)) if number not in done]
            starts = range(0, len(missing), self.pack)
            return tuple(calls.element(missing[start : start + self.pack]) for start in starts)

        staged = await run.stage(request, runs=self.runs, host=self.host, place=self.place, divide=divide)
        if isinstance(staged, RunReceipt):
            return answers_in(staged, len(calls.items))
        job = await run.submit(staged, runs=self.runs, host=self.host)
        return await self._collect(staged, job, await self._endings(staged, job), len(calls.items))

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

    async def _collect(self, attempt: Attempt, job: JobId, endings: Mapping[int, Ending], n_items: int) -> list[Answer]:
        made = await bring_answers(attempt, endings, self.host)
        before = await asyncio.to_thread(self.runs.receipt, attempt.folder.run)
        earlier = () if before is None else tuple((await asyncio.to_thread(results_in, before)).values())
        receipt = await asyncio.to_thread(array_receipt, attempt, job, endings, (*earlier, *made), n_items)
        _done(Step.COLLECTED, attempt, outputs=len(made))
        await run.keep(receipt, attempt, runs=self.runs)
        return answers_in(receipt, n_items, await asyncio.to_thread(failures_of, attempt, endings))


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
