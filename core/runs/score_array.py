"""Scores the ranges of a batch as arrays on a cluster, whose elements score some ranges each.

It has the life of every run (`core.runs.run`): the batch's content key names it, an array that is on its way is joined,
and what is there already is taken. A range is done once its file is here, and is as it was written there; so whatever
becomes of an element, of Slurm or of this process, only ranges without such a file are scored again, by another array.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core.environments.entering import ENTERED, words_at
from sluiceway.core.errors import PlaceUnusable, RunFailed, TransferFailed
from sluiceway.core.events import tell
from sluiceway.core.registry.coalesce import leading
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import run
from sluiceway.core.runs.array import elements_of
from sluiceway.core.runs.folder import RUNS, AttemptFolder, RunFolder
from sluiceway.core.runs.host import Attempt, Waiting
from sluiceway.core.runs.partials import partial_name
from sluiceway.core.runs.receipt import RunReceipt, tail_of
from sluiceway.core.runs.request import Content, Element
from sluiceway.core.runs.score_element import CHECK, MODULE, REFUSED, Order
from sluiceway.core.runs.score_receipt import ranges_receipt
from sluiceway.core.runs.score_work import Work, python_of, table_files
from sluiceway.core.runs.slurm_array import SlurmArray
from sluiceway.core.runs.slurm_job import KEPT
from sluiceway.core.runs.transfer import Transfer, kept_name
from sluiceway.core.slurm import commands
from sluiceway.core.slurm.job import Ending, EndingKind
from sluiceway.core.slurm.parse import Unreachable, read_frames
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.store.record import Damage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.reference import Reference, Staged
    from sluiceway.core.genetics.score import Partial
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.place import Cluster
    from sluiceway.core.runs.run import Runs

log = logging.getLogger(__name__)

_ROUNDS: Final = 4
"""Arrays that are begun or joined for one batch before it has failed."""


class ScoreArrays:
    """Scores the ranges of batches on one cluster."""

    def __init__(self, access: Access, runs: Runs, place: Cluster, runtime: Runtime | None = None) -> None:
        """Use a cluster, by the name that people know it by; elements run in an environment, where there is one."""
        self._runtime = runtime
        self._access, self._runs, self._place = access, runs, place
        self._transfer = Transfer(access.shell, access.clock)
        self._tables: dict[Path, dict[str, Content]] = {}
        self._checked: set[str] = set()
        self._done: list[Work] = []

    async def partials(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> AsyncGenerator[Partial]:
        """Give what each range adds, in the order of `parts`."""
        work = await asyncio.to_thread(self._work, reference, staged)
        await self._require_same(work.order)
        left = [each.number for each in parts]
        ready: set[int] = set()
        lead = leading(work.order.key, self._runs.home)
        async with lead, aclosing(self._made(work, set(left))) as made:
            async for number in made:
                ready.add(number)
                while left and left[0] in ready:
                    yield await asyncio.to_thread(work.take, left.pop(0))
        self._done.append(work)

    async def tidy(self) -> None:
        """Remove from the cluster what the batches that are done have left there; their results are kept here.

        Rows that a run there links to stay: another home may be scoring some of the same scores.
        """
        base = self._access.base
        while self._done:
            work = self._done.pop()
            run_folder = RunFolder(base=base, key=work.order.key).path
            await self._transfer.ask(Command.of("rm", "-rf", "--", str(run_folder)))
            names = map(kept_name, work.rows)
            await self._transfer.ask(commands.remove_unlinked(base / KEPT, base / RUNS, names))

    async def _made(self, work: Work, missing: set[int]) -> AsyncGenerator[int]:
        """Bring what ranges add, in any order, until none is missing; tell each range that is here."""
        async with aclosing(self._made_before(work, missing)) as before:
            async for number in before:
                missing.discard(number)
                yield number
        larger = rounds = 0
        while missing:
            rounds += 1
            host = SlurmArray(self._access, wish=self._wish(work, larger))
            attempt = await self._attempt(work, missing, host)
            endings: dict[int, Ending] = {}
            async with aclosing(self._made_now(work, attempt, host, missing, endings)) as now:
                async for number in now:
                    missing.discard(number)
                    yield number
            lacking = {n: end for n, end in endings.items() if missing.intersection(_numbers(attempt.elements[n]))}
            if lacking:
                await self._require_hope(attempt, host, lacking, is_last=rounds >= _ROUNDS)
            larger += any(each.kind is EndingKind.OUT_OF_MEMORY for each in lacking.values())

    async def _made_before(self, work: Work, missing: Collection[int]) -> AsyncGenerator[int]:
        """Bring what earlier arrays of this batch have made before they failed or were cancelled."""
        for attempt in await asyncio.to_thread(self._attempts, self._runs.folder(work.order.key)):
            for index, element in enumerate(elements_of(attempt)):
                for number in _numbers(element):
                    if number in missing and await self._bring(work, attempt.element(index), number):
                        yield number

    async def _made_now(
        self, work: Work, attempt: Attempt, host: SlurmArray, missing: Collection[int], endings: dict[int, Ending]
    ) -> AsyncGenerator[int]:
        """Submit an array, or join it, and bring what each element has made as soon as it has ended; note how."""
        job = await run.submit(attempt, runs=self._runs, host=host)
        reason = ""
        async for index, seen in host.watch_elements(attempt, job):
            if isinstance(seen, Waiting) and seen.reason != reason:
                reason = seen.reason
                tell(log, "array waits", run_id=attempt.folder.run.run_id, job_id=str(job), because=reason)
            if isinstance(seen, Ending):
                endings[index] = seen
                for number in _numbers(attempt.elements[index]):
                    if number in missing and await self._bring(work, attempt.folder.element(index), number):
                        yield number
        await run.keep(ranges_receipt(attempt, job, endings), attempt, runs=self._runs)

    async def _attempt(self, work: Work, missing: set[int], host: SlurmArray) -> Attempt:
        """Give the array that is on its way, or else a new one for what is missing, ready to start."""
        numbers = sorted(missing)

        def divide(folder: AttemptFolder, _before: RunReceipt | None) -> tuple[Element, ...]:
            if run.intent_of(folder) is not None:
                return elements_of(folder)
            starts = range(0, len(numbers), self._at_once)
            texts = [tuple(map(str, numbers[start : start + self._at_once])) for start in starts]
            return tuple(Element(arguments=each, outputs=()) for each in texts)

        attempt = await run.stage(
            work.request, runs=self._runs, host=host, place=self._place, fresh=True, divide=divide
        )
        if isinstance(attempt, RunReceipt):
            raise AssertionError("what is asked for afresh is an attempt")  # noqa: TRY004 - the type is not the point
        return attempt

    async def _bring(self, work: Work, element: AttemptFolder, number: int) -> bool:
        """Bring what a range adds; give whether it is here, as it was written there."""
        source = element.at(self._access.base).output(partial_name(number))
        try:
            if not await self._transfer.bring(source, work.here(number)):
                return False
            await asyncio.to_thread(work.read, number)
        except (Damage, TransferFailed) as error:
            tell(log, "range damaged", level=logging.WARNING, file=str(source), reason=str(error))
            await asyncio.to_thread(partial(work.here(number).unlink, missing_ok=True))
            return False
        return True

    async def _require_same(self, order: Order) -> None:
        """Raise PlaceUnusable where the cluster has other code than this machine, or another panel."""
        if order.panel not in self._checked:
            await require_same(self._access, order, place=str(self._place), runtime=self._runtime)
            self._checked.add(order.panel)

    async def _require_hope(
        self, attempt: Attempt, host: SlurmArray, lacking: Mapping[int, Ending], *, is_last: bool
    ) -> None:
        """Raise where another array would come to nothing as well, or somebody wants no other."""
        refused = [index for index, each in lacking.items() if each.exit_code == REFUSED]
        index = min(refused or lacking)
        ending = lacking[index]
        element = attempt.folder.element(index)
        await host.fetch_all(attempt.folder, {element.stderr.relative_to(attempt.folder.path): None})
        tail = tail_of(Path(element.stderr))
        if refused:
            raise PlaceUnusable(place=str(self._place), reason=tail)
        is_cancelled = all(each.kind is EndingKind.CANCELLED for each in lacking.values())
        if is_last or (is_cancelled and len(lacking) == len(attempt.elements)):
            why = f"{len(lacking)} elements have not scored their ranges; {index}: {ending.kind}: {ending.evidence}"
            run_id = attempt.folder.run.run_id
            raise RunFailed(run=run_id, why=why, folder=Path(attempt.folder.path), tail=tail)

    def _work(self, reference: Reference, staged: Staged) -> Work:
        folder = reference.table.folder
        if folder not in self._tables:
            # Read once: it is large.
            self._tables[folder] = table_files(folder)
        return Work.of(reference, staged, self._tables[folder], self._access, runtime=self._runtime)

    @property
    def _at_once(self) -> int:
        """How many ranges an element scores at once: as many as it has processors."""
        return self._access.settings.resources.cpus or 1

    def _wish(self, work: Work, larger: int) -> Resources:
        """Ask for the memory that the settings say, else for what is needed; double it each time it was not enough."""
        usual = self._access.settings.resources
        if usual.memory_per_cpu is not None:
            return Resources(memory_per_cpu=usual.memory_per_cpu.times(2**larger))
        return Resources(memory=(usual.memory or work.memory).times(2**larger))

    def _attempts(self, folder: RunFolder) -> list[AttemptFolder]:
        """Give the arrays of a batch here that are over; one whose end nobody has seen is about to be joined."""
        receipt, here = self._runs.receipt(folder), Path(folder.path)
        found = folder.attempts(each.name for each in here.iterdir()) if here.is_dir() else []
        n_seen = 0 if receipt is None else receipt.attempt
        over = [each for each in found if each.number <= n_seen or Path(each.cancelled).is_file()]
        intents = [(each, run.intent_of(each)) for each in over]
        return [each for each, intent in intents if intent is not None and intent["place"] == str(self._place)]


async def require_same(access: Access, order: Order, *, place: str, runtime: Runtime | None = None) -> None:
    """Raise PlaceUnusable where what scores on a cluster has other code than this machine, or finds another panel."""
    transfer, python = Transfer(access.shell, access.clock), python_of(access, runtime)
    argv = ("env", "PYTHONSAFEPATH=1", python, "-m", MODULE, CHECK)
    if runtime is None:
        done = await transfer.ask(Command(argv=argv, stdin=order.to_bytes()))
    else:
        folder = access.base / ENTERED / secrets.token_hex(8)
        enters = await words_at(runtime, access, folder=folder, partition=access.settings.resources.partition)
        done = await transfer.ask(Command(argv=(*enters, *argv), stdin=order.to_bytes()))
        await transfer.ask(Command.of("rm", "-rf", "--", str(folder)))
    frames = read_frames(done)
    if isinstance(frames, Unreachable):
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [frames.reason]
        whose = "its Python" if runtime is None else f"the Python of {runtime.name!r}"
        raise PlaceUnusable(place=place, reason=f"{whose}, {python!r}, cannot score: {said[0]}")
    if problem := frames.value("problem"):
        raise PlaceUnusable(place=place, reason=problem)


def _numbers(element: Element) -> list[int]:
    return [int(each) for each in element.arguments]
