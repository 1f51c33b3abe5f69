"""A watched job ends as it did: cases A to H are monitors known to have failed, the rest is what else may go wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.job import Array, Dependency, DependencyKind, Ending, EndingKind, JobSpec, JobState
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.verdict import Deadlines
from sluiceway.core.slurm.watched import Ended, StateSeen
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FILES, FastClock, Line, Order, ending, endings

LONG = "sleep 60"


@pytest.fixture
def hasty(line: Line, clock: FastClock) -> Watcher:
    """A watcher that gives a job up once it hears that nobody knows of it."""
    return Watcher(line, clock, deadlines=Deadlines(absence=timedelta()))


async def until_asked(slurm: FakeSlurm, program: str, watching: asyncio.Task[Ending]) -> None:
    """Wait until a program was asked, and answered, several times; or until nobody watches any more."""
    before = len(slurm.asked(program))
    async with asyncio.timeout(60):
        while len(slurm.asked(program)) < before + 5 and not watching.done():
            await asyncio.sleep(0.02)


async def test_a_a_failed_job_that_left_the_queue_without_accounting_is_no_success(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `return _ending(known, EndingKind.VANISHED,` -> `return _ending(known,
    EndingKind.SUCCEEDED,`.
    """
    slurm.set_accounting("none")
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.finish(job, "FAILED", status=1 << 8)
    slurm.forget(job)
    assert (await ending(watcher, spec, job)).kind is EndingKind.VANISHED


