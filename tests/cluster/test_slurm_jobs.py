"""Jobs on the real Slurm are submitted once, watched to their end, and end as they did."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import SlurmRefused
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.slurm.cluster import Cluster, Known
from sluiceway.core.slurm.job import Array, Dependency, DependencyKind, EndingKind, JobSpec, JobState
from sluiceway.core.slurm.parse import Absent, Unreachable
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.watched import Ended, LogGrew, StateSeen
from sluiceway.core.slurm.watcher import Watcher
from sluiceway.deployments.devcluster import daemons
from tests.wire.slurm.conftest import FILES, Order, ending, endings

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from sluiceway.deployments.devcluster.cluster import Devcluster

LONG = "sleep 100"


@pytest.fixture
def cluster(shell: SshShell) -> Cluster:
    return Cluster(shell, SystemClock())


@pytest.fixture
def watcher(shell: SshShell) -> Watcher:
    return Watcher(shell, SystemClock())


@pytest.fixture
async def order(shell: SshShell, folder: PurePosixPath) -> AsyncIterator[Callable[..., JobSpec]]:
    """Makes orders whose names are this test's own; their jobs are gone at its end."""
    own = Order(folder / "it's a $(folder)")
    names = []

    def make(script: str = "true", **fields: Any) -> JobSpec:
        names.append(f"sw-{secrets.token_hex(8)}-a1")
        spec = own(script, name=names[-1], **fields)
        return dataclasses.replace(spec, command=("/usr/bin/python3", *spec.command[1:]))

    yield make
    await shell.run(Command.of("scancel", f"--name={','.join(names)}"))


async def until(watcher: Watcher, spec: JobSpec, job: Any, state: JobState, *, restarts: int = 0) -> None:
    async for change in watcher.follow(spec, job):
        if isinstance(change, StateSeen) and (change.state, change.restarts) == (state, restarts):
            return
    raise AssertionError(f"{job} ended before it was {state}")


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [("echo hi", EndingKind.SUCCEEDED, 0), ("exit 3", EndingKind.FAILED, 3), ("kill -9 $$", EndingKind.KILLED, None)],
)
async def test_a_job_ends_as_its_command_does(
    cluster: Cluster, watcher: Watcher, order: Any, script: str, kind: EndingKind, code: int | None
) -> None:
    spec = order(script)
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert (ended.kind, ended.exit_code) == (kind, code)
    assert ended.state is not None


