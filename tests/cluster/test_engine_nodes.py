"""A node fails under an engine: Slurm ends the whole job, or where it was asked not to, the others do the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.runs.messages import LogLine
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Line
from sluiceway.core.slurm.job import EndingKind
from tests.cluster import test_dask, test_ray, test_spark
from tests.cluster.test_dask import Launched, said
from tests.cluster.test_dask import dask_python as dask_python  # noqa: PLC0414 - a fixture
from tests.cluster.test_ray import ray_python as ray_python  # noqa: PLC0414 - a fixture
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.cluster.test_spark import Sparked
from tests.cluster.test_spark import spark_python as spark_python  # noqa: PLC0414 - a fixture

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

BEGUN = Line(stream="stdout", text="begun")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work of an engine on two nodes that takes long enough for one of them to fail, and what it says in the end."""

    launched: Launched
    engine: str
    request: RunRequest
    is_right: Callable[[RunReceipt], bool]

    async def run(self, node_fails: Callable[[str], Any], **wish: Any) -> tuple[RunReceipt, dict[str, Any]]:
        """Let the node that the payload is not on fail while it works; give how it ended, and which part that was."""
        there = self.launched.there
        memory = {"dask": "900M", "ray": "2G", "spark": "2500M"}[self.engine]
        running = asyncio.create_task(there.run(self.request, nodes=2, memory=memory, time="9m", **wish))
        async with asyncio.timeout(300):
            while BEGUN not in there.heard:
                assert not running.done(), running.result().stderr.read_text()
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        *_, part = self.launched.connection(self.request)["nodes"]
        await node_fails(part["node"])
        return await running, part

    async def left_nothing(self, part: dict[str, Any]) -> None:
        """No process stays anywhere, and no folder where Slurm did not kill what could remove it."""
        await self.launched.left_no_process(self.request)
        folders = {Path(each["tmp"]) for each in self.launched.connection(self.request)["nodes"]} - {Path(part["tmp"])}
        assert folders
        assert [each for each in folders if each.exists()] == []


@pytest.fixture(params=["dask", "ray", "spark"])
def work(request: pytest.FixtureRequest, there: There, devcluster: Devcluster) -> Work:
    def launched(kind: type[Launched], fixture: str) -> Launched:
        return kind(there=there, devcluster=devcluster, python=request.getfixturevalue(fixture))

    match request.param:
        case "dask":
            dask = launched(Launched, "dask_python")
            asked = dask.request(test_dask.SUM, EACH="0.2")
            return Work(
                launched=dask, engine="dask", request=asked, is_right=lambda each: said(each)[1][0] == test_dask.TOTAL
            )
        case "ray":
            ray = launched(Launched, "ray_python")
            asked = test_ray.asked(ray, test_ray.SUM, EACH="0.5")
            return Work(
                launched=ray, engine="ray", request=asked, is_right=lambda each: said(each) == [[test_ray.TOTAL]]
            )
        case _:
            spark = launched(Sparked, "spark_python")
            asked = spark.request(test_spark.SHUFFLE, WORKERS="2", EACH="2")
            return Work(
                launched=spark,
                engine="spark",
                request=asked,
                is_right=lambda each: said(each)[0] == test_spark.expected(),
            )


@pytest.fixture
async def node_fails(devcluster: Devcluster) -> AsyncIterator[Callable[[str], Any]]:
    """Lets Slurm take a node for dead; in the end it is back."""
    failed: list[str] = []

    async def fail(node: str) -> None:
        failed.append(node)
        await devcluster.fail(node)

    yield fail
    for each in failed:
        await devcluster.resume(each)


async def test_a_job_without_its_node_is_ended_as_that_and_leaves_no_process(
    work: Work, node_fails: Callable[[str], Any]
) -> None:
    """Red on: core/slurm/verdict.py: `JobState.NODE_FAIL: EndingKind.NODE_FAILURE,` ->
    `JobState.NODE_FAIL: EndingKind.FAILED,`.
    """
    receipt, _ = await work.run(node_fails)
    assert receipt.ending is EndingKind.NODE_FAILURE, receipt.why
    await work.launched.left_no_process(work.request)


async def test_a_job_that_is_not_to_end_with_its_node_has_its_work_done_by_the_others(
    work: Work, node_fails: Callable[[str], Any]
) -> None:
    """Red on: core/launch/nodeside.py: `say(kind="log", text=text, level="warning")` -> `pass`."""
    receipt, part = await work.run(node_fails, extra_sbatch={"no-kill": True})
    assert receipt.succeeded, receipt.stderr.read_text()
    assert work.is_right(receipt)
    told = [each.text for each in work.launched.there.heard if isinstance(each, LogLine)]
    lost = f"{part['part']} on node {part['node']} has left the {work.engine} cluster"
    assert [each for each in told if lost in each]
    await work.left_nothing(part)
    await work.launched.devcluster.resume(part["node"])
    await work.launched.begin_another_part(work.request, part["node"])
    assert not Path(part["tmp"]).exists()
