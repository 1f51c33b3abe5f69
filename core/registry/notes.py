"""Writes into the registry how far runs are, as they go on: best effort, and loud when it cannot.

A run never fails, or waits for long, because its registry cannot be used: its files say everything that is written
here, and `sluiceway registry rebuild` reads it from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.events import tell
from sluiceway.core.registry import files
from sluiceway.core.registry.coalesce import PATIENCE, REPAIR, UNUSABLE, Point, lead_of
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import identity_of
from sluiceway.core.registry.record import record
from sluiceway.core.registry.runs import OVER, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.record import Finding
    from sluiceway.core.runs.folder import AttemptFolder

log = logging.getLogger(__name__)

_POINTS = {State.INTENDED: Point.INTENT_NOTED, State.RUNNING: Point.JOB_NOTED, State.ENDED: Point.END_NOTED}


async def note(folder: AttemptFolder, *, state: State | None = None) -> None:
    """Write down what an attempt's files tell now, and how far it is where they do not tell.

    Args:
        folder: The attempt.
        state: Its state, where it is further than its files tell.
    """
    home = Path(folder.run.base)
    async with _told(folder.run.run_id):
        finding = await asyncio.to_thread(_finding, folder.whole, home)
        if finding is None:
            return
        if state is not None and finding.attempt.state not in OVER:
            finding = files.with_state(finding, state)
        await _write(finding, home)
        point = _POINTS.get(finding.attempt.state, Point.OUTPUTS_NOTED)
        tell(log, point, level=logging.DEBUG, run_id=folder.run.run_id, attempt=folder.number)


async def note_output(what: str, made: Callable[[str], Finding | None], home: Path) -> None:
    """Write down how far an output is that is no run's, whatever was known of its folder.

    Args:
        what: What people call it.
        made: Gives what is known, by the name of the home; none where that is nothing.
        home: The home.
    """
    async with _told(what):
        finding = await asyncio.to_thread(lambda: made(identity_of(home)))
        if finding is not None:
            await _write(finding, home, anew=True)


async def _write(finding: Finding, home: Path, *, anew: bool = False) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()), contextlib.AsyncExitStack() as undo:
        lead = lead_of(finding.run.key)
        database: Database | None = None if lead is None else lead.database
        if database is None:
            database = await undo.enter_async_context(await registry_at(home))
        claims, held = (None, None) if lead is None else (lead.claims, lead.held)
        await record(database, finding, claims=claims, held=held, anew=anew)


def _finding(folder: AttemptFolder, home: Path) -> Finding | None:
    return files.attempt_in(folder, identity_of(home))


@contextlib.asynccontextmanager
async def _told(run_id: str) -> AsyncIterator[None]:
    try:
        yield
    except UNUSABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        tell(log, "not registered", level=logging.WARNING, run_id=run_id, reason=reason, repair=REPAIR)
