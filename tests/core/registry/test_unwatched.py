"""Whoever made many calls on this machine is killed, and nobody asks again: what was made is collected all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sluiceway.core.registry.database import Database
from sluiceway.core.registry.reconcile import Reconciler, Repair
from sluiceway.core.registry.runs import runs_in
from sluiceway.core.runs.host import JobHost
from sluiceway.core.runs.hosts import host_at
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.run import Step
from tests.conftest import ROOT, User
from tests.core.runs.here import Here, until
from tests.core.runs.test_array import arrays, program, slow, values

# Calls take seconds, on each database.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize(
        "url", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.nightly])], indirect=True
    ),
]


@pytest.fixture
def here(user: User, url: str) -> Here:
    user.export("SLUICEWAY_REGISTRY", url)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    return Here(user.folder)


async def mended(here: Here, database: Database) -> list[Repair]:
    @asynccontextmanager
    async def reach(_place: str) -> AsyncIterator[JobHost]:
        async with host_at(Local(), here.runs) as host:
            yield host

    return [each.repair for each in await Reconciler(database=database, runs=here.runs, reach=reach).all()]


async def states(database: Database) -> list[str]:
    async with database.reading() as connection:
        return [each.attempt.state for each in await runs_in(connection)]


async def test_calls_that_have_ended_and_nobody_waits_for_are_collected_once(here: Here, database: Database) -> None:
    """Red on: core/registry/unwatched.py: `if "calls" in` -> `if "calls" not in`."""
    killed = await asyncio.to_thread(subprocess.run, program(here, Step.ENDED), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert await mended(here, database) == [Repair.COLLECTED]
    assert (await states(database), await mended(here, database)) == (["succeeded"], [])
    assert values(await arrays(here).answers(slow(here))) == [0, 10, 20, 30]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "2", "3"]


async def test_calls_that_never_began_are_made_by_whoever_asks_again_and_no_other_is(
    here: Here, database: Database
) -> None:
    """Red on: core/registry/unwatched.py: `array.collect(attempt, job, self.endings, n_items,` ->
    `array.collect(attempt, job, {}, n_items,`.
    """
    process = await asyncio.to_thread(subprocess.Popen, program(here), cwd=ROOT)
    await until(here.folder / "count")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert await mended(here, database) == [Repair.COLLECTED]
    assert await mended(here, database) == []
    assert values(await arrays(here).answers(slow(here))) == [0, 10, 20, 30]
    assert sorted((here.folder / "count").read_text().split()) == ["0", "1", "2", "3"]
