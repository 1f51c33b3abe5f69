"""How often the watcher asks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.slurm.job import JobId
from sluiceway.core.slurm.watcher import Pace, Watcher
from tests.wire.slurm.conftest import Line

if TYPE_CHECKING:
    from sluiceway.core.slurm.job import JobSpec
    from tests.wire.slurm.conftest import Order

ENOUGH = 15


class NotedClock:
    """Time that passes at once; it notes each pause."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def sleep(self, duration: timedelta) -> None:
        self.pauses.append(duration.total_seconds())


async def listen(watcher: Watcher, spec: JobSpec) -> None:
    async for _change in watcher.follow(spec, JobId(1)):
        pass


async def test_a_silent_job_is_asked_for_soon_and_then_ever_more_rarely(order: Order) -> None:
    clock, silent = NotedClock(), Line(cut_before=ENOUGH)
    watching = asyncio.create_task(listen(Watcher(silent, clock), order()))
    while len(clock.pauses) < ENOUGH:
        await asyncio.sleep(0)
    watching.cancel()
    pauses = clock.pauses[:ENOUGH]
    assert pauses[0] == Pace().first.total_seconds()
    assert pauses[1:4] == pytest.approx([0.75, 1.125, 1.6875])
    assert pauses == sorted(pauses)
    assert pauses[-1] == Pace().longest.total_seconds()
