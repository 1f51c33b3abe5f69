"""Attempts that failed for no fault of the payload are made again, on the fake Slurm: asked for better, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.runs.messages import LogLine
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.retries import Retries
from sluiceway.core.runs.run import run
from sluiceway.core.slurm.job import EndingKind
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import PLACE, There

# The first attempt goes on until something happens to it.
SLOW_AT_FIRST = 'case "$PWD" in */a1/*) echo began; sleep 60;; esac; echo done\n'
LOOKS_BACK = 'cat "$SLUICEWAY_CHECKPOINT"/* 2>/dev/null; echo half >"$SLUICEWAY_CHECKPOINT/far"\n'


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


async def tried(there: There, request: RunRequest, retries: Retries | None = None, **wish: Any) -> RunReceipt:
    host = there.host(**wish)
    policy = retries or Retries()
    return await run(request, runs=there.runs, host=host, place=PLACE, heard=there.hear, retries=policy)


async def until_began(there: There, slurm: FakeSlurm, number: int = 1) -> int:
    """Wait until so many jobs have been, and the last one says that it began; give its id."""
    async with asyncio.timeout(60):
        while len(slurm.jobs) < number or slurm.jobs[-1]["pid"] is None:
            await asyncio.sleep(0.02)
        job: int = slurm.jobs[-1]["number"]
        while not Path(slurm.jobs[-1]["stdout"]).exists() or "began" not in Path(slurm.jobs[-1]["stdout"]).read_text():
            await asyncio.sleep(0.02)
    return job


def batch_script(there: There, receipt: RunReceipt) -> str:
    attempt = there.runs.folder(receipt.key).attempt(receipt.attempt)
    return Path(attempt.at(there.access.base).batch_script).read_text()


Happen = Callable[[FakeSlurm, int], None]


async def after(there: There, slurm: FakeSlurm, text: str, happen: Happen, **wish: Any) -> RunReceipt:
    """Run a script to whose first attempt something happens."""
    running = asyncio.create_task(tried(there, there.request(text), **wish))
    happen(slurm, await until_began(there, slurm))
    return await running


async def test_a_job_over_its_memory_is_asked_for_with_more(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/retries.py: `EndingKind.OUT_OF_MEMORY: _more_memory,`
    -> `EndingKind.OUT_OF_MEMORY: _elsewhere,`.
    """
    receipt = await after(there, slurm, SLOW_AT_FIRST, FakeSlurm.run_over_memory, memory="200M")
    assert (receipt.succeeded, receipt.attempt) == (True, 2)
    assert "--mem=400M" in batch_script(there, receipt)
    assert receipt.retry == "attempt 1 ended: out of memory; again, memory 400M"
    assert LogLine(text=receipt.retry, level="warning") in there.heard
    first = there.runs.folder(receipt.key).attempt(1)
    assert (Path(first.stdout).read_text(), Path(first.manifest).exists()) == ("began\n", True)


