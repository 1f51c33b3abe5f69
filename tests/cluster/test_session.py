"""Steps run in an allocation that is held open on the real Slurm, and whoever lost it is told."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import SessionLost, SlurmRefused
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command, Completed
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.session import Session

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell

MEETS = 'cd -- "$0" && touch "met-$1" && until [ "$(ls -d met-? | wc -l)" = 4 ]; do sleep 0.1; done'
WISH = Resources(cpus=2, memory="500M", time="5m")


@pytest.fixture
async def make(shell: SshShell, folder: PurePosixPath) -> AsyncIterator[Any]:
    """Makes sessions, which are closed at the end."""
    made: list[Session] = []

    def session(resources: Resources = WISH, **fields: Any) -> Session:
        place = folder / f"it's a $(session) {len(made)}"
        made.append(Session(Cluster(shell, SystemClock()), resources=resources, folder=place, **fields))
        return made[-1]

    yield session
    for each in made:
        await each.close()


async def steps(shell: SshShell, session: Session) -> list[str]:
    """The steps that run in a session's allocation; the first one is the allocation's own."""
    asked = Command.of("squeue", "-h", "-s", "-j", str(session.allocation.job), "-o", "%i")
    return (await shell.run(asked)).text.split()


async def until_steps(shell: SshShell, session: Session, number: int) -> None:
    """Wait until so many steps run, besides the allocation's own."""
    async with asyncio.timeout(60):
        while len(await steps(shell, session)) != number + 1:
            await asyncio.sleep(0.2)


async def state(shell: SshShell, session: Session) -> str:
    job = str(session.allocation.job)
    return (await shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job, "-o", "%T"))).text.strip()


async def test_a_step_gives_back_its_exit_code_and_what_it_printed(make: Any) -> None:
    async with make() as session:
        done = await session.run(
            Command.of("sh", "-c", 'cat; printf "%s|" "$@"; echo oh >&2; exit 7', "sh", "a b", "$(id)")
        )
        assert (done.exit_code, done.stdout) == (7, b"a b|$(id)|")
        # What srun says itself may come before it, or after.
        assert b"oh" in done.stderr.splitlines()
        assert (await session.run(Command.of("cat", stdin=b"in\377"))).stdout == b"in\377"
        assert (await session.run(Command.of("hostname"))).text.strip() == session.allocation.nodes


async def test_a_step_takes_a_tenth_of_a_second(make: Any, shell: SshShell) -> None:
    """On a busy machine everything takes longer, a bare srun too."""
    async with make() as session:
        bare = Command.of("srun", f"--jobid={session.allocation.job}", "--overlap", "true")
        took, bare_took = [], []
        for _ in range(10):
            took.append(await seconds_of(session.run(Command.of("true"))))
            bare_took.append(await seconds_of(shell.run(bare)))
        told = [f"{seconds * 1000:.0f}" for seconds in sorted(took)]
        sys.stdout.write(f"ten steps took {', '.join(told)} ms\n")
        assert sorted(took)[5] < max(1, 3 * sorted(bare_took)[5])


async def seconds_of(running: Awaitable[Completed]) -> float:
    """How long something that succeeds takes."""
    began = time.monotonic()
    (await running).require_success()
    return time.monotonic() - began


async def test_steps_run_at_once_and_over_several_nodes(make: Any, folder: PurePosixPath) -> None:
    async with make(Resources(nodes=2, tasks_per_node=2, memory="300M", time="5m")) as session:
        # Each waits for all four: they are there at once, or nobody comes back.
        meeting = [session.run(Command.of("sh", "-c", MEETS, str(folder), str(number))) for number in range(4)]
        done = await asyncio.gather(*meeting, session.run(Command.of("hostname"), options=("--nodes=2", "--ntasks=4")))
        assert [each.exit_code for each in done] == [0] * 5
        assert len(set(done[-1].text.split())) == 2
        assert len(done[-1].text.split()) == 4


async def test_a_step_that_slurm_cannot_start_is_refused(make: Any) -> None:
    async with make() as session:
        with pytest.raises(SlurmRefused, match="start a step"):
            await session.run(Command.of("true"), options=("--ntasks=1", "--cpus-per-task=99"))
        (await session.run(Command.of("true"))).require_success()


async def test_the_end_of_a_session_releases_its_nodes(make: Any, shell: SshShell) -> None:
    async with make() as session:
        assert await state(shell, session) == "RUNNING"
        job = str(session.allocation.job)
    said = (await shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job, "-o", "%T"))).text.strip()
    assert said in {"CANCELLED", "COMPLETING"}


async def test_a_step_whose_allocation_ends_is_lost_and_not_run_again(make: Any, shell: SshShell) -> None:
    """Red on: core/slurm/session.py: `standing.state not in _HELD` -> `False`."""
    async with make() as session:
        running = asyncio.create_task(session.run(Command.of("sleep", "60")))
        await until_steps(shell, session, 1)
        await shell.run(Command.of("scancel", str(session.allocation.job)))
        with pytest.raises(SessionLost, match="when the step ended"):
            await running
        with pytest.raises(SessionLost):
            await session.run(Command.of("true"))


async def test_a_step_that_nobody_waits_for_any_more_ends(make: Any, shell: SshShell) -> None:
    """Red on: core/slurm/session.py: `await asyncio.shield(self._tell(commands.end_step(held.job, mark)))` ->
    `pass`.
    """
    async with make() as session:
        running = asyncio.create_task(session.run(Command.of("sleep", "60")))
        await until_steps(shell, session, 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until_steps(shell, session, 0)
        assert await steps(shell, session) == [f"{session.allocation.job}.batch"]
        (await session.run(Command.of("true"))).require_success()


async def test_a_session_that_renews_itself_runs_the_next_step_in_a_new_allocation(make: Any, shell: SshShell) -> None:
    async with make(renews=True) as session:
        first = session.allocation.job
        await shell.run(Command.of("scancel", str(first)))
        with pytest.raises(SessionLost):
            await session.run(Command.of("true"))
        (await session.run(Command.of("true"))).require_success()
        assert session.allocation.job != first


async def test_a_step_that_needs_more_time_than_is_left_is_not_begun(make: Any) -> None:
    async with make() as session:
        assert timedelta(minutes=4) < session.left < timedelta(minutes=5)
        with pytest.raises(SessionLost, match="are left"):
            await session.run(Command.of("true"), needs=timedelta(hours=1))
    async with make(renews=True) as session:
        first = session.allocation.job
        (await session.run(Command.of("true"), needs=session.left)).require_success()
        assert session.allocation.job != first


async def test_an_idle_allocation_releases_itself_and_one_in_use_does_not(make: Any, shell: SshShell) -> None:
    async with make(idle=timedelta(seconds=4)) as session:
        asked = 'sleep 9; squeue -h -j "$SLURM_JOB_ID" -o %T'
        assert (await session.run(Command.of("sh", "-c", asked))).text == "RUNNING\n"
        while await state(shell, session) != "COMPLETED":
            await asyncio.sleep(0.5)
