"""The registry's tables, and the steps by which an older database becomes as the newest.

There is a table only for what exists. Times are whole microseconds since 1970 in UTC, so that both databases compare
them alike. Rows that tell of files are named by digests of where these lie, so that whoever writes one twice, or makes
all of them anew from the files, writes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.dialects import postgresql, sqlite

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

runs = Table(
    "runs",
    metadata,
    Column("key", String(80), primary_key=True, comment="The content key of what was asked for."),
    Column("kind", String(16), nullable=False, comment="run: a script, a command or calls; scores: reference scores."),
    Column("what", String, nullable=False, comment="What people call it."),
)


def _key(**options: Any) -> Column[str]:
    return Column("key", String(80), ForeignKey(runs.c.key), index=True, **options)


attempts = Table(
    "attempts",
    metadata,
    Column("id", String(80), primary_key=True, comment="Of its home and its folder."),
    _key(nullable=False),
    Column("home", String(32), nullable=False, comment="The home that it belongs to, core.registry.home."),
    Column("folder", String, nullable=False, comment="Where everything of it lies."),
    Column("number", Integer, nullable=False),
    Column("place", String, nullable=False, comment="Where it runs."),
    Column("token", String(80), comment="By which a lost job is found."),
    Column("state", String(16), nullable=False, index=True),
    Column("job_id", String(80)),
    Column("intended_at", BigInteger, nullable=False),
    Column("submitted_at", BigInteger),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("ending", String(24), comment="How it ended, in the words of receipts."),
    Column("why", String),
    Column("exit_code", Integer),
    Column("signal", String(16)),
    Column("host", String),
    Column("peak_memory", BigInteger),
    Column("cpu_seconds", Float),
    Column("manifest", String(80), comment="The digest of its manifest."),
    Column("submitted_by", String),
    Column("flow_run_id", String(36), index=True, comment="Of Prefect."),
    Column("task_run_id", String(36), comment="Of Prefect."),
    CheckConstraint("state IN ('intended', 'running', 'ended', 'lost', 'succeeded', 'failed')", name="attempts_state"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(80), primary_key=True, comment="Of its home, its output's place, and its name."),
    Column("home", String(32), nullable=False),
    Column(
        "place", String, nullable=False, comment="The folder or file that it is, or the folder that its name is in."
    ),
    Column("name", String, nullable=False, comment="A file's name below the place; empty for an output itself."),
    Column("output_id", String),
    Column("output_type", String),
    Column("digest", String(80), index=True, comment="Of a file's bytes; of an output's tree, where it has one."),
    Column("size", BigInteger),
    Column("manifest", String(80), index=True, comment="The digest of the manifest that names it."),
    _key(comment="The content key of the work that made it."),
    Column("attempt", String(80), ForeignKey(attempts.c.id), index=True),
)

edges = Table(
    "edges",
    metadata,
    Column("output", String(80), ForeignKey(artifacts.c.id), primary_key=True, comment="The output's own artifact."),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Its place among the inputs."),
    Column("role", String, nullable=False),
    Column("name", String),
    Column("digest", String(80), index=True, comment="What was read; an artifact has the same one if we made it."),
    Column("size", BigInteger),
    Column("path", String, comment="Where it was read, seen from the output's manifest."),
)

events = Table(
    "events",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="Later events have higher ones, so that it is a place to go on from.",
    ),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("home", String(32), nullable=False),
    Column("key", String(80), index=True),
    Column("attempt", String(80)),
    Column("told", String, nullable=False, comment="The figures, as JSON."),
    Column("once", String(80), unique=True, comment="What can only happen once is noted once."),
    sqlite_autoincrement=True,
)


def _first(connection: Connection) -> None:
    claims.create(connection)


def _second(connection: Connection) -> None:
    for table in (runs, attempts, artifacts, edges, events):
        table.create(connection)


_STEPS: Final[tuple[Callable[[Connection], None], ...]] = (_first, _second)
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


def inserting(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Give an INSERT that can say what is done with rows that are there already."""
    # Each takes a while to import, and nearly nobody needs both.
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as into_postgres  # noqa: PLC0415

        return into_postgres(table)
    from sqlalchemy.dialects.sqlite import insert as into_sqlite  # noqa: PLC0415

    return into_sqlite(table)