async def test_a_node_that_failed_is_left_out(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/retries.py: `EndingKind.NODE_FAILURE: _elsewhere,`
    -> `EndingKind.NODE_FAILURE: _more_time,`.
    """
    receipt = await after(there, slurm, SLOW_AT_FIRST, lambda slurm, job: slurm.finish(job, "NODE_FAIL"))
    assert (receipt.succeeded, receipt.attempt) == (True, 2)
    assert "--exclude=node1" in batch_script(there, receipt)


async def test_a_job_that_was_preempted_is_asked_for_as_it_was(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/retries.py: `EndingKind.PREEMPTED: 10` -> `EndingKind.PREEMPTED: 0`."""
    receipt = await after(there, slurm, SLOW_AT_FIRST, lambda slurm, job: slurm.finish(job, "PREEMPTED"), cpus=2)
    assert (receipt.succeeded, receipt.attempt) == (True, 2)
    options = [line for line in batch_script(there, receipt).splitlines() if "cpus" in line or "mem" in line]
    assert options == ['#SBATCH "--cpus-per-task=2"']


@pytest.mark.parametrize(("text", "limit"), [(SLOW_AT_FIRST, "02:00:00"), (LOOKS_BACK + SLOW_AT_FIRST, "01:00:00")])
async def test_one_that_ran_out_of_time_gets_more_or_goes_on_from_its_checkpoint(
    there: There, slurm: FakeSlurm, text: str, limit: str
) -> None:
    """Red on: core/runs/retries.py: `if failed.has_checkpoint:` -> `if not failed.has_checkpoint:`."""
    receipt = await after(there, slurm, text, lambda slurm, job: slurm.finish(job, "TIMEOUT"), time="1h")
    assert (receipt.succeeded, receipt.attempt) == (True, 2)
    assert f"--time=0-{limit}" in batch_script(there, receipt)
    assert receipt.stdout.read_text() == ("half\ndone\n" if text.startswith(LOOKS_BACK) else "done\n")


async def test_one_that_was_warned_and_gave_up_goes_on_from_its_checkpoint(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/jobside.py: `self.was_warned or number == signal.SIGUSR1` -> `False`."""
    text = (
        'if [ -e "$SLUICEWAY_CHECKPOINT/far" ]; then cat "$SLUICEWAY_CHECKPOINT/far"; exit 0; fi\n'
        """trap 'echo half >"$SLUICEWAY_CHECKPOINT/far"; exit 75' USR1\n"""
        "echo began; while :; do sleep 0.05; done\n"
    )
    # The work has half of the time to set its trap.
    receipt = await tried(there, there.request(text), time="8s", warning="4s")
    assert (receipt.succeeded, receipt.attempt, receipt.stdout.read_text()) == (True, 2, "half\n")
    assert "going on from its checkpoint" in (receipt.retry or "")
    assert '"--signal=B:USR1@4"' in batch_script(there, receipt)


async def test_an_error_of_the_payload_is_not_tried_again(there: There) -> None:
    receipt = await tried(there, there.request("exit 3"))
    assert (receipt.attempt, receipt.exit_code, receipt.retry) == (1, 3, None)


async def test_there_is_an_end_to_it(there: There, slurm: FakeSlurm) -> None:
    request = there.request("echo began; sleep 60")
    running = asyncio.create_task(tried(there, request, Retries(most=2), memory="200M"))
    for number in (1, 2, 3):
        slurm.run_over_memory(await until_began(there, slurm, number))
    receipt = await running
    assert (receipt.attempt, receipt.ending, len(slurm.jobs)) == (3, EndingKind.OUT_OF_MEMORY, 3)
    assert "--mem=800M" in batch_script(there, receipt)


async def test_what_was_decided_before_a_crash_holds_after_it(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/retries.py: `Path(folder.run.again), again.to_bytes()` -> `Path(folder.run.again), b"{}"`."""
    request = there.request("echo began; sleep 60")

    async def die(_: object) -> None:
        raise KeyError

    first = There(there.folder, there.line, there.clock)
    first.hear = die  # type: ignore[method-assign, assignment]
    running = asyncio.create_task(tried(first, request, Retries(most=2), memory="200M"))
    with pytest.raises(KeyError):
        await running
    (job,) = slurm.jobs
    slurm.run_over_memory(job["number"])
    running = asyncio.create_task(tried(there, request, Retries(most=1), memory="200M"))
    slurm.run_over_memory(await until_began(there, slurm, 2))
    receipt = await running
    assert (receipt.attempt, len(slurm.jobs), receipt.retry) == (
        2,
        2,
        "attempt 1 ended: out of memory; again, memory 400M",
    )


async def test_what_slurm_refuses_the_second_time_leaves_the_first_failure(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/run.py: `if receipt is None: raise` -> `raise`."""

    def happen(slurm: FakeSlurm, job: int) -> None:
        slurm.refuse("Memory specification can not be satisfied")
        slurm.run_over_memory(job)

    receipt = await after(there, slurm, SLOW_AT_FIRST, happen, memory="200M")
    assert (receipt.attempt, receipt.ending) == (1, EndingKind.OUT_OF_MEMORY)
    assert any(isinstance(each, LogLine) and "can not be satisfied" in each.text for each in there.heard)


@pytest.mark.parametrize(("fresh", "printed"), [(False, "half\n"), (True, "")])
async def test_a_failed_run_that_is_asked_for_again_goes_on_and_a_fresh_one_does_not(
    there: There, *, fresh: bool, printed: str
) -> None:
    request = there.request(LOOKS_BACK + "exit 3")
    await there.run(request)
    receipt = await there.run(request, fresh=fresh)
    assert (receipt.attempt, receipt.stdout.read_text()) == (2, printed)
