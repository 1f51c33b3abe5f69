"""Whole runs on the real Slurm while a part of it breaks: one job, the right result, and nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.run import Step
from sluiceway.core.slurm.job import EndingKind
from sluiceway.deployments.devcluster import daemons
from tests.cluster.breaking import (
    AtSteps,
    cut_off,
    id_of,
    kill_what_runs,
    sbatch_that_waits,
    small_disk,
    standing_still,
)
from tests.cluster.test_runs import TOML, There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.cluster.test_tried_again import job_of, tried
from tests.conftest import User

if TYPE_CHECKING:
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.deployments.devcluster.cluster import Devcluster

NIGHTLY = pytest.mark.nightly


async def asked(there: There, job: str, what: str) -> str:
    """What squeue tells of a job."""
    return (await there.shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job, "-o", what))).text.strip()


async def until_it_is(there: There, job: str, state: str) -> None:
    """Wait until Slurm says so of a job."""
    async with asyncio.timeout(90):
        while await asked(there, job, "%T") != state:
            await asyncio.sleep(0.1)


async def states(there: There, request: RunRequest, n_jobs: int) -> list[str]:
    """How every job of a request ended, once accounting knows so many of them by name."""
    async with asyncio.timeout(90):
        while len(found := await there.settled(request)) < n_jobs:
            await asyncio.sleep(0.5)
    return [each.partition("|")[2] for each in found]


async def test_a_login_node_that_is_cut_off_at_submit_await_and_collect_costs_nothing_but_time(
    there: There, devcluster: Devcluster
) -> None:
    """Red on: core/remote/ssh.py: `if self._connection is not None and not self._connection.is_closed():` -> `if
    self._connection is not None:`.
    """
    await cut_at_each_step(there, devcluster, seconds=4)


@pytest.mark.nightly
@pytest.mark.timeout(400)
async def test_a_login_node_that_is_cut_off_for_a_minute_at_each_step_is_waited_for(
    there: There, devcluster: Devcluster
) -> None:
    await cut_at_each_step(there, devcluster, seconds=60)


async def cut_at_each_step(there: There, devcluster: Devcluster, *, seconds: int) -> None:
    request = there.request("echo began; sleep 1; head -c 600000 /dev/zero >made.bin; echo done", outputs=("made.bin",))
    cuts = AtSteps((Step.INTENDED, Step.SUBMITTED, Step.ENDED), lambda: cut_off(devcluster, seconds))
    with cuts.listening():
        receipt = await there.run(request)
    assert (receipt.succeeded, receipt.outputs[0].size) == (True, 600_000), receipt.why
    assert receipt.stdout.read_text() == "began\ndone\n"
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]


@pytest.mark.parametrize(
    "after", [0.0, 0.5, *(pytest.param(each, marks=NIGHTLY) for each in (0.002, 0.005, 0.01, 0.02, 0.05))]
)
async def test_an_sbatch_that_is_killed_while_the_controller_stands_still_leaves_one_job(
    there: There, devcluster: Devcluster, after: float
) -> None:
    """Red on: core/slurm/parse.py: `return _silence("sbatch", told)` -> `return Refused("killed")`."""
    request = there.request("echo said")
    with sbatch_that_waits(devcluster) as waits:
        killing = asyncio.create_task(asyncio.to_thread(waits.kill, after=after))
        receipt = await there.run(request)
        await killing
    assert (receipt.succeeded, receipt.attempt, receipt.stdout.read_text()) == (True, 1, "said\n")
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]


async def test_e_a_job_that_is_completing_has_not_ended(there: There, devcluster: Devcluster) -> None:
    """Red on: core/slurm/job.py: `_FINAL = frozenset( {` -> `_FINAL = frozenset( { JobState.COMPLETING,`."""
    request = there.request("echo began; sleep 100")
    node = devcluster.plan.nodes[1]
    # So often that whoever took it for its end would have said so before the node is given up.
    known = there.folder / "home" / "clusters.toml"
    known.write_text(f"{known.read_text()}busy_poll_seconds = 0.5\nlongest_poll_seconds = 1\n")
    running = asyncio.create_task(there.run(request, nodelist=node.name))
    await there.until("began")
    job = await job_of(request)
    # Its daemon is asked to clear up, and does not: what a slow epilog looks like.
    with standing_still(id_of(daemons.slurmd(devcluster.plan, node))):
        kill_what_runs(job, with_daemon=False)
        await until_it_is(there, job, "COMPLETING")
        await asyncio.sleep(6)
        assert not running.done()
    receipt = await running
    assert "COMPLETING" not in receipt.why
    assert receipt.ending in (EndingKind.KILLED, EndingKind.NODE_FAILURE), receipt.why
    assert await asked(there, job, "%T") != "COMPLETING"
    await devcluster.resume(node.name)


async def test_a_node_daemon_that_is_killed_and_comes_back_leaves_its_job_alone(
    there: There, devcluster: Devcluster
) -> None:
    """Red on: core/slurm/verdict.py: `has_worked = outcome.exit_code == 0` -> `has_worked = True`."""
    request = there.request("echo began; sleep 4; echo done; exit 3")
    node = devcluster.plan.nodes[1]
    running = asyncio.create_task(there.run(request, nodelist=node.name))
    await there.until("began")
    os.kill(id_of(daemons.slurmd(devcluster.plan, node)), signal.SIGKILL)
    await asyncio.sleep(0.5)
    await devcluster.supervisor.start(daemons.slurmd(devcluster.plan, node))
    receipt = await running
    assert (receipt.ending, receipt.exit_code) == (EndingKind.FAILED, 3), receipt.why
    assert receipt.stdout.read_text() == "began\ndone\n"
    assert await there.settled(request) == [f"{receipt.job_id}|FAILED"]


@pytest.mark.nightly
@pytest.mark.timeout(200)
async def test_a_node_that_dies_with_all_it_runs_costs_one_attempt(there: There, devcluster: Devcluster) -> None:
    """Red on: core/runs/retries.py: `EndingKind.NODE_FAILURE: 3` -> `EndingKind.NODE_FAILURE: 0`."""
    request = there.request('echo "began on $(hostname)"; case "$PWD" in */a1/*) sleep 300;; esac; echo done')
    running = asyncio.create_task(tried(there, request))
    job = await job_of(request)
    await until_it_is(there, job, "RUNNING")
    name = await asked(there, job, "%N")
    node = next(each for each in devcluster.plan.nodes if each.name == name)
    await there.until(f"began on {name}")
    daemon = daemons.slurmd(devcluster.plan, node)
    os.kill(id_of(daemon), signal.SIGKILL)
    kill_what_runs(job, with_daemon=True)
    try:
        receipt = await running
    finally:
        await devcluster.supervisor.start(daemon)
        await devcluster.resume(name)
    assert (receipt.succeeded, receipt.attempt) == (True, 2), receipt.why
    assert f"not on {name}" in (receipt.retry or "")
    assert receipt.stdout.read_text().splitlines()[-1] == "done"
    assert await states(there, request, 2) == ["NODE_FAIL", "COMPLETED"]


FILLS = 'case "$PWD" in */a1/*) echo began; cat /dev/zero >filler; exit $?;; esac; echo done\n'


def based(user: User, devcluster: Devcluster, base: Path) -> None:
    """Let runs go to another base folder there."""
    plan = devcluster.plan
    user.write("home/clusters.toml", TOML.format(name=plan.name, config=plan.folder.ssh_config, base=base))


async def test_a_run_whose_disk_fills_up_has_failed_and_is_run_anew_when_there_is_room(
    there: There, user: User, folder: PurePosixPath, devcluster: Devcluster
) -> None:
    """Red on: core/runs/jobside.py: `return REFUSED if isinstance(error, Refused) else CANNOT_WRITE` -> `return 0`."""
    base = Path(folder / "small")
    async with small_disk(devcluster, base) as node:
        based(user, devcluster, base)
        request = there.request(FILLS)
        failed = await there.run(request, nodelist=node)
        assert failed.ending is EndingKind.FAILED, failed.why
        for filler in base.glob("runs/*/a1/work/filler"):
            filler.unlink()
        receipt = await there.run(request, nodelist=node)
        assert (receipt.succeeded, receipt.attempt, receipt.stdout.read_text()) == (True, 2, "done\n")
        assert await states(there, request, 2) == ["FAILED", "COMPLETED"]


async def test_a_disk_that_is_full_before_the_submit_is_waited_for_and_makes_one_job(
    there: There, user: User, folder: PurePosixPath, devcluster: Devcluster
) -> None:
    """Red on: core/slurm/commands.py: `set -eu umask 077` -> `set -u; umask 077`."""
    base = Path(folder / "small")
    async with small_disk(devcluster, base) as node:
        based(user, devcluster, base)
        (base / "filler").write_bytes(b"x" * (1 << 20))
        request = there.request("echo said")
        running = asyncio.create_task(there.run(request, nodelist=node))
        await asyncio.sleep(3)
        assert not running.done()
        (base / "filler").unlink()
        receipt = await running
        assert (receipt.succeeded, receipt.attempt) == (True, 1), receipt.why
        assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]
