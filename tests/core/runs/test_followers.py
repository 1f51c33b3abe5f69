"""Two who ask for the same chain of runs at once: each is done once, and neither loses what it was made from."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.lineage import Direction, NodeKind, Tracer
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import inputs_of
from tests.core.runs.here import Here


# P5, and labctl's B2 and B3.
async def test_a_follower_keeps_its_own_dependencies(place: Path) -> None:
    """Red on: core/runs/run.py: `is_over = (receipt is not None and receipt.attempt >= last.number) or
    _was_ended(last)` -> `is_over = True`.
    """

    async def chain(number: int) -> RunReceipt:
        here = Here(place)
        # The same script, asked for by two; the first to come leads.
        script = here.request(f"echo 1 >>{place}/first; sleep 0.3; echo made >one.txt", outputs=("one.txt",))
        first = (await here.run(script)).require_success()
        read = inputs_of([first.work / "one.txt"])
        text = f"echo 2 >>{place}/second; cat ../inputs/one.txt >two.txt"
        return (await here.run(here.request(text, inputs=read, outputs=("two.txt",)))).require_success()

    leader, follower = await asyncio.gather(chain(1), chain(2))
    assert (leader.key, leader.outputs) == (follower.key, follower.outputs)
    assert ((place / "first").read_text(), (place / "second").read_text()) == ("1\n", "2\n")
    found = Tracer(history=ledger_here(SystemClock()).history()).trace(follower.folder, Direction.UP)
    assert len([each for each in found.nodes if each.kind is NodeKind.OUTPUT]) == 2