async def test_a_what_the_node_wrote_counts_where_slurm_has_forgotten(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `if known.outcome is not None:`
    -> `if known.outcome is not None and known.has_final_state:`.
    """
    slurm.set_accounting("none")
    spec = order("exit 3")
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    slurm.forget(job)
    ended = await ending(watcher, spec, job)
    assert (ended.kind, ended.exit_code) == (EndingKind.FAILED, 3)


async def test_b_a_failed_job_that_the_queue_still_knows_ends_at_once(
    cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/verdict.py: `outcome_of_failure: timedelta = timedelta(seconds=3)`
    -> `outcome_of_failure: timedelta = timedelta(minutes=5)`.
    """
    # So slow that a busy machine's own pauses are no minute of it.
    clock = FastClock(factor=5)
    slurm.set_accounting("none")
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.finish(job, "FAILED", status=7 << 8)
    began = clock.now()
    ended = await ending(Watcher(line, clock), spec, job)
    assert (ended.kind, ended.exit_code) == (EndingKind.FAILED, 7)
    assert clock.now() - began < timedelta(seconds=60)


async def test_c_a_silent_slurm_ends_no_running_job(
    cluster: Cluster, hasty: Watcher, order: Order, slurm: FakeSlurm, tmp_path: Path
) -> None:
    """Red on: core/slurm/parse.py: `return () if _UNKNOWN_JOB.search(told.stderr) else _silence("squeue", told)`
    -> `return ()`.
    """
    spec = order(f'until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; exit 4')
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.set_controller(up=False)
    slurm.set_accounting("none")
    watching = asyncio.create_task(ending(hasty, spec, job))
    await until_asked(slurm, "squeue", watching)
    assert not watching.done()
    (tmp_path / "go").touch()
    slurm.set_controller(up=True)
    assert (await watching).exit_code == 4


async def test_d_a_cut_line_neither_ends_nor_cancels_a_job(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/watcher.py: `except RemoteError as error: return Unreachable(str(error))`
    -> `except ZeroDivisionError as error: return Unreachable(str(error))`.
    """
    spec = order("sleep 0.5")
    job = await cluster.submit(spec, FILES)
    line.cut_before = 3
    assert (await ending(watcher, spec, job)).succeeded
    assert slurm.asked("scancel") == []


@pytest.mark.parametrize("state", ["COMPLETING", pytest.param("SUSPENDED", marks=pytest.mark.nightly)])
async def test_e_a_completing_job_has_not_completed(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, state: str
) -> None:
    """Red on: core/slurm/job.py: `_FINAL = frozenset( {` -> `_FINAL = frozenset( { JobState.COMPLETING,`."""
    slurm.freeze_accounting()
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.set_state(job, state)
    watching = asyncio.create_task(ending(watcher, spec, job))
    await asyncio.sleep(3)
    assert not watching.done()
    slurm.finish(job, "FAILED", status=5 << 8)
    assert (await watching).exit_code == 5


async def test_f_waiting_in_the_queue_for_hours_is_no_failure(
    cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/watched.py: `self.spell.hear(row.state, now)` -> `self.spell.hear("absent", now)`."""
    slurm.set_starts(on=False)
    spec = order()
    job = await cluster.submit(spec, FILES)
    hours = FastClock(factor=10_000)
    watching = asyncio.create_task(ending(Watcher(line, hours), spec, job))
    await asyncio.sleep(2)
    assert not watching.done()
    slurm.set_starts(on=True)
    slurm.wait(job)
    assert (await watching).succeeded
    assert slurm.asked("scancel") == []


@pytest.mark.parametrize("as_was", ["REQUEUED", "PREEMPTED", "NODE_FAIL"])
async def test_g_a_requeued_job_ends_with_its_last_run(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, as_was: str
) -> None:
    """Red on: core/slurm/watched.py: `self.raw, self.restarts = row.raw, row.restarts` -> `self.raw, self.restarts =
    row.raw, 0`.
    """
    spec = order(f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt 2 ] && {LONG}; exit 6', requeue=True)
    job = await cluster.submit(spec, FILES)
    restarts = set()
    async for change in watcher.follow(spec, job):
        match change:
            case StateSeen(state=JobState.RUNNING, restarts=number) if number < 2 and number not in restarts:
                restarts.add(number)
                slurm.requeue(job, as_was=as_was)
            case Ended(ended):
                assert (ended.exit_code, ended.outcome and ended.outcome.restart) == (6, 2)
            case _:
                pass
    assert restarts == {0, 1}


async def test_g_the_outcome_of_a_run_before_the_requeue_counts_for_nothing(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/job.py: `and restart in (None, self.restart)` -> `and True`."""
    spec = order(f'[ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || {LONG}', requeue=True)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    slurm.requeue(job)
    slurm.wait(job, "RUNNING")
    slurm.finish(job, "NODE_FAIL")
    ended = await ending(watcher, spec, job)
    assert ended.kind is EndingKind.NODE_FAILURE
    assert "another run" in ended.evidence


async def test_g_a_job_that_may_be_requeued_is_not_over_with_its_node(
    cluster: Cluster, line: Line, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `if known.has_final_state and _may_return(known, deadlines):` -> `if False:`."""
    spec = order('[ -n "$SLURM_RESTART_COUNT" ] || sleep 60', requeue=True)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.set_state(job, "NODE_FAIL")
    patient = Deadlines(outcome_of_failure=timedelta(), return_to_queue=timedelta(hours=1))
    watching = asyncio.create_task(ending(Watcher(line, FastClock(), deadlines=patient), spec, job))
    await asyncio.sleep(1)
    slurm.requeue(job, as_was="NODE_FAIL")
    slurm.set_state(job, "PENDING")
    assert (await watching).succeeded


async def test_h_a_job_killed_for_memory_is_out_of_memory(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `if known.is_over_memory: return` -> `if False: return`."""
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.run_over_memory(job)
    assert (await ending(watcher, spec, job)).kind is EndingKind.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("OUT_OF_MEMORY", EndingKind.OUT_OF_MEMORY),
        ("TIMEOUT", EndingKind.TIMEOUT),
        ("DEADLINE", EndingKind.TIMEOUT),
        ("NODE_FAIL", EndingKind.NODE_FAILURE),
        ("PREEMPTED", EndingKind.PREEMPTED),
    ],
)
async def test_h_what_slurm_ended_is_told_by_its_cause(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, state: str, kind: EndingKind
) -> None:
    """Red on: core/slurm/verdict.py: `JobState.TIMEOUT: EndingKind.TIMEOUT,` -> `JobState.TIMEOUT:
    EndingKind.FAILED,`.
    """
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.finish(job, state)
    assert (await ending(watcher, spec, job)).kind is kind


async def test_accounting_that_lags_ends_no_job_wrongly(
    cluster: Cluster, line: Line, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `absence: timedelta = timedelta(seconds=90)`
    -> `absence: timedelta = timedelta()`.
    """
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.freeze_accounting()
    slurm.finish(job, "FAILED", status=9 << 8)
    slurm.forget(job)
    # So slow that a busy machine's own pauses are not the minute that is left when accounting knows.
    watching = asyncio.create_task(ending(Watcher(line, FastClock(factor=10)), spec, job))
    # Thirty seconds at that clock's pace.
    await asyncio.sleep(3)
    assert not watching.done()
    slurm.thaw_accounting()
    assert (await watching).exit_code == 9


async def test_a_database_that_is_down_is_waited_for_where_only_it_could_know(
    cluster: Cluster, hasty: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/parse.py: `return () if _NO_ACCOUNTING.search(told.stderr) else _silence("sacct", told)`
    -> `return ()`.
    """
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    slurm.set_accounting("down")
    slurm.finish(job, "FAILED", status=9 << 8)
    slurm.forget(job)
    watching = asyncio.create_task(ending(hasty, spec, job))
    await until_asked(slurm, "sacct", watching)
    assert not watching.done()
    slurm.set_accounting("up")
    assert (await watching).exit_code == 9


async def test_a_vanished_job_is_a_failure_of_that_name(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, clock: FastClock
) -> None:
    """Red on: core/slurm/verdict.py: `known.absent_for >= deadlines.absence` -> `known.absent_for >= _NOTHING`."""
    spec = order(LONG)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job, "RUNNING")
    began = clock.now()
    slurm.vanish(job)
    assert (await ending(watcher, spec, job)).kind is EndingKind.VANISHED
    assert clock.now() - began > timedelta(seconds=90)


async def test_completed_without_an_outcome_file_is_no_success(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/verdict.py: `if has_completed: return _ending(known, EndingKind.CONTRADICTORY, told)`
    -> `if has_completed: return _ending(known, EndingKind.SUCCEEDED, told)`.
    """
    spec = order(command=("true",))
    job = await cluster.submit(spec, FILES)
    ended = await ending(watcher, spec, job)
    assert ended.kind is EndingKind.CONTRADICTORY
    assert "no outcome file" in ended.evidence


@pytest.mark.parametrize(("script", "state"), [("exit 0", "FAILED"), ("exit 0", "TIMEOUT"), ("exit 5", "COMPLETED")])
async def test_an_outcome_file_and_a_slurm_that_disagree_are_a_failure_of_that_name(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, script: str, state: str
) -> None:
    spec = order(script)
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    slurm.finish(job, state, status=256 if state == "FAILED" else 0)
    assert (await ending(watcher, spec, job)).kind is EndingKind.CONTRADICTORY


@pytest.mark.parametrize("content", [b"", b"{", b'{"job_id": 1}', b"\xff" * 99])
async def test_a_damaged_outcome_file_counts_for_nothing(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, content: bytes
) -> None:
    spec = order("exit 2")
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    Path(spec.outcome).write_bytes(content)
    ended = await ending(watcher, spec, job)
    assert (ended.kind, ended.exit_code, ended.outcome) == (EndingKind.FAILED, 2, None)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (f"echo ready; {LONG}", EndingKind.CANCELLED),
        ("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", EndingKind.CANCELLED),
        # The work said that it ended well, and Slurm that it was cancelled: that is for a person to look at.
        ("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", EndingKind.CONTRADICTORY),
    ],
)
async def test_a_job_that_somebody_else_cancels_is_cancelled(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, script: str, kind: EndingKind
) -> None:
    """Red on: core/slurm/verdict.py: `JobState.CANCELLED: EndingKind.CANCELLED,` -> `JobState.CANCELLED:
    EndingKind.FAILED,`.
    """
    spec = order(script)
    job = await cluster.submit(spec, FILES)
    await until_ready(spec)
    await Cluster(Line(), FastClock()).cancel(job)
    assert (await ending(watcher, spec, job)).kind is kind
    assert len(slurm.jobs) == 1


async def until_ready(spec: JobSpec) -> None:
    """Wait until a job's work has said that it is ready."""
    async with asyncio.timeout(60):
        while not Path(spec.stdout).exists() or Path(spec.stdout).read_text() != "ready\n":
            await asyncio.sleep(0.02)


async def test_a_job_whose_dependency_failed_ends(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    parent = await cluster.submit(order("exit 1"), FILES)
    spec = order(name="sw-2-a1", dependencies=(Dependency(DependencyKind.AFTER_OK, parent),))
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert ended.kind is EndingKind.CANCELLED
    assert "DependencyNeverSatisfied" in ended.evidence


async def test_the_signal_before_the_limit_reaches_the_work(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    spec = order(
        "trap 'echo saved; exit 75' USR1; while :; do sleep 0.05; done",
        resources=Resources(time="8s"),
        # The work has half of the time to set its trap.
        signal_lead=timedelta(seconds=4),
    )
    ended = await ending(watcher, spec, await cluster.submit(spec, FILES))
    assert (ended.kind, ended.exit_code) == (EndingKind.FAILED, 75)
    assert Path(spec.stdout).read_text() == "saved\n"


@pytest.mark.parametrize("program", ["squeue", "sacct"])
async def test_an_answer_that_nobody_can_read_ends_no_job(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, program: Literal["squeue", "sacct"]
) -> None:
    """Red on: core/slurm/parse.py: `except (ValueError, IndexError, ResourcesInvalid) as error:`
    -> `except ZeroDivisionError as error:`.
    """
    spec = order()
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    slurm.forget(job)
    slurm.garble(program, times=2)
    assert (await ending(watcher, spec, job)).succeeded


async def test_a_killed_element_fails_alone(cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm) -> None:
    spec = order('[ "$SLURM_ARRAY_TASK_ID" != 1 ] || sleep 60', array=Array(count=3, offset=10))
    job = await cluster.submit(spec, FILES)
    slurm.wait(job.element(1), "RUNNING")
    slurm.finish(job.element(1), "NODE_FAIL")
    kinds = {each.job.task: each.kind for each in await endings(watcher, spec, job)}
    assert kinds == {0: EndingKind.SUCCEEDED, 1: EndingKind.NODE_FAILURE, 2: EndingKind.SUCCEEDED}


async def test_a_heterogeneous_job_ends_once(cluster: Cluster, watcher: Watcher, order: Order) -> None:
    spec = order("exit 8", resources=Resources(nodes=1), components=(Resources(nodes=2),))
    job = await cluster.submit(spec, FILES)
    assert (await ending(watcher, spec, job)).exit_code == 8


async def test_a_heterogeneous_job_is_one_job_in_accounting_too(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/watched.py: `is_leader and row.job.number` -> `row.job.number`."""
    spec = order("exit 8", resources=Resources(nodes=1), components=(Resources(nodes=2),))
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    slurm.forget(job)
    ended = await ending(watcher, spec, job)
    assert (ended.exit_code, ended.outcome is not None) == (8, True)
