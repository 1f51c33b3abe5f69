"""The registry's database: made once, brought up to date, and never used when it cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from sluiceway.core.errors import RegistryUnusable
from sluiceway.core.registry import schema
from sluiceway.core.registry.database import Database


async def versions(database: Database) -> list[int]:
    async with database.reading() as connection:
        return list((await connection.execute(select(schema.version.c.version))).scalars())


async def test_many_who_open_an_empty_database_at_once_make_it_once(url: str) -> None:
    opened = await asyncio.gather(*(Database.opened(url) for _ in range(8)))
    assert await versions(opened[0]) == list(range(1, schema.NEWEST + 1))
    for each in opened:
        async with each:
            pass


async def test_a_database_of_a_later_version_is_refused(url: str) -> None:
    async with await Database.opened(url) as database, database.writing() as connection:
        await connection.execute(insert(schema.version).values(version=schema.NEWEST + 1))
    with pytest.raises(RegistryUnusable, match=f"version {schema.NEWEST + 1}"):
        await Database.opened(url)


async def test_what_fails_half_way_leaves_nothing(database: Database) -> None:
    async def half() -> None:
        async with database.writing() as connection:
            await connection.execute(text("DELETE FROM registry_version"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half()
    assert await versions(database) != []


async def test_readers_keep_nobody_from_writing(database: Database) -> None:
    async with database.reading() as reader:
        assert (await reader.execute(select(func.count()).select_from(schema.claims))).scalar() == 0
        async with asyncio.timeout(5), database.writing() as writer:
            await writer.execute(text("DELETE FROM claims"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/db", "neither sqlite"),
        ("nonsense", "not written as a URL"),
        ("sqlite:////proc/nowhere/registry.sqlite", "unable to open"),
        ("postgresql://u:secret@/db?host=/nowhere", "cannot be used"),
    ],
)
async def test_what_cannot_be_opened_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(RegistryUnusable, match=said) as caught:
        await Database.opened(url)
    assert "secret" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").write_bytes(b"no database at all, " * 100)
    with pytest.raises(RegistryUnusable, match="not a database"):
        await Database.in_file(tmp_path / "registry.sqlite")


async def test_a_registry_in_a_file_makes_its_folder(tmp_path: Path) -> None:
    async with await Database.in_file(tmp_path / "home" / "registry.sqlite") as database:
        assert await versions(database) == list(range(1, schema.NEWEST + 1))
