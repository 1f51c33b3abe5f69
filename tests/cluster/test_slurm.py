"""The devcluster's Slurm is a real one: it keeps the promises, and its jobs are what jobs on a cluster are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.remote.shell import Command
from tests.slurm_promises import SlurmPromises, submit

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from sluiceway.deployments.devcluster.cluster import Devcluster

SOON = timedelta(seconds=100)


class TestRealSlurm(SlurmPromises):
    """Every promise, asked of the real one."""


async def lines(shell: SshShell, *argv: str) -> list[str]:
    """What a command prints, line by line."""
    return (await shell.run(Command.of(*argv), timeout=SOON)).require_success().text.splitlines()


# When a job does not get there, what Slurm says of it is the beginning of every answer.
UNTIL = """
for try in $(seq 400); do
    if sacct -n -X -P -j "$1" --format=State | grep -E "$2"; then exit 0; fi
    sleep 0.1
done
{ sacct -j "$1"; squeue; sinfo -N -l; scontrol show job "$1"; } >&2
exit 1
"""


async def sacct_until(shell: SshShell, job: str, wanted: str) -> str:
    """A job's state in accounting, once it is one of those wanted (a pattern of grep -E)."""
    return (await shell.run(Command.script(UNTIL, job, wanted), timeout=SOON)).require_success().text.strip()


async def test_each_node_has_its_own_name_and_address(shell: SshShell, devcluster: Devcluster) -> None:
    said = await lines(
        shell, "srun", "-N4", "sh", "-c", 'echo "$(hostname) $(getent hosts "$(hostname)" | cut -d" " -f1)"'
    )
    assert sorted(said) == [f"{node.name} {node.address}" for node in devcluster.plan.nodes]


async def test_jobs_run_as_the_ordinary_user(shell: SshShell, devcluster: Devcluster) -> None:
    assert await lines(shell, "srun", "id", "-un") == [devcluster.plan.user]


async def test_one_node_has_two_gpus(shell: SshShell, devcluster: Devcluster) -> None:
    said = await lines(shell, "srun", "--gres=gpu:2", "sh", "-c", 'echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"')
    assert said == [f"{devcluster.plan.nodes[-1].name} 0,1"]


async def test_nodes_claim_sixteen_gigabytes(shell: SshShell) -> None:
    assert await lines(shell, "sinfo", "-h", "-N", "-p", "normal", "-o", "%m") == ["16000"] * 4


async def test_an_ordinary_user_can_run_a_python_and_build_environments_from_it(shell: SshShell) -> None:
    said = await lines(
        shell, "srun", "sh", "-c", "/usr/bin/python3 -m venv job-env && job-env/bin/python -c 'print(6*7)'"
    )
    assert said == ["42"]


async def test_arrays_beyond_the_small_maximum_are_refused(shell: SshShell) -> None:
    over = await shell.run(Command.of("sbatch", "--parsable", "--array=0-101", "--wrap=true"))
    assert (over.exit_code, b"Invalid job array specification" in over.stderr) == (1, True)
    assert (await submit(shell, "--hold", "--array=0-100")).isdecimal()


@pytest.mark.parametrize(
    ("script", "state"),
    [("exit 0", "COMPLETED"), ("exit 3", "FAILED"), ("kill -9 $$", "FAILED")],
)
async def test_accounting_tells_how_a_job_ended(shell: SshShell, script: str, state: str) -> None:
    job = await submit(shell, script=f"#!/bin/sh\n{script}\n".encode())
    assert await sacct_until(shell, job, "COMPLETED|FAILED") == state


@pytest.mark.parametrize(("partition", "state"), [("low", "PENDING|PREEMPTED|REQUEUED"), ("lowcancel", "PREEMPTED")])
async def test_normal_work_preempts_low_work(shell: SshShell, partition: str, state: str) -> None:
    low = await submit(shell, f"--partition={partition}", "-N4", "--exclusive", script=b"#!/bin/sh\nsleep 100\n")
    await sacct_until(shell, low, "RUNNING")
    await lines(shell, "srun", "-N4", "--exclusive", "true")
    await sacct_until(shell, low, state)
    await lines(shell, "scancel", low)


async def test_accounts_and_qualities_of_service_are_enforced(shell: SshShell) -> None:
    assert (await submit(shell, "--hold", "--account=teaching", "--qos=high")).isdecimal()
    refused = await shell.run(Command.of("sbatch", "--account=nobody", "--wrap=true"))
    assert b"Invalid account" in refused.stderr


async def test_a_node_that_fails_takes_its_job_with_it_and_comes_back(shell: SshShell, devcluster: Devcluster) -> None:
    node = devcluster.plan.nodes[1].name
    job = await submit(shell, f"--nodelist={node}", "--no-requeue", script=b"#!/bin/sh\nsleep 100\n")
    await sacct_until(shell, job, "RUNNING")
    await devcluster.fail(node)
    assert await sacct_until(shell, job, "NODE_FAIL") == "NODE_FAIL"
    await devcluster.resume(node)
    assert await lines(shell, "srun", f"--nodelist={node}", "hostname") == [node]


async def test_twenty_jobs_submitted_at_once_are_twenty_jobs(shell: SshShell) -> None:
    jobs = await asyncio.gather(*(submit(shell, "--hold") for _ in range(20)))
    assert len(set(jobs)) == 20
