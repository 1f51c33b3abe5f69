"""Many calls as one array: in order, each item by itself, and only what has no result is made again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.errors import RunFailed
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.answers import Answer
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import Calls, Item
from sluiceway.core.runs.hosts import host_at
from sluiceway.core.runs.local_array import LocalArray
from sluiceway.core.runs.messages import Progress
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.run import Line, Step, cancel
from tests.conftest import ROOT
from tests.core.runs import called
from tests.core.runs.called import Odd
from tests.core.runs.here import Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def mapped(function: Callable[..., Any], values: Iterable[Any], *shared: Any) -> Calls:
    items = [Item(arguments=(*shared, each)) for each in values]
    return Calls(function=function, items=items, python=sys.executable)


def arrays(here: Here, **asked: Any) -> Arrays:
    host = LocalArray(here.runs.home, shell=LocalShell(), clock=here.runs.clock, at_once=asked.pop("at_once", 4))
    return Arrays(runs=here.runs, host=host, place=Local(), heard=here.hear, **asked)


def values(answers: list[Answer]) -> list[Any]:
    """What each item came to: the value, or the exception's class."""
    found: list[Any] = []
    for each in answers:
        try:
            found.append(each.value())
        except (Odd, RunFailed) as error:
            found.append(type(error))
    return found


@pytest.mark.parametrize("pack", [1, 2, 10])
async def test_results_come_in_the_order_of_the_items(here: Here, pack: int) -> None:
    found = await arrays(here, pack=pack).answers(mapped(called.times, range(5), 3))
    assert values(found) == [0, 3, 6, 9, 12]
    folders = {each.path.parent.parent.name for each in found if each.path}
    assert len(folders) == -(-5 // pack)


async def test_an_item_that_raises_fails_alone_and_is_made_again_alone(here: Here) -> None:
    asked = mapped(called.odd_once, [1, 2, 3, 4], str(here.folder / "count"))
    assert values(await arrays(here, pack=2).answers(asked)) == [Odd, 2, Odd, 4]
    assert values(await arrays(here, pack=2).answers(asked)) == [1, 2, 3, 4]
    assert values(await arrays(here).answers(asked)) == [1, 2, 3, 4]
    assert sorted((here.folder / "count").read_text().split()) == ["1", "1", "2", "3", "3", "4"]


async def test_an_element_that_is_killed_fails_its_items_alone(here: Here) -> None:
    """Red on: core/runs/array.py: `if number not in done]` -> `]`."""
    asked = mapped(called.killed_once, range(4), str(here.folder / "count"))
    found = await arrays(here).answers(asked)
    assert values(found) == [0, 1, RunFailed, 3]
    with pytest.raises(RunFailed, match=r"killed in element 2 of job \d+: signal KILL"):
        found[2].value()
    assert values(await arrays(here).answers(asked)) == [0, 1, 2, 3]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "2", "2", "3"]


async def test_a_damaged_answer_is_made_again(here: Here) -> None:
    """Red on: core/runs/answers.py: `digest_of_file(path) == output.digest` -> `True`."""
    asked = mapped(called.counted, range(3), str(here.folder / "count"))
    found = await arrays(here).answers(asked)
    assert found[1].path
    found[1].path.write_bytes(b"{}")
    assert values(await arrays(here).answers(asked)) == [0, 10, 20]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "1", "2"]


async def test_a_cancelled_array_ends_and_starts_nothing_more(here: Here) -> None:
    asked = mapped(called.counted_slowly, range(6), str(here.folder / "count"))
    folder = here.runs.folder(asked.array_request().key).attempt(1)
    making = asyncio.create_task(arrays(here, at_once=2).answers(asked))
    async with asyncio.timeout(60):
        while not (here.folder / "count").exists():
            await asyncio.sleep(0.02)
    async with host_at(Local(), here.runs) as host:
        job = await host.find(folder)
        assert job is not None
        await cancel(folder, job, runs=here.runs, host=host)
    found = values(await making)
    assert found[-1] is RunFailed
    assert found.count(RunFailed) >= 2


async def test_no_more_run_at_once_than_was_said(here: Here) -> None:
    found = values(await arrays(here, at_once=2).answers(mapped(called.together, range(5), str(here.folder))))
    assert 1 <= max(found) <= 2


async def test_what_elements_say_is_heard_with_their_number(here: Here) -> None:
    await arrays(here).answers(mapped(called.saying, ["a", "b"]))
    assert {Line(stream="stdout", text="[0] a"), Line(stream="stdout", text="[1] b")} <= {
        each for each in here.heard if isinstance(each, Line)
    }
    assert Progress(done=2, of=2, what="elements") in here.heard


async def test_who_dies_over_an_array_leaves_its_elements_to_the_next(here: Here) -> None:
    """Red on: core/runs/array.py: `if run.intent_of(folder) is not None:` -> `if False:`."""
    process = await asyncio.to_thread(subprocess.Popen, program(here), cwd=ROOT)
    async with asyncio.timeout(60):
        while not (here.folder / "count").exists():
            await asyncio.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert values(await arrays(here, at_once=2, pack=2).answers(slow(here))) == [0, 10, 20, 30]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("step", list(Step))
async def test_an_array_that_is_killed_at_any_step_makes_each_item_once(here: Here, step: Step) -> None:
    """Red on: core/runs/array.py: `if run.intent_of(folder) is not None:` -> `if False:`."""
    killed = await asyncio.to_thread(subprocess.run, program(here, step), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert values(await arrays(here, pack=2).answers(slow(here))) == [0, 10, 20, 30]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "2", "3"]


def program(here: Here, step: str = "") -> list[str]:
    """Makes calls, and kills itself once a step is done."""
    text = (
        "import asyncio, logging, sys; from pathlib import Path\n"
        "from tests.core.runs import killed, test_array as t\n"
        "log = logging.getLogger('sluiceway'); log.setLevel(logging.INFO)\n"
        "log.handlers[:] = [killed.Death(sys.argv[2])]\n"
        "here = t.Here(Path(sys.argv[1]))\n"
        "asyncio.run(t.arrays(here, at_once=2).answers(t.slow(here)))"
    )
    return [sys.executable, "-c", text, str(here.folder), step]


def slow(here: Here) -> Calls:
    return mapped(called.counted_slowly, range(4), str(here.folder / "count"))
