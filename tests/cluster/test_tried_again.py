"""The life of a run on the real Slurm when something runs out: memory, time, a node, or patience with the queue."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import host_at, runs_here
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.retries import Retries
from sluiceway.core.runs.run import run
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from tests.cluster.test_runs import PLACE, TOML, There
from tests.conftest import User

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from sluiceway.deployments.devcluster.cluster import Devcluster

# Counts until it is warned, for Slurm looks at limits twice a minute only; from a checkpoint, ten more.
COUNTS = """\
far="$SLUICEWAY_CHECKPOINT/far"
n=0 last=
if [ -s "$far" ]; then n=$(cat "$far") last=$((n + 10)); fi
echo "from $n"
trap 'echo "$n" >"$far"; echo "saved $n"; exit 75' USR1
while [ "$n" != "$last" ]; do sleep 0.2 & wait $!; n=$((n + 1)); done
echo "counted to $n"
"""
# Slurm looks once a second what a job has taken: the first attempt waits until it has.
GREEDY = """\
python3 -c 'import os, time; held = bytearray(300 << 20); time.sleep(90 * ("/a1/" in os.getcwd()))'
echo done
"""


@pytest.fixture
def there(user: User, shell: SshShell, folder: PurePosixPath, devcluster: Devcluster) -> There:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    plan = devcluster.plan
    text = TOML.format(name=plan.name, config=plan.folder.ssh_config, base=folder / "base")
    user.write("home/clusters.toml", text)
    return There(user.folder, shell)


async def tried(there: There, request: RunRequest, **wish: Any) -> RunReceipt:
    runs = runs_here()
    async with host_at(PLACE, runs, wish=Resources.model_validate(wish)) as host:
        return await run(request, runs=runs, host=host, place=PLACE, heard=there.hear, retries=Retries())


async def job_of(request: RunRequest, attempt: int = 1) -> str:
    """The id of the job of an attempt, once it is submitted."""
    runs = runs_here()
    async with asyncio.timeout(90), host_at(PLACE, runs) as host:
        folder = runs.folder(request.key).attempt(attempt)
        while not Path(folder.job).exists():
            await asyncio.sleep(0.05)
        return str(await host.find(folder))


async def test_a_job_over_its_memory_succeeds_at_the_second_attempt_with_more(there: There) -> None:
    request = there.request(GREEDY)
    receipt = await tried(there, request, memory="200M")
    assert (receipt.attempt, receipt.retry) == (2, "attempt 1 ended: out of memory; again, memory 400M"), receipt.why
    assert receipt.ending is EndingKind.SUCCEEDED


async def test_a_node_that_failed_is_left_out_of_the_next_attempt(there: There, devcluster: Devcluster) -> None:
    """Red on: core/runs/retries.py: `EndingKind.NODE_FAILURE: _elsewhere,` -> `EndingKind.NODE_FAILURE:
    _more_time,`.
    """
    request = there.request('case "$PWD" in */a1/*) echo here; sleep 100;; esac; hostname')
    running = asyncio.create_task(tried(there, request))
    await there.until("here")
    asked = Command.of("squeue", "-h", "-j", await job_of(request), "-o", "%N")
    node = (await there.shell.run(asked)).text.strip()
    await devcluster.fail(node)
    try:
        receipt = await running
    finally:
        await devcluster.resume(node)
    assert (receipt.succeeded, receipt.attempt, f"not on {node}" in (receipt.retry or "")) == (True, 2, True)
    assert receipt.stdout.read_text().strip() != node


@pytest.mark.slow
async def test_one_that_is_warned_before_its_limit_goes_on_in_the_next_attempt(there: There, shell: SshShell) -> None:
    request = there.request(COUNTS)
    running = asyncio.create_task(tried(there, request, time="10m", warning="30s"))
    await there.until("from 0")
    await asyncio.sleep(3)
    job = await job_of(request)
    (await shell.run(Command.of("scontrol", "update", f"jobid={job}", "EndTime=now+40"))).require_success()
    receipt = await running
    assert (receipt.succeeded, receipt.attempt) == (True, 2), receipt.why
    assert "timeout; again going on from its checkpoint, as it was" in (receipt.retry or "")
    first, second = receipt.stdout.read_text().splitlines()
    far = int(first.removeprefix("from "))
    assert far > 10
    assert second == f"counted to {far + 10}"
    before = Path(runs_here().folder(request.key).attempt(1).stdout).read_text()
    assert before == f"from 0\nsaved {far}\n"


async def test_a_payload_sees_both_components_of_a_heterogeneous_job(there: There) -> None:
    request = there.request(
        'echo "$SLURM_HET_SIZE components"\n'
        "srun --het-group=0,1 sh -c 'echo \"$SLURM_CPUS_ON_NODE cpus on $(hostname)\"' | sort\n"
    )
    receipt = await tried(there, request, cpus=3, memory="200M", components=[{"nodes": 2, "cpus": 2, "memory": "100M"}])
    lines = receipt.stdout.read_text().splitlines()
    assert lines[0] == "2 components", receipt.stderr.read_text()
    assert [line.split()[0] for line in lines[1:]] == ["2", "2", "3"]
    assert len({line.split()[-1] for line in lines[1:]}) >= 2


async def test_a_job_that_waits_too_long_is_given_up_and_one_that_runs_is_not(there: There) -> None:
    waiting = there.request("true")
    receipt = await tried(there, waiting, queue_limit="3s", nodes=50)
    assert (receipt.ending, "it had waited in the queue" in receipt.why) == (EndingKind.CANCELLED, True), receipt.why
    # So long that a busy machine has begun it.
    receipt = await tried(there, there.request("sleep 9; echo done"), queue_limit="6s")
    assert receipt.succeeded


async def test_a_job_whose_dependency_can_never_be_met_ends_and_says_so(there: There) -> None:
    failed = await tried(there, there.request("exit 3"))
    receipt = await tried(there, there.request("true"), dependency=f"afterok:{failed.job_id}")
    assert (receipt.ending, "DependencyNeverSatisfied" in receipt.why) == (EndingKind.CANCELLED, True), receipt.why
