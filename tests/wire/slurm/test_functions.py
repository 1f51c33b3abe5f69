"""Functions on a cluster, with the fake Slurm behind it: one job for a call, one array for many."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import RunFailed
from sluiceway.core.runs.answers import Answer
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.folder import AttemptFolder
from sluiceway.core.runs.function import Calls, Item, answer_of
from sluiceway.core.runs.receipt import Output
from sluiceway.core.runs.run import Line as Printed
from sluiceway.core.runs.run import run
from sluiceway.core.runs.slurm_array import SlurmArray
from tests.core.runs import called
from tests.core.runs.called import Odd, Point
from tests.core.runs.test_array import values
from tests.core.runs.test_function import STRANGE
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import PLACE, There


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


def mapped(function: Callable[..., Any], given: Iterable[Any], *shared: Any) -> Calls:
    items = [Item(arguments=(*shared, each)) for each in given]
    return Calls(function=function, items=items, python=sys.executable)


async def answers(there: There, asked: Calls, *, pack: int = 1, throttle: int | None = None) -> list[Answer]:
    host = SlurmArray(there.access, throttle=throttle)
    arrays = Arrays(runs=there.runs, host=host, place=PLACE, pack=pack, throttle=throttle, heard=there.hear)
    return await arrays.answers(asked)


async def test_a_call_is_one_job(there: There, slurm: FakeSlurm) -> None:
    receipt = await run(mapped(called.moved, [5], Point(1)).request(), runs=there.runs, host=there.host(), place=PLACE)
    assert answer_of(receipt.path(receipt.outputs[0]), receipt.failure) == Point(6)
    slurm.only_job()


async def test_many_calls_are_one_array_and_their_results_are_in_order(there: There, slurm: FakeSlurm) -> None:
    assert values(await answers(there, mapped(called.times, range(12), 3), pack=5)) == [3 * each for each in range(12)]
    assert len(slurm.jobs) == 3
    assert len({each["number"] for each in slurm.jobs}) == 1
    assert len(slurm.asked("sbatch")) == 1


async def test_more_elements_than_an_array_may_have_become_several(there: There, slurm: FakeSlurm) -> None:
    slurm.set_largest_array(2)
    assert values(await answers(there, mapped(called.times, range(5)))) == [0, 3, 6, 9, 12]
    numbers = [each["number"] for each in slurm.jobs]
    assert sorted(numbers.count(each) for each in set(numbers)) == [1, 2, 2]


async def test_so_many_run_at_once_as_was_said(there: There, slurm: FakeSlurm) -> None:
    await answers(there, mapped(called.times, range(3)), throttle=2)
    scripts = [path.read_text() for path in Path(there.access.base).rglob("job.sh")]
    assert ["--array=0-2%2" in each for each in scripts] == [True]


async def test_a_killed_element_is_made_again_alone(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/array.py: `if number not in done]` -> `]`."""
    asked = mapped(called.killed_once, range(4), str(there.folder / "count"))
    found = await answers(there, asked)
    assert values(found) == [0, 1, RunFailed, 3]
    with pytest.raises(RunFailed, match=r"killed in element 2 of job \d+"):
        found[2].value()
    assert values(await answers(there, asked)) == [0, 1, 2, 3]
    assert sorted((there.folder / "count").read_text().split()) == ["0", "1", "2", "2", "3"]
    assert len(slurm.jobs) == 5


async def test_strange_texts_reach_a_function_on_a_node(there: There) -> None:
    sent = {f"A {name} \udcff": name for name in STRANGE if "\0" not in name}
    items = [Item(arguments=(list(sent),))]
    asked = Calls(function=called.variables, items=items, python=sys.executable, variables=sent)
    (found,) = await answers(there, asked)
    assert found.value() == [os.fsencode(each) for each in sent.values()]
    assert values(await answers(there, mapped(called.same, STRANGE), pack=5)) == STRANGE


async def test_an_item_that_raises_fails_alone(there: There) -> None:
    found = await answers(there, mapped(called.odd, [2, 3, 4]), pack=3)
    assert values(found) == [2, Odd, 4]
    assert any(isinstance(each, Printed) and "[0] Traceback" in each.text for each in there.heard)


class Damaging(SlurmArray):
    """A cluster whose disk damages an answer before it is brought."""

    async def fetch_all(self, folder: AttemptFolder, files: Mapping[PurePosixPath, Output | None]) -> None:
        for name in files:
            if name.name == "1.answer":
                Path(folder.at(self.base).path / name).write_bytes(b"{}")
        await super().fetch_all(folder, files)


async def test_an_answer_that_was_damaged_there_fails_its_item_alone(there: There) -> None:
    """Red on: core/runs/slurm_array.py: `except TransferFailed as error:` -> `except SlurmRefused as error:`."""
    asked = mapped(called.counted, range(3), str(there.folder / "count"))
    arrays = Arrays(runs=there.runs, host=Damaging(there.access), place=PLACE)
    found = await arrays.answers(asked)
    assert values(found) == [0, RunFailed, 20]
    with pytest.raises(RunFailed, match="no whole answer came back in element 1"):
        found[1].value()
    assert values(await answers(there, asked)) == [0, 10, 20]


async def test_who_stops_waiting_for_an_array_finds_it_again(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/array.py: `if run.intent_of(folder) is not None:` -> `if False:`."""
    asked = mapped(called.counted_slowly, range(3), str(there.folder / "count"))
    waiting = asyncio.create_task(answers(there, asked, pack=2))
    while not slurm.jobs:
        await asyncio.sleep(0.02)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert values(await answers(there, asked, pack=1)) == [0, 10, 20]
    assert sorted((there.folder / "count").read_text().split()) == ["0", "1", "2"]
    assert len(slurm.jobs) == 2


async def test_an_array_that_was_cut_off_at_every_turn_is_one_array(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/slurm_job.py: `done = await self._transfer.ask(command) said` -> `done = await
    self._access.shell.run(command); said`.
    """
    asked = mapped(called.counted, range(3), str(there.folder / "count"))
    there.line.cut_before = there.line.cut_after = 2
    assert values(await answers(there, asked)) == [0, 10, 20]
    assert sorted((there.folder / "count").read_text().split()) == ["0", "1", "2"]
    assert len(slurm.jobs) == 3


async def test_a_controller_that_is_down_when_an_array_begins_is_waited_for(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/slurm_array.py: `done = await self._ask_slurm(command)` -> `done = await
    self._transfer.ask(command)`.
    """
    slurm.set_controller(up=False)
    asking = asyncio.create_task(answers(there, mapped(called.counted, range(3), str(there.folder / "count"))))
    # More than a minute at the fast clock's pace.
    await asyncio.sleep(2.2)
    slurm.set_controller(up=True)
    assert values(await asking) == [0, 10, 20]
    assert len(slurm.jobs) == 3
