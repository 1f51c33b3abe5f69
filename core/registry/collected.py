"""Forgets what garbage collection took away, as `rebuild` would: a row tells of an artifact that is in the store."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select

from sluiceway.core.provenance.ledger import place_of
from sluiceway.core.registry import files
from sluiceway.core.registry.record import write
from sluiceway.core.registry.runs import forget_runs_without_attempts
from sluiceway.core.registry.schema import artifacts, attempts, edges

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.record import Finding

_AT_ONCE: Final = 500


async def as_in_store(database: Database, home: str, store: Path, restored: Iterable[Path] = ()) -> int:
    """Forget a home's artifacts of a store that are no longer there, and know those that came back.

    Args:
        database: The registry.
        home: The home's name.
        store: The folder of the store's artifacts.
        restored: The contents that came back.

    Returns:
        How many were forgotten, also such as somebody else collected, or who was killed then.
    """
    back = [each for each in await asyncio.to_thread(_read, restored, home) if each is not None]
    begins = await asyncio.to_thread(lambda: f"{place_of(store)}/")
    known = select(attempts.c.id, attempts.c.folder).where(
        attempts.c.home == home, attempts.c.folder.startswith(begins, autoescape=True)
    )
    async with database.writing() as connection:
        rows = list(await connection.execute(known))
        gone = await asyncio.to_thread(lambda: [each.id for each in rows if not os.path.lexists(each.folder)])
        await _forget(connection, gone)
        for each in back:
            await write(connection, each, anew=True)
    return len(gone)


async def _forget(connection: AsyncConnection, gone: list[str]) -> None:
    for first in range(0, len(gone), _AT_ONCE):
        some = gone[first : first + _AT_ONCE]
        own = select(artifacts.c.id).where(artifacts.c.attempt.in_(some))
        await connection.execute(delete(edges).where(edges.c.output.in_(own)))
        await connection.execute(delete(artifacts).where(artifacts.c.attempt.in_(some)))
        await connection.execute(delete(attempts).where(attempts.c.id.in_(some)))
    if gone:
        await forget_runs_without_attempts(connection)


def _read(contents: Iterable[Path], home: str) -> list[Finding | None]:
    return [files.output_at(each, home) for each in contents]
