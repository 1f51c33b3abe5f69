"""Identical requests at one time are one run: one process leads, the others join its job, or wait for another home's.

In one home all of them see one job to its end, so that none waits for a leader who dies; the claim says who leads, and
is taken over by whoever is left. How it ended is the same for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import PeerFailed
from sluiceway.core.events import tell
from sluiceway.core.registry.claims import State
from sluiceway.core.registry.coalesce import leading
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sluiceway.core.registry.coalesce import Lead
    from sluiceway.core.runs.run import Runs

log = logging.getLogger(__name__)

_MAY_PASS = (EndingKind.NODE_FAILURE, EndingKind.PREEMPTED, EndingKind.VANISHED, EndingKind.CANCELLED)


async def once(key: str, runs: Runs, work: Callable[[], Awaitable[RunReceipt]]) -> RunReceipt:
    """Give the receipt of a run that this process leads, or joins, or that another home has made meanwhile."""
    async with leading(key, runs.home) as lead:
        receipt = await made_elsewhere(lead)
        if receipt is None:
            receipt = await work()
        await settle(lead, receipt)
    return receipt


async def settle(lead: Lead, receipt: RunReceipt) -> None:
    """Tell those who wait how a run ended."""
    failure = None if receipt.succeeded else receipt.why
    await lead.settle(str(receipt.folder), failure=failure, transient=receipt.ending in _MAY_PASS)


async def made_elsewhere(lead: Lead) -> RunReceipt | None:
    """Wait for another home that is at the same work, and give its receipt; none where the work is to be done here.

    Raises:
        PeerFailed: It failed there, and would here, too.
    """
    while lead.follows_elsewhere and lead.leader is not None:
        tell(log, "waiting for the same run", run_id=lead.key, leader=lead.leader.owner)
        standing = await lead.until_over()
        if standing is None:
            return None
        if standing.state is State.FAILED:
            raise PeerFailed(
                key=lead.key, owner=standing.owner, failures=standing.failures, reason=str(standing.outcome)
            )
        receipt = await asyncio.to_thread(_receipt_in, Path(str(standing.outcome)))
        if receipt is not None:
            return receipt
        # What it made cannot be seen from here.
        await lead.take()
    return None


def _receipt_in(folder: Path) -> RunReceipt | None:
    try:
        content = content_of(folder / "receipt.json")
        receipt = None if content is None else RunReceipt.of(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if receipt is not None and receipt.is_whole else None
