"""The registry's tables, and the steps by which an older database becomes as the newest.

There is a table only for what exists. Times are whole microseconds since 1970 in UTC, so that both databases compare
them alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, MetaData, String, Table, insert, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

metadata = MetaData()

version = Table("registry_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

claims = Table(
    "claims",
    metadata,
    Column("key", String(80), primary_key=True, comment="The content key of the work."),
    Column("owner", String, nullable=False, comment="Who does it, for people."),
    Column("epoch", Integer, nullable=False, comment="How often it was taken; a write with an older one is refused."),
    Column("state", String(16), nullable=False),
    Column("lease_until", BigInteger, nullable=False, comment="When somebody else may take it."),
    Column("failures", Integer, nullable=False, comment="How often it failed since it was last done."),
    Column("transient", Boolean, nullable=False, comment="Whether the last failure may pass."),
    Column("outcome", String, comment="What came of it, or why it failed."),
    CheckConstraint("state IN ('running', 'done', 'failed', 'free')", name="claims_state"),
)


def _first(connection: Connection) -> None:
    claims.create(connection)


_STEPS: Final[tuple[Callable[[Connection], None], ...]] = (_first,)
"""Each takes the database from one version to the next; they are only ever added to."""

NEWEST: Final = len(_STEPS)


def migrate(connection: Connection) -> int:
    """Bring a database to the newest version, in the transaction of this connection, and give the version it had."""
    version.create(connection, checkfirst=True)
    had = connection.execute(select(version.c.version).order_by(version.c.version.desc()).limit(1)).scalar() or 0
    for number, step in enumerate(_STEPS[had:], start=had + 1):
        step(connection)
        connection.execute(insert(version).values(version=number))
    return int(had)
