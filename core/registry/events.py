"""What happened, in the order in which it was written down; whoever reads goes on from the last one that they saw."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, text

from sluiceway.core.provenance.tree import digest_of_value
from sluiceway.core.registry import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

_PAGE: Final = 1_000
# Any number will do; who writes events goes one after the other, so that none appears behind one that was read.
_ORDER_LOCK: Final = 0x51_01_CF


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        once: Names what can only happen once, so that whoever writes it again changes nothing.
    """

    at: int
    kind: str
    home: str
    key: str | None = None
    attempt: str | None = None
    told: dict[str, Any] = field(default_factory=dict)
    once: str | None = None
    id: int | None = None


def only_once(attempt: str, kind: str, at: int) -> str:
    """Name what happened to an attempt at a moment."""
    return digest_of_value([attempt, kind, at])


async def record(connection: AsyncConnection, events: Iterable[Event]) -> None:
    """Write down what happened, unless that was done before."""
    rows = [{name: getattr(each, name) for name in Event.__slots__ if name not in {"id", "told"}} for each in events]
    for row, each in zip(rows, events, strict=True):
        row["told"] = json.dumps(each.told, sort_keys=True)
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_ORDER_LOCK})"))
    insert = schema.inserting(schema.events, connection.dialect.name)
    await connection.execute(insert.on_conflict_do_nothing(index_elements=["once"]), rows)


async def events_after(
    connection: AsyncConnection, cursor: int = 0, *, most: int = _PAGE, key: str | None = None
) -> list[Event]:
    """Give events that come after that one, oldest first, so many at most."""
    wanted = select(schema.events).where(schema.events.c.id > cursor).order_by(schema.events.c.id).limit(most)
    if key is not None:
        wanted = wanted.where(schema.events.c.key == key)
    rows = (await connection.execute(wanted)).mappings()
    return [Event(**{**row, "told": json.loads(row["told"])}) for row in rows]
