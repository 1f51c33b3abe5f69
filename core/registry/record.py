"""Writes what is known of an attempt in one transaction: nobody sees that it succeeded and not what it made."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.events import tell
from sluiceway.core.registry import artifacts, events, runs

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sluiceway.core.registry.artifacts import Artifact, Edge
    from sluiceway.core.registry.claims import Claims, Held
    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.events import Event
    from sluiceway.core.registry.runs import Attempt, Run


log = logging.getLogger(__name__)

ABOUT_TO_NOTE: Final = "outputs about to be registered"
"""Told when all is written and nothing is kept yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All that files tell of one attempt; what it made, and what happened to it."""

    run: Run
    attempt: Attempt
    artifacts: tuple[Artifact, ...] = ()
    edges: tuple[Edge, ...] = ()
    events: tuple[Event, ...] = ()


async def record(
    database: Database, finding: Finding, *, claims: Claims | None = None, held: Held | None = None, anew: bool = False
) -> bool:
    """Write it down; false where more is known already. Raises ClaimLost where the claim that goes with it is lost.

    Args:
        database: The registry.
        finding: What is known now.
        claims: Where the claim is.
        held: The claim under which it came about, where there is one.
        anew: Whether another attempt begins in the folder of an earlier one.
    """
    fence = database.writing() if claims is None or held is None else claims.fenced(held)
    async with fence as connection:
        is_written = await write(connection, finding, anew=anew)
        if finding.attempt.state in runs.OVER:
            run_id, number = finding.run.key, finding.attempt.number
            tell(log, ABOUT_TO_NOTE, level=logging.DEBUG, run_id=run_id, attempt=number)
        return is_written


async def write(connection: AsyncConnection, finding: Finding, *, anew: bool = False) -> bool:
    """Write it down in a transaction that is open."""
    if not await runs.record(connection, finding.run, finding.attempt, anew=anew):
        return False
    await artifacts.record(connection, finding.attempt.id, finding.artifacts, finding.edges)
    await events.record(connection, finding.events)
    return True
