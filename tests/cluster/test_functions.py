"""Functions on the real Slurm: called on nodes where nothing of ours is installed, and mapped as its own arrays."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import RunFailed
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import run
from sluiceway.core.runs.answers import Answer
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import Calls, Item, answer_of
from sluiceway.core.runs.hosts import array_host_at, host_at, runs_here
from sluiceway.core.runs.messages import LogLine, Progress
from sluiceway.core.runs.retries import Retries
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.slurm import slurm_task
from tests.cluster.test_runs import PLACE, There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.core.runs import called
from tests.core.runs.called import Odd, Point
from tests.core.runs.test_array import values

if TYPE_CHECKING:
    from pathlib import PurePosixPath

PYTHON = "/usr/bin/python3"


def mapped(function: Callable[..., Any], given: Iterable[Any], *shared: Any) -> Calls:
    items = [Item(arguments=(*shared, each)) for each in given]
    return Calls(function=function, items=items, python=PYTHON)


async def answers(
    there: There, asked: Calls, *, pack: int = 1, retries: Retries | None = None, **wish: Any
) -> list[Answer]:
    runs = runs_here()
    async with array_host_at(PLACE, runs, wish=Resources(**wish) if wish else None) as host:
        arrays = Arrays(runs=runs, host=host, place=PLACE, pack=pack, heard=there.hear, retries=retries)
        return await arrays.answers(asked)


async def test_a_function_is_called_on_a_node(there: There) -> None:
    runs, sent = runs_here(), {secrets.token_hex(8): Point(3)}
    async with host_at(PLACE, runs) as host:
        request = mapped(called.same, [sent]).request()
        receipt = await run.run(request, runs=runs, host=host, place=PLACE, heard=there.hear)
    assert answer_of(receipt.path(receipt.outputs[0]), receipt.failure) == sent
    assert receipt.place == "west"


async def test_an_exception_on_a_node_is_raised_here(there: There) -> None:
    with pytest.raises(Odd, match="7") as raised:
        (await answers(there, mapped(called.odd, [7, 8])))[0].value()
    assert "raise Odd(number)" in str(raised.value.__cause__)


async def test_a_task_runs_on_a_cluster_by_its_name(there: There) -> None:
    """Its own loop, its own connection; the Python is the one on PATH there."""
    task = slurm_task(on="west", resources=Resources(cpus=1, memory="100M"), pack=2)(called.times)
    factor = secrets.randbelow(10**6)
    assert await asyncio.to_thread(task.fn, 2, factor) == 2 * factor
    found = await asyncio.to_thread(task.each, [1, 2, 3], factor)
    assert values(found) == [factor, 2 * factor, 3 * factor]


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_thousand_items_come_back_in_order(there: There) -> None:
    """The devcluster's arrays have 101 elements at most, so these are two."""
    factor = secrets.randbelow(10**6)
    found = await answers(there, mapped(called.times, range(1000), factor), pack=8)
    assert values(found) == [each * factor for each in range(1000)]
    ended = [each.of for each in there.heard if isinstance(each, Progress) and each.done == each.of]
    assert sorted(ended) == [24, 101]


async def test_an_element_that_is_cancelled_is_made_again_alone(there: There, folder: PurePosixPath) -> None:
    count = folder / "count"
    asked = mapped(called.third_waits, range(4), str(count))
    making = asyncio.create_task(answers(there, asked))
    async with asyncio.timeout(60):
        while not (job := await element_of(there, count)):
            await asyncio.sleep(0.2)
    (await there.shell.run(Command.of("scancel", job))).require_success()
    found = await making
    assert values(found) == [0, 10, RunFailed, 30]
    with pytest.raises(RunFailed, match=r"cancelled in element 2|killed in element 2"):
        found[2].value()
    assert values(await answers(there, asked)) == [0, 10, 20, 30]
    made = (await there.shell.run(Command.of("cat", str(count)))).require_success().text
    assert sorted(made.split()) == ["0", "1", "2", "2", "3"]


def greedy_over_two(path: str, number: int) -> int:
    """Take much memory over 2; the first time, until it is ended for that: Slurm looks once a second."""
    called.counted(path, number)
    if number == 2:
        held = bytearray(300 << 20)
        is_first = Path(path).read_text().split().count("2") == 1
        time.sleep(90 if is_first else 0)
        return len(held) >> 20
    return number


async def test_an_element_over_its_memory_is_made_again_alone_with_more(there: There, folder: PurePosixPath) -> None:
    """Red on: core/runs/retries.py: `EndingKind.OUT_OF_MEMORY: _more_memory,` -> `EndingKind.OUT_OF_MEMORY:
    _elsewhere,`.
    """
    count = folder / "count"
    asked = mapped(greedy_over_two, range(4), str(count))
    assert values(await answers(there, asked, retries=Retries(), memory="200M")) == [0, 1, 300, 3]
    made = (await there.shell.run(Command.of("cat", str(count)))).require_success().text
    assert sorted(made.split()) == ["0", "1", "2", "2", "3"]
    (why,) = [each.text for each in there.heard if isinstance(each, LogLine)]
    assert why == "1 of 4 elements of attempt 1 ended: out of memory; again, memory 400M"


async def test_a_call_over_its_memory_is_made_again_with_more(there: There, folder: PurePosixPath) -> None:
    """Red on: tasks/slurm.py: `return Retries(most=retries) if retries else None` -> `return None`."""
    resources = Resources(memory="200M")
    task = slurm_task(on="west", resources=resources, retries_by_cause=1)(greedy_over_two)
    assert await asyncio.to_thread(task.fn, str(folder / "count"), 2) == 300
    made = (await there.shell.run(Command.of("cat", str(folder / "count")))).require_success().text
    assert made.split() == ["2", "2"]


async def test_elements_that_wait_too_long_are_given_up_and_those_that_run_are_not(there: There) -> None:
    """Red on: core/slurm/commands.py: `"--state=PENDING", str(job))` -> `str(job))`."""
    asked = mapped(called.slowly, range(8))
    found = await answers(there, asked, queue_limit="5s", cpus=4, memory="3G", time="5m")
    said = values(found)
    assert {RunFailed} < set(said)
    assert len([each for each in said if each is not RunFailed]) >= 2
    with pytest.raises(RunFailed, match="it had waited in the queue"):
        found[said.index(RunFailed)].value()


async def element_of(there: There, count: PurePosixPath) -> str:
    """The job of the element that waits, once it does."""
    done = await there.shell.run(Command.of("cat", f"{count}.job"))
    return done.text.strip() if done.succeeded else ""
