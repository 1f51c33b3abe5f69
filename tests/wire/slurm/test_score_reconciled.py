"""Whoever scores on a cluster is killed, and nobody scores again: how the array ended is written down all the same."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.reconcile import Reconciler, Repair
from sluiceway.core.runs.host import JobHost
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.listing import every_attempt
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.slurm.job import EndingKind
from tests.wire.slurm.test_reconciled import mended, states
from tests.wire.slurm.test_score_array import There, begun, held_in_the_queue, here, kill, there

__all__ = ["here", "there"]

# Where nobody has scored before, the loops are compiled first.
pytestmark = pytest.mark.timeout(240)


def end(there: There, cancelled: tuple[int, ...]) -> None:
    """Let the array in the queue end, but for elements that somebody cancels."""
    number = there.slurm.jobs[0]["number"]
    for index in cancelled:
        there.slurm.finish(f"{number}_{index}", "CANCELLED")
    there.slurm.set_starts(on=True)
    there.slurm.wait(number, seconds=60)


def receipt() -> RunReceipt:
    runs = runs_here()
    (attempt,) = every_attempt(runs)
    found = runs.receipt(attempt.run)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cancelled", "ending", "sizes"),
    [
        ((1,), EndingKind.FAILED, [3, 1]),
        pytest.param((), EndingKind.SUCCEEDED, [3], marks=pytest.mark.nightly),
        pytest.param((0, 1, 2), EndingKind.CANCELLED, [3, 3], marks=pytest.mark.nightly),
    ],
)
def test_an_array_that_nobody_waits_for_is_over_and_what_it_made_is_not_made_again(
    there: There, cancelled: tuple[int, ...], ending: EndingKind, sizes: list[int]
) -> None:
    """Red on: core/registry/unwatched.py: `if "calls" in` -> `if "calls" not in`."""
    kill(begun(there))
    end(there, cancelled)
    # The table that was to be made of the ranges has nobody who makes it.
    assert asyncio.run(mended()) == [Repair.COLLECTED, Repair.LOST]
    state = "succeeded" if ending is EndingKind.SUCCEEDED else "failed"
    assert (sorted(asyncio.run(states())), asyncio.run(mended())) == (sorted([state, "lost"]), [])
    found = receipt()
    assert (found.ending, found.why) == (ending, f"{3 - len(cancelled)} of 3 elements have scored their ranges")
    assert (found.usage or {}).get("nodes")
    assert there.score() == there.here.local
    assert there.sizes == sizes


def test_an_array_that_somebody_waits_for_is_left_to_them(there: There) -> None:
    """Red on: core/runs/score_array.py: `async with lead, aclosing(` -> `async with aclosing(`."""
    with held_in_the_queue(there) as scored:
        found = asyncio.run(looked_at())
        there.slurm.set_starts(on=True)
        assert scored.result() == there.here.local
    assert found == []


async def looked_at() -> list[Repair]:
    """Reconcile without a way to any cluster: what has to be asked there is not known."""
    runs = runs_here()

    def reach(name: str) -> AbstractAsyncContextManager[JobHost]:
        raise PlaceUnusable(place=name, reason="nobody should ask")

    async with await registry_at(runs.home) as database:
        return [each.repair for each in await Reconciler(database=database, runs=runs, reach=reach).all()]
