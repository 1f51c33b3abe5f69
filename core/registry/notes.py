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
from sluiceway.core.registry.collected import as_in_store
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import has_registry, identity_of
from sluiceway.core.registry.record import record
from sluiceway.core.registry.runs import OVER, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from sluiceway.core.registry.coalesce import Lead
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

    def made(home: str) -> Finding | None:
        finding = files.attempt_in(folder.whole, home)
        if finding is None or state is None or finding.attempt.state in OVER:
            return finding
        return files.with_state(finding, state)

    async with _told(folder.run.run_id):
        noted = await _write(made, Path(folder.run.base), lead=lead_of(folder.run.key))
        if noted is not None:
            point = _POINTS.get(noted.attempt.state, Point.OUTPUTS_NOTED)
            tell(log, point, level=logging.DEBUG, run_id=folder.run.run_id, attempt=folder.number)


async def note_output(what: str, made: Callable[[str], Finding | None], home: Path) -> None:
    """Write down how far an output is that is no run's, whatever was known of its folder.

    Args:
        what: What people call it.
        made: Gives what is known, by the name of the home; none where that is nothing.
        home: The home.
    """
    async with _told(what):
        await _write(made, home, anew=True)


async def note_collected(store: Path, restored: Iterable[Path], home: Path) -> None:
    """Forget what was collected of a store, by the folder of its artifacts, and know what came back.

    What was never written down anywhere needs no forgetting.
    """
    async with _told("garbage"):
        if not has_registry(home):
            return
        async with asyncio.timeout(PATIENCE.total_seconds()), await registry_at(home) as database:
            name = await asyncio.to_thread(identity_of, home)
            await as_in_store(database, name, store, restored)


async def _write(
    made: Callable[[str], Finding | None], home: Path, *, lead: Lead | None = None, anew: bool = False
) -> Finding | None:
    """Write down what is known, and give it; nothing where the run goes on without a registry, which was told."""
    if lead is not None and lead.database is None:
        return None
    async with asyncio.timeout(PATIENCE.total_seconds()), contextlib.AsyncExitStack() as undo:
        database = None if lead is None else lead.database
        if database is None:
            database = await undo.enter_async_context(await registry_at(home))
        finding = await asyncio.to_thread(lambda: made(identity_of(home)))
        if finding is not None:
            claims, held = (None, None) if lead is None else (lead.claims, lead.held)
            await record(database, finding, claims=claims, held=held, anew=anew)
        return finding


@contextlib.asynccontextmanager
async def _told(run_id: str) -> AsyncIterator[None]:
    try:
        yield
    except UNUSABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        tell(log, "not registered", level=logging.WARNING, run_id=run_id, reason=reason, repair=REPAIR)
