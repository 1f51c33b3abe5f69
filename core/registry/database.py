"""The registry's database: SQLite below the home, or PostgreSQL by its URL; behind one small door both behave alike."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import URL, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from sluiceway.core import settings
from sluiceway.core.errors import RegistryUnusable
from sluiceway.core.registry import schema
from sluiceway.core.registry.home import FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_PATIENCE_SECONDS: Final = 30
_TRIES: Final = 20
# Whoever makes the tables first keeps the others waiting; any number will do.
_MIGRATION_LOCK: Final = 0x51_01_CE


class Database:
    """An open registry; a context that closes it."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take an engine whose tables are as they should be."""
        self._engine = engine

    @classmethod
    async def opened(cls, url: str) -> Self:
        """Open the registry at a URL such as `sqlite:////home/me/registry.sqlite`, and bring its tables up to date."""
        engine = _engine(_url(url))
        try:
            await _migrated(engine)
        except _raised_by(engine) as error:
            await engine.dispose()
            raise RegistryUnusable(url=_shown(engine.url), reason=_first_line(error)) from error
        except RegistryUnusable:
            await engine.dispose()
            raise
        return cls(engine)

    @classmethod
    async def in_file(cls, path: Path) -> Self:
        """Open the registry in a file of SQLite, which is made when needed."""
        place = await asyncio.to_thread(path.absolute)
        await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
        return await cls.opened(f"sqlite:///{place}")

    @property
    def shown(self) -> str:
        """Where it is, without its password."""
        return _shown(self._engine.url)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @property
    def dialect(self) -> str:
        """The name of the kind of database."""
        return self._engine.dialect.name

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction, which is kept when the block ends, and undone when it fails."""
        async with self._engine.begin() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that only reads, and keeps nobody from writing."""
        async with self._engine.connect() as connection:
            yield await connection.execution_options(reading=True)


def url_of(home: Path) -> str:
    """Give the URL of the registry of a home: as SLUICEWAY_REGISTRY says, else that of a file in it."""
    chosen = settings.load().registry
    return f"sqlite:///{home.absolute() / FILE}" if chosen is None else chosen.get_secret_value()


async def registry_at(home: Path) -> Database:
    """Open the registry of a home."""
    if settings.load().registry is None:
        return await Database.in_file(home / FILE)
    return await Database.opened(url_of(home))


async def _migrated(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        had = await connection.run_sync(schema.migrate)
    if had > schema.NEWEST:
        reason = f"its tables are of version {had}, and this sluiceway knows {schema.NEWEST}"
        raise RegistryUnusable(url=_shown(engine.url), reason=reason)


def _raised_by(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """Give what may be raised before there is a connection: a driver has errors of its own, as for a wrong password."""
    asyncpg = getattr(engine.dialect.loaded_dbapi, "asyncpg", None)
    own = () if asyncpg is None else (asyncpg.PostgresError, asyncpg.InterfaceError)
    return (SQLAlchemyError, OSError, *own)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _url(text_of_url: str) -> URL:
    kind, _, place = text_of_url.partition(":///")
    if _DRIVERS.get(kind.partition("+")[0]) == _DRIVERS["sqlite"]:
        # All the rest is the path: a folder's name may have a question mark in it.
        return URL.create(_DRIVERS["sqlite"], database=place)
    try:
        url = make_url(text_of_url)
    except ArgumentError as error:
        raise RegistryUnusable(url="(not shown)", reason="it is not written as a URL") from error
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise RegistryUnusable(url=_shown(url), reason="it is neither sqlite: nor postgresql:")
    return url.set(drivername=driver)


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_pre_ping=url.get_backend_name() == "postgresql")
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepared)
        event.listen(engine.sync_engine, "begin", _begun)
    return engine


def _prepared(connection: Any, _record: object) -> None:
    # Python's sqlite3 would begin transactions by itself, and late.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Readers and the one writer do not wait for each other; whoever is told that it is done finds it on the disk.
    cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_SECONDS * 1000}")
    _log_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _log_ahead(cursor: Any) -> None:
    """Let the database have a log ahead of it; where somebody else is about to do the same, SQLite waits for nobody."""
    for _ in range(_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # This does wait for them.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def _begun(connection: Connection) -> None:
    # A transaction that reads first and then writes would fail when another has written in between.
    reads = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
