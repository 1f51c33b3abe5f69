"""The life of a job on the fake Slurm, when nothing goes wrong."""

from __future__ import annotations

import pytest

from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.job import Array, EndingKind
from sluiceway.core.slurm.watched import LogGrew, StateSeen
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FILES, Line, Order, ending, endings


async def test_a_job_is_submitted_in_two_round_trips(cluster: Cluster, order: Order, line: Line) -> None:
    await cluster.submit(order(), FILES)
    assert line.asked == 2


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [("true", EndingKind.SUCCEEDED, 0), ("exit 3", EndingKind.FAILED, 3), ("kill -9 $$", EndingKind.KILLED, None)],
)
async def test_a_job_ends_as_its_command_does(
    cluster: Cluster, watcher: Watcher, order: Order, script: str, kind: EndingKind, code: int | None
) -> None:
    spec = order(script)
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert (ended.kind, ended.exit_code) == (kind, code)


async def test_what_a_job_prints_is_told_once_and_whole(cluster: Cluster, watcher: Watcher, order: Order) -> None:
    spec = order("for n in 1 2 3 4 5 6; do echo line $n; echo error $n >&2; sleep 0.1; done; printf '\\377@end'")
    job = await cluster.submit(spec, FILES)
    said = {"stdout": b"", "stderr": b""}
    async for change in watcher.follow(spec, job):
        if isinstance(change, LogGrew):
            assert change.offset == len(said[change.stream])
            said[change.stream] += change.content
    assert said["stdout"] == b"".join(b"line %d\n" % number for number in range(1, 7)) + b"\xff@end"
    assert said["stderr"] == b"".join(b"error %d\n" % number for number in range(1, 7))


async def test_every_element_of_an_array_ends_by_itself(cluster: Cluster, watcher: Watcher, order: Order) -> None:
    spec = order('exit "$SLURM_ARRAY_TASK_ID"', array=Array(count=4))
    ended = await endings(watcher, spec, await cluster.submit(spec, FILES))
    assert {each.job.task: each.exit_code for each in ended} == {0: 0, 1: 1, 2: 2, 3: 3}
    assert [each.kind for each in ended].count(EndingKind.SUCCEEDED) == 1


async def test_a_cancelled_job_is_cancelled(cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm) -> None:
    spec = order("sleep 60")
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    await cluster.cancel(job)
    assert (await ending(watcher, spec, job)).kind is EndingKind.CANCELLED


async def test_why_a_job_waits_is_told(cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm) -> None:
    slurm.set_starts(on=False)
    spec = order()
    job = await cluster.submit(spec, FILES)
    slurm.set_state(job, "PENDING", reason="QOSMaxJobsPerUserLimit")
    async for change in watcher.follow(spec, job):
        assert isinstance(change, StateSeen)
        assert change.reason == "QOSMaxJobsPerUserLimit"
        break