async def test_every_element_of_an_array_ends_by_itself(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    spec = order(
        'echo "$((SLURM_ARRAY_TASK_ID + SLUICEWAY_ARRAY_OFFSET))"', array=Array(count=5, offset=10, throttle=3)
    )
    said = {}
    async for change in watcher.follow(spec, await cluster.submit(spec, FILES)):
        if isinstance(change, LogGrew):
            said[change.job.task] = change.content
        elif isinstance(change, Ended):
            assert change.ending.succeeded
    assert said == {task: b"%d\n" % (task + 10) for task in range(5)}


async def test_a_heterogeneous_job_has_all_its_components(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    wishes = Resources(nodes=1, memory="100M"), Resources(nodes=2, memory="100M")
    spec = order('echo "$SLURM_HET_SIZE $SLURM_JOB_NUM_NODES_HET_GROUP_1"', resources=wishes[0], components=wishes[1:])
    heard = [each async for each in watcher.follow(spec, await cluster.submit(spec, FILES))]
    assert [each.content for each in heard if isinstance(each, LogGrew)] == [b"2 2\n"]


async def test_a_job_over_its_memory_is_out_of_memory(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    spec = order(
        "python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'", resources=Resources(memory="200M")
    )
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert ended.kind is EndingKind.OUT_OF_MEMORY


async def test_a_job_is_cancelled_and_its_work_may_tidy_up(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    spec = order("trap 'echo tidied; exit 1' TERM; echo here; while :; do sleep 0.1; done")
    job = await cluster.submit(spec, FILES)
    said, ended = b"", None
    async for change in watcher.follow(spec, job):
        if isinstance(change, LogGrew):
            said += change.content if change.stream == "stdout" else b""
            if said == b"here\n":
                await cluster.cancel(job)
        elif isinstance(change, Ended):
            ended = change.ending
    assert ended is not None
    assert (ended.kind, said) == (EndingKind.CANCELLED, b"here\ntidied\n")


async def test_a_requeued_job_ends_with_its_last_run(
    cluster: Cluster, watcher: Watcher, order: Any, shell: SshShell
) -> None:
    """Red on: core/slurm/watched.py: `self.raw, self.restarts = row.raw, row.restarts` -> `self.raw, self.restarts =
    row.raw, 0`.
    """
    spec = order(f'[ -n "$SLURM_RESTART_COUNT" ] || {LONG}; exit 6', requeue=True)
    job = await cluster.submit(spec, FILES)
    await until(watcher, spec, job, JobState.RUNNING)
    (await shell.run(Command.of("scontrol", "requeue", str(job)))).require_success()
    ended = await ending(watcher, spec, job)
    assert ended.outcome is not None
    assert (ended.exit_code, ended.outcome.restart) == (6, 1)


@pytest.mark.timeout(300)
async def test_a_job_that_is_preempted_twice_ends_with_its_last_run(
    cluster: Cluster, watcher: Watcher, order: Any, shell: SshShell, devcluster: Devcluster
) -> None:
    """Red on: core/slurm/watched.py: `self.raw, self.restarts = row.raw, row.restarts` -> `self.raw, self.restarts =
    row.raw, 0`.
    """
    node = devcluster.plan.nodes[1].name
    better = Command.of("srun", "--partition=normal", f"--nodelist={node}", "--exclusive", "true")
    script = f'[ "${{SLURM_RESTART_COUNT:-0}}" -ge 2 ] || {LONG}; exit 6'
    spec = order(script, requeue=True, resources=Resources(partition="low", nodelist=node))
    job = await cluster.submit(spec, FILES)
    for restarts in range(2):
        await until(watcher, spec, job, JobState.RUNNING, restarts=restarts)
        (await shell.run(better, timeout=timedelta(seconds=100))).require_success()
    ended = await ending(watcher, spec, job)
    assert ended.outcome is not None
    assert (ended.exit_code, ended.outcome.restart) == (6, 2)


async def test_a_node_that_fails_is_told_as_such(
    cluster: Cluster, watcher: Watcher, order: Any, devcluster: Devcluster
) -> None:
    """Red on: core/slurm/verdict.py: `JobState.NODE_FAIL: EndingKind.NODE_FAILURE` -> `JobState.NODE_FAIL:
    EndingKind.KILLED`.
    """
    node = devcluster.plan.nodes[2].name
    spec = order(LONG, resources=Resources(nodelist=node))
    job = await cluster.submit(spec, FILES)
    await until(watcher, spec, job, JobState.RUNNING)
    await devcluster.fail(node)
    try:
        assert (await ending(watcher, spec, job)).kind is EndingKind.NODE_FAILURE
    finally:
        await devcluster.resume(node)


@pytest.mark.nightly
async def test_a_job_runs_on_the_nodes_that_it_wished_for(
    cluster: Cluster, watcher: Watcher, order: Any, devcluster: Devcluster
) -> None:
    kept, fast, named, other = (node.name for node in devcluster.plan.nodes)
    features = "scontrol", "update", f"nodename={fast}"
    await told(devcluster, *features, "availablefeatures=fast", "activefeatures=fast")
    reserved = "starttime=now", "duration=10", f"users={devcluster.plan.user}", f"nodes={kept}"
    await told(devcluster, "scontrol", "create", "reservation", "reservationname=ours", *reserved)
    wishes: dict[str, dict[str, str]] = {
        kept: {"reservation": "ours"},
        fast: {"constraint": "fast"},
        named: {"nodelist": named},
        other: {"exclude": f"{kept},{fast},{named}"},
    }
    try:
        for node, wish in wishes.items():
            spec = order("hostname", resources=Resources.model_validate({"cpus": 1, **wish}))
            heard = [each async for each in watcher.follow(spec, await cluster.submit(spec, FILES))]
            assert [each.content for each in heard if isinstance(each, LogGrew)] == [f"{node}\n".encode()]
    finally:
        await told(devcluster, "scontrol", "delete", "reservationname=ours")
        await told(devcluster, *features, "availablefeatures=", "activefeatures=")


@pytest.mark.nightly
async def test_a_job_that_is_suspended_goes_on_when_it_may(
    cluster: Cluster, watcher: Watcher, order: Any, devcluster: Devcluster, folder: PurePosixPath
) -> None:
    spec = order(f'until [ -e "{folder}/go" ]; do sleep 0.1; done; exit 4')
    job = await cluster.submit(spec, FILES)
    await until(watcher, spec, job, JobState.RUNNING)
    await told(devcluster, "scontrol", "suspend", str(job))
    await until(watcher, spec, job, JobState.SUSPENDED)
    await told(devcluster, "scontrol", "resume", str(job))
    Path(folder / "go").touch()
    assert (await ending(watcher, spec, job)).exit_code == 4


async def told(devcluster: Devcluster, *argv: str) -> None:
    """Tell Slurm something, as its administrator."""
    (await devcluster.supervisor.run(daemons.slurm_command(devcluster.plan, *argv))).require_success()


async def test_a_dependency_that_failed_ends_the_job(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    parent = await cluster.submit(order("exit 1"), FILES)
    spec = order(dependencies=(Dependency(DependencyKind.AFTER_OK, parent),))
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert (ended.kind, "DependencyNeverSatisfied" in ended.evidence) == (EndingKind.CANCELLED, True)


@pytest.mark.slow
async def test_the_signal_before_the_limit_reaches_the_work(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    spec = order(
        "trap 'exit 75' USR1; while :; do sleep 0.1; done",
        resources=Resources(time="1m"),
        signal_lead=timedelta(seconds=30),
    )
    assert (await ending(watcher, spec, await cluster.submit(spec, FILES))).exit_code == 75


async def test_a_second_submit_finds_the_first_job_even_when_it_has_ended(
    cluster: Cluster, watcher: Watcher, order: Any
) -> None:
    spec = order()
    assert await cluster.find(spec.token) == Absent()
    first, other = await asyncio.gather(cluster.submit(spec, FILES), cluster.submit(spec, FILES))
    assert first == other
    await endings(watcher, spec, first)
    assert await cluster.submit(spec, FILES) == first


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_controller_that_is_down_neither_loses_nor_doubles_a_job(
    cluster: Cluster, watcher: Watcher, order: Any, devcluster: Devcluster, shell: SshShell
) -> None:
    """Red on: core/slurm/cluster.py: `if isinstance(rows, Unreachable): return rows`
    -> `if isinstance(rows, Unreachable): return Absent()`.
    """
    running, waiting = order("sleep 10; exit 4"), order("exit 5")
    job = await cluster.submit(running, FILES)
    await until(watcher, running, job, JobState.RUNNING)
    controller = daemons.slurmctld(devcluster.plan)
    await devcluster.supervisor.stop(controller)
    try:
        assert isinstance(await cluster.find(running.token), Unreachable)
        watching = asyncio.create_task(ending(watcher, running, job))
        submitting = asyncio.create_task(cluster.submit(waiting, FILES))
        await asyncio.sleep(60)
        assert not submitting.done()
    finally:
        await devcluster.supervisor.start(controller)
    assert (await watching).exit_code == 4
    assert (await ending(watcher, waiting, await submitting)).exit_code == 5
    named = await shell.run(Command.of("sacct", "-n", "-X", "-P", f"--name={waiting.token}", "--format=JobID"))
    assert len(named.text.split()) <= 1


async def test_a_database_that_is_down_neither_loses_nor_doubles_a_job(
    cluster: Cluster, watcher: Watcher, order: Any, devcluster: Devcluster, shell: SshShell
) -> None:
    """Red on: core/slurm/parse.py: `return () if _NO_ACCOUNTING.search(told.stderr) else _silence("sacct", told)`
    -> `return ()`.
    """
    spec = order("exit 4")
    database = daemons.slurmdbd(devcluster.plan)
    await devcluster.supervisor.stop(database)
    try:
        assert isinstance(await cluster.find(spec.token), Unreachable)
        job = await cluster.submit(spec, FILES)
        assert (await ending(watcher, spec, job)).exit_code == 4
        assert await cluster.submit(spec, FILES) == job
    finally:
        await devcluster.supervisor.start(database)
    wait = 'until sacct -n -X -P -S now-1hour --name="$1" --format=JobID,State | grep FAILED; do sleep 0.2; done'
    told = await shell.run(Command.script(wait, spec.token), timeout=timedelta(seconds=90))
    assert told.text.split() == [f"{job}|FAILED"]


async def test_a_refusal_is_told_in_slurms_words(cluster: Cluster, order: Any) -> None:
    with pytest.raises(SlurmRefused, match="Invalid partition name"):
        await cluster.submit(order(resources=Resources(partition="nowhere")), FILES)
    with pytest.raises(SlurmRefused, match="nowhere"):
        await cluster.estimate(order(resources=Resources(partition="nowhere")))


async def test_an_estimate_says_when_and_where(cluster: Cluster, order: Any) -> None:
    estimate = await cluster.estimate(order())
    assert (estimate.start is not None, estimate.partition) == (True, "normal")


async def test_what_a_job_used_is_told_by_accounting(cluster: Cluster, watcher: Watcher, order: Any) -> None:
    spec = order(
        "python3 -c 'x = bytearray(60 << 20); import time; time.sleep(3)'", resources=Resources(cpus=2, memory="300M")
    )
    job = await cluster.submit(spec, FILES)
    assert (await ending(watcher, spec, job)).succeeded
    # The database has a job's time before it has what its steps took.
    while not isinstance(used := await cluster.usage(job), dict) or not used or used[job].peak_memory is None:
        await asyncio.sleep(0.2)
    assert (used[job].cpus, used[job].memory, used[job].elapsed.seconds >= 3) == (2, 300 << 20, True)
    assert 60 << 20 <= (used[job].peak_memory or 0) < 300 << 20
    assert 0 <= (used[job].cpu_efficiency or 0) < 1


async def test_a_job_that_ended_long_ago_is_found_in_accounting(cluster: Cluster, order: Any, shell: SshShell) -> None:
    spec = order()
    job = await cluster.submit(spec, FILES)
    wait = 'until sacct -n -X -P -S now-1hour --name="$1" --format=State | grep COMPLETED; do sleep 0.2; done'
    await shell.run(Command.script(wait, spec.token), timeout=timedelta(seconds=90))
    found = await cluster.find(spec.token)
    assert isinstance(found, Known)
    assert found.job == job
