"""Whoever runs a script on a cluster is killed, and nobody asks again: reconciling finds the one job by its token."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.reconcile import Reconciler, Repair
from sluiceway.core.registry.runs import runs_in
from sluiceway.core.runs import place
from sluiceway.core.runs.hosts import host_at, runs_here
from tests.conftest import User
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.killed import LOST, WORK
from tests.wire.slurm.test_killed import folder, killed

__all__ = ["folder"]


async def mended() -> list[Repair]:
    runs = runs_here()
    async with await registry_at(runs.home) as database:
        reconciler = Reconciler(database=database, runs=runs, reach=lambda name: host_at(place.parse(name), runs))
        return [each.repair for each in await reconciler.all()]


async def states() -> list[str]:
    async with await registry_at(runs_here().home) as database, database.reading() as connection:
        return [each.attempt.state for each in await runs_in(connection)]


@pytest.mark.parametrize("step", [next(reversed(LOST)), "job ended"])
async def test_a_job_that_nobody_waits_for_is_found_and_collected_once(
    folder: Path, step: str, slurm: FakeSlurm, user: User
) -> None:
    """Red on: core/registry/unwatched.py: `runs=runs, host=self.unwatched.host)` -> `runs=runs, host=None)`."""
    assert killed(folder, step) == -signal.SIGKILL
    assert await mended() == [Repair.COLLECTED]
    assert (await states(), await mended()) == (["succeeded"], [])
    assert slurm.only_job()
    assert (folder / "count").read_text() == "started\n"


@pytest.mark.parametrize("work", ["launcher", "calls"])
async def test_what_a_launcher_runs_and_many_calls_are_collected_as_well(
    folder: Path, work: str, slurm: FakeSlurm
) -> None:
    """Red on: core/runs/hosts.py: `return SlurmArray(host.access)` -> `return None`."""
    assert killed(folder, "job submitted", work) == -signal.SIGKILL
    while Repair.COLLECTED not in (done := await mended()):
        assert {*done} <= {Repair.FOUND}
    assert (await states(), await mended()) == (["succeeded"], [])
    n_jobs, count = len(slurm.jobs), (folder / "count").read_text()
    assert await WORK[work](folder)
    assert (len(slurm.jobs), (folder / "count").read_text()) == (n_jobs, count)


async def test_an_intent_without_a_job_starts_none(folder: Path, slurm: FakeSlurm) -> None:
    """Red on: core/registry/reconcile.py: `if await self._state(finding) is State.LOST:` -> `if False:`."""
    assert killed(folder, "attempt intended") == -signal.SIGKILL
    assert Repair.ORPHANED in await mended()
    assert (await states(), await mended()) == (["lost"], [])
    assert not (folder / "count").exists()
