"""A task whose body runs at a place is a Prefect task like any other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID, uuid4

import pytest
from prefect import flow, unmapped
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled

from sluiceway.core.errors import PlaceUnusable, RunFailed
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.slurm import SlurmTask, slurm_task
from sluiceway.tasks.slurm_cancel import cancel_calls
from tests.conftest import User
from tests.core.runs import called
from tests.core.runs.called import Odd, Point
from tests.core.runs.here import until
from tests.engine.test_run_script import logged


@slurm_task(resources=Resources(cpus=1), retries=0)
def shifted(point: Point, by: int = 1) -> Point:
    print("shifting")  # noqa: T201
    return Point(point.x + by)


@slurm_task()
def odd(number: int) -> int:
    if number % 2:
        raise Odd(number)
    return number


@slurm_task()
async def later(number: int) -> int:
    return number


@slurm_task()
def factorial(number: int) -> int:
    return number * factorial(number - 1) if number else 1


@slurm_task(retries=2, retry_delay_seconds=0)
def third_time(count: str) -> int:
    with Path(count).open("a") as file:
        file.write("x")
    tries = len(Path(count).read_text())
    if tries < 3:
        raise Odd(tries)
    return tries


counted = slurm_task()(called.counted)


def test_a_task_works_without_a_server_and_its_function_without_a_place() -> None:
    assert assert_type(shifted.fn(Point(1), by=2), Point) == Point(3)
    assert shifted.function(Point(1)) == Point(2)


def test_a_task_that_calls_itself_does_so_there() -> None:
    assert factorial.fn(4) == 24


async def test_an_asynchronous_function_is_awaited() -> None:
    assert await later.fn(3) == 3


def test_a_task_is_called_and_submitted_in_a_flow() -> None:
    @flow
    def moving() -> list[Any]:
        first = shifted(Point(10))
        future: Any = shifted.submit(first, by=5)
        return [first, future.result(), shifted.submit(future).result()]

    assert moving() == [Point(11), Point(16), Point(17)]


async def test_a_task_is_called_in_an_asynchronous_flow() -> None:
    @flow
    async def moving() -> tuple[Point, int]:
        return shifted(Point(30)), await later(4)

    assert await moving() == (Point(31), 4)


async def test_what_happens_there_is_in_the_task_runs_log() -> None:
    @flow
    def moving() -> Point:
        return shifted(Point(40))

    state: Any = moving(return_state=True)
    messages = await logged(state.state_details.flow_run_id, wanted="receipt written")
    assert messages.count("shifting") == 1
    assert any("job submitted" in each for each in messages)


def test_an_exception_there_fails_its_task_run_alone() -> None:
    @flow
    def asking() -> list[State[int]]:
        return [odd(number, return_state=True) for number in (5, 6)]

    failed, done = asking()
    with pytest.raises(Odd, match="5") as raised:
        failed.result()
    assert isinstance(raised.value.__cause__, RunFailed)
    assert (failed.is_failed(), done.result()) == (True, 6)


def test_a_retry_is_a_new_attempt(tmp_path: Path) -> None:
    @flow
    def trying() -> int:
        return third_time(str(tmp_path / "count"))

    assert trying() == 3


def test_prefects_caches_work_on_it(tmp_path: Path) -> None:
    cached = counted.with_options(cache_policy=INPUTS, persist_result=True)

    @flow
    def counting() -> list[str | None]:
        states = [cached(str(tmp_path / "count"), 7, return_state=True) for _ in range(2)]
        return [each.name for each in states]

    assert isinstance(cached, SlurmTask)
    assert counting() == ["Completed", "Cached"]
    assert (tmp_path / "count").read_text() == "7\n"


def test_a_place_that_nobody_knows_is_said() -> None:
    with pytest.raises(PlaceUnusable, match="nowhere"):
        slurm_task(on="nowhere")(odd.function).fn(1)
    with pytest.raises(PlaceUnusable, match="no place's name"):
        slurm_task(on="no where")


@slurm_task(pack=2)
def scaled(number: int, factors: list[int]) -> int:
    print("scaling", number)  # noqa: T201
    return number * sum(factors)


odd_once = slurm_task(retries=1, retry_delay_seconds=0)(called.odd_once)


def test_a_map_is_one_task_run_and_a_future_for_each_item() -> None:
    @flow
    def scaling() -> tuple[list[int], int, set[Any]]:
        futures: Any = scaled.map([1, 2, 3], unmapped([10, 1]))
        ids = {each.task_run_id for each in futures}
        return futures.result(), scaled(futures[2], [1]), ids

    results, nested, ids = scaling()
    assert (results, nested, len(ids)) == ([11, 22, 33], 33, 1)


async def test_what_elements_print_is_in_the_maps_log() -> None:
    @flow
    def scaling() -> list[int]:
        futures: Any = scaled.map([4, 5, 6], unmapped([1]))
        return list(futures.result())

    state: Any = scaling(return_state=True)
    messages = await logged(state.state_details.flow_run_id, wanted="receipt written")
    assert {"[0] scaling 4", "[0] scaling 5", "[1] scaling 6"} <= set(messages)


def test_an_item_that_raises_fails_alone_in_a_map() -> None:
    @flow
    def asking() -> tuple[list[Any], list[bool]]:
        futures: Any = odd.map([11, 12, 13])
        found = [each.result(raise_on_failure=False) for each in futures]
        with pytest.raises(Odd):
            futures.result()
        states: Any = odd.map([11, 12, 13], return_state=True)
        return found, [each.is_completed() for each in states]

    found, completed = asking()
    assert [type(each) for each in found] == [Odd, int, Odd]
    assert completed == [False, True, False]


def test_a_retry_of_a_map_makes_only_what_failed(tmp_path: Path) -> None:
    @flow
    def asking() -> list[int]:
        futures: Any = odd_once.map(unmapped(str(tmp_path / "count")), [1, 2, 3])
        return list(futures.result())

    assert asking() == [1, 2, 3]
    assert sorted((tmp_path / "count").read_text().split()) == ["1", "1", "2", "3", "3"]


def test_a_map_that_cannot_run_fails_each_item() -> None:
    @flow
    def asking() -> list[Any]:
        futures: Any = slurm_task(on="nowhere")(odd.function).map([1, 2])
        return [each.result(raise_on_failure=False) for each in futures]

    assert [type(each) for each in asking()] == [PlaceUnusable] * 2


def test_a_map_works_without_a_server() -> None:
    assert [each.value() for each in scaled.each([7, 8], unmapped([2]))] == [14, 16]
    assert scaled.each([], unmapped([2])) == []


@slurm_task()
def on_and_on(folder: str, number: int) -> int:
    Path(folder, f"on-{number}").write_text("on")
    time.sleep(60)
    return number


@flow(on_cancellation=[cancel_calls])
def waiting(folder: str) -> list[str]:
    futures = [on_and_on.submit(folder, 1), *on_and_on.map(folder, [2, 3])]
    return [str(each.result(raise_on_failure=False)) for each in futures]


async def test_a_flow_run_that_is_cancelled_ends_the_jobs_of_its_functions(tmp_path: Path) -> None:
    running = asyncio.ensure_future(asyncio.to_thread(waiting, str(tmp_path)))
    for number in (1, 2, 3):
        await until(tmp_path / f"on-{number}")
    (note,) = (runs_here().home / "callers").iterdir()
    assert len(list(note.iterdir())) == 2
    async with asyncio.timeout(30):
        await cancel_calls(waiting, FlowRun(id=UUID(note.name), flow_id=uuid4()), Cancelled())
        said = await running
    assert ["cancelled" in each for each in said] == [True] * 3, said
    assert not note.exists()


@flow(on_cancellation=[cancel_calls])
def waiting_for_one(folder: str) -> str:
    future: Any = on_and_on.submit(folder, 4)
    return str(future.result(raise_on_failure=False))


async def test_a_call_whose_place_is_gone_keeps_no_other_from_being_ended(tmp_path: Path, user: User) -> None:
    """Red on: tasks/slurm_cancel.py: `if not failures:` -> `if True:`."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    running = asyncio.ensure_future(asyncio.to_thread(waiting_for_one, str(tmp_path)))
    await until(tmp_path / "on-4")
    (note,) = (runs_here().home / "callers").iterdir()
    lost = runs_here().folder(f"sha256:{'0' * 64}").attempt(1)
    Path(lost.path).mkdir(parents=True)
    Path(lost.intent).write_text('{"place": "gone"}')
    (note / lost.run.name).touch()
    async with asyncio.timeout(30):
        with pytest.raises(PlaceUnusable, match="gone"):
            await cancel_calls(waiting_for_one, FlowRun(id=UUID(note.name), flow_id=uuid4()), Cancelled())
        assert "cancelled" in await running
    assert [each.name for each in note.iterdir()] == [lost.run.name]


async def test_a_call_that_came_back_leaves_no_note(tmp_path: Path) -> None:
    @flow
    def measure() -> list[int]:
        return [counted(str(tmp_path / "count"), 1), counted.submit(str(tmp_path / "count"), 2).result()]

    assert await asyncio.to_thread(measure) == [10, 20]
    assert list((runs_here().home / "callers").glob("*")) == []


def test_a_call_and_a_map_show_on_their_pages_what_they_have_made(user: User) -> None:
    @flow
    def calling() -> None:
        shifted(Point(11))
        assert [each.result() for each in counted.map(unmapped(str(user.folder / "count")), [1, 2])] == [10, 20]

    state: State[Any] = calling(return_state=True)
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        pages = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["provenance"])), flow_run_filter=only
        )
    assert len({each.task_run_id for each in pages} - {None}) == len(pages) == 2
    assert all("| ended | `ok` |" in str(each.data) for each in pages)
