"""Elements of an array that failed for no fault of their own are made again alone, asked for better, on the fake."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.errors import RunFailed
from sluiceway.core.runs.answers import Answer
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import Calls
from sluiceway.core.runs.messages import LogLine
from sluiceway.core.runs.retries import Retries
from sluiceway.core.runs.slurm_array import SlurmArray
from sluiceway.core.slurm.resources import Resources
from tests.core.runs import called
from tests.core.runs.here import until
from tests.core.runs.test_array import values
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_functions import mapped
from tests.wire.slurm.test_runs import PLACE, There


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


async def tried(there: There, asked: Calls, *, throttle: int | None = None, most: int = 3, **wish: Any) -> list[Answer]:
    host = SlurmArray(there.access, wish=Resources(**wish), throttle=throttle)
    retries = Retries(most=most) if most else None
    arrays = Arrays(
        runs=there.runs, host=host, place=PLACE, throttle=throttle, heard=there.hear, pack=1, retries=retries
    )
    return await arrays.answers(asked)


def scripts(there: There) -> dict[str, str]:
    """The batch script of each attempt."""
    return {path.parent.name: path.read_text() for path in Path(there.access.base).glob("runs/*/a*/job.sh")}


@pytest.mark.parametrize(
    ("cause", "option"),
    [("OUT_OF_MEMORY", "--mem=400M"), ("TIMEOUT", "--time=0-02:00:00"), ("NODE_FAIL", "--exclude=node1")],
)
async def test_an_element_that_lacked_something_is_made_again_alone_with_more_of_it(
    there: There, slurm: FakeSlurm, cause: str, option: str
) -> None:
    """Red on: core/runs/array.py: `if again is not None: return again` -> `if again is not None: pass`."""
    count = there.folder / "count"
    # One that raises is a failure of its own, and is no one's to make again.
    making = asyncio.create_task(
        tried(there, mapped(third_waits_fifth_raises, range(6), str(count)), memory="200M", time="1h")
    )
    job = await until(there.folder / "count.job")
    slurm.finish(job, cause)
    assert values(await making) == [0, 10, 20, 30, 40, called.Odd]
    assert sorted(count.read_text().split()) == ["0", "1", "2", "2", "3", "4", "5"]
    assert len(slurm.jobs) == 7
    assert option in scripts(there)["a2"]
    assert "--array=0-0" in scripts(there)["a2"]
    (why,) = [each.text for each in there.heard if isinstance(each, LogLine)]
    assert why.startswith("1 of 6 elements of attempt 1 ended: ")


def third_waits_fifth_raises(path: str, number: int) -> int:
    found = called.third_waits(path, number)
    if number == 5:
        raise called.Odd(number)
    return found


async def test_there_is_an_end_to_it_for_each_element(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/array_retries.py: `(*causes, each.kind))` -> `causes)`."""
    making = asyncio.create_task(tried(there, mapped(waits, [7, 8], str(there.folder)), most=1, memory="200M"))
    for number, ended in ((1, "7"), (2, "7")):
        slurm.finish(await until(there.folder / f"{number}-{ended}"), "OUT_OF_MEMORY")
    assert values(await making) == [RunFailed, 80]
    assert len(slurm.jobs) == 3


def waits(folder: str, number: int) -> int:
    """Wait over 7, and say each time as which element of Slurm's."""
    if number == 7:
        tries = 1 + len(list(Path(folder).glob("?-7")))
        job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format_map(os.environ)
        Path(folder, f"{tries}-7.new").write_text(job)
        Path(folder, f"{tries}-7.new").rename(Path(folder, f"{tries}-7"))
        time.sleep(60)
    return number * 10


async def test_what_was_decided_before_a_crash_holds_after_it(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/retries.py: `items = {int(item)` -> `items = {-1 - int(item)`."""
    asked = mapped(waits, [7, 8], str(there.folder))
    first = There(there.folder, there.line, there.clock)

    async def die(heard: object) -> None:
        if isinstance(heard, LogLine):
            raise KeyError(heard.text)

    first.hear = die  # type: ignore[method-assign]
    making = asyncio.create_task(tried(first, asked, most=1, memory="200M"))
    slurm.finish(await until(there.folder / "1-7"), "OUT_OF_MEMORY")
    with pytest.raises(KeyError):
        await making
    (kept,) = Path(there.runs.home).glob("runs/*/again.json")
    assert json.loads(kept.read_text())["items"] == {"0": ["out of memory"]}
    making = asyncio.create_task(tried(there, asked, most=1, memory="200M"))
    slurm.finish(await until(there.folder / "2-7"), "OUT_OF_MEMORY")
    assert values(await making) == [RunFailed, 80]
    assert "--mem=400M" in scripts(there)["a2"]
    assert len(slurm.jobs) == 3


async def begun(there: There, slurm: FakeSlurm, **asked: Any) -> asyncio.Task[list[Answer]]:
    """Begin an array of three whose first element starts, and whose others wait."""
    slurm.set_starts(on=False)
    making = asyncio.create_task(tried(there, mapped(called.times, range(3)), queue_limit="2m", most=0, **asked))
    while not slurm.jobs:
        await asyncio.sleep(0.02)
    with slurm.store.changed() as state:
        state["starts"] = True
        for job in state["jobs"][1:]:
            job["held"] = True
    return making


async def test_elements_that_wait_too_long_are_given_up_and_those_that_ran_are_not(
    there: There, slurm: FakeSlurm
) -> None:
    """Red on: core/runs/slurm_array.py: `yield whose.task, patience.judge(seen)` -> `yield whose.task, seen`."""
    found = await (await begun(there, slurm))
    assert values(found) == [0, RunFailed, RunFailed]
    with pytest.raises(RunFailed, match="it had waited in the queue for 0-00:02:00"):
        found[2].value()
    assert slurm.jobs[0]["state"] == "COMPLETED"


async def test_elements_that_wait_for_each_other_by_our_wish_are_not_given_up(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/slurm_array.py: `patience.forget_the_limit()` -> `pass`."""
    making = await begun(there, slurm, throttle=1)
    # More than the two minutes of the limit, at the fast clock's pace.
    await asyncio.sleep(5)
    with slurm.store.changed() as state:
        for job in state["jobs"]:
            job["held"] = False
    assert values(await making) == [0, 3, 6]
