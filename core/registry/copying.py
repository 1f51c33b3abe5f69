"""Copies a registry from one database to another, such as from SQLite to PostgreSQL: every row, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, select, text

from sluiceway.core.errors import RegistryUnusable
from sluiceway.core.registry.schema import artifacts, attempts, claims, edges, events, runs

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sluiceway.core.registry.database import Database

# What refers to another comes after it.
_TABLES: Final = (claims, runs, attempts, artifacts, edges, events)
_PIECE: Final = 1_000


async def copy(source: Database, target: Database) -> dict[str, int]:
    """Copy all rows of a registry into one that has none, and give how many there are of each table.

    Raises:
        RegistryUnusable: The other one is not empty.
    """
    async with source.reading() as reader, target.writing() as writer:
        for table in _TABLES:
            if await _count(writer, table):
                raise RegistryUnusable(
                    url=target.shown, reason=f"it has rows in {table.name} already; copy into a new one"
                )
        return {table.name: await _copied(table, reader, writer) for table in _TABLES}


async def _copied(table: Table, reader: AsyncConnection, writer: AsyncConnection) -> int:
    n_rows = 0
    rows = await reader.stream(select(table).order_by(*table.primary_key))
    async for part in rows.mappings().partitions(_PIECE):
        await writer.execute(insert(table), [dict(each) for each in part])
        n_rows += len(part)
    if table is events and writer.dialect.name == "postgresql":
        # Numbers that were given go on behind those that were copied.
        highest = select(func.coalesce(func.max(events.c.id), 0) + 1).scalar_subquery()
        await writer.execute(
            select(func.setval(text("pg_get_serial_sequence('events', 'id')"), highest, text("false")))
        )
    return n_rows


async def _count(connection: AsyncConnection, table: Table) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar() or 0)
