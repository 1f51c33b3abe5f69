"""Much work that several ask for is done once, each by its share; what a dead one leaves, the others do at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from sluiceway.core.registry import schema
from sluiceway.core.registry.database import Database
from sluiceway.core.registry.shares import Shares
from tests.conftest import ROOT, User


@pytest.fixture
def folder(user: User, url: str) -> Path:
    user.export("SLUICEWAY_REGISTRY", url)
    (user.folder / "done").mkdir()
    return user.folder


def sharer(folder: Path, pieces: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.core.registry.sharer", str(folder), str(pieces), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def done_by(folder: Path) -> list[str]:
    return [each.read_text() for each in sorted((folder / "done").iterdir())]


async def test_each_piece_is_done_once_and_all_have_all_of_it(folder: Path, database: Database) -> None:
    started = [sharer(folder, pieces, f"sharer {pieces}") for pieces in (30, 60, 90)]
    codes = [await asyncio.to_thread(each.wait) for each in started]
    assert codes == [0, 0, 0]
    assert [text.count("\n") for text in done_by(folder)] == [1] * 90
    async with database.reading() as connection:
        states = set((await connection.execute(select(schema.claims.c.state))).scalars())
    assert states == {"done"}


async def test_what_a_dead_one_has_left_is_done_without_waiting_for_its_lease(folder: Path) -> None:
    dying = sharer(folder, 20, "dying")
    assert await asyncio.to_thread(dying.wait) == 9
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(sharer(folder, 20, "heir").wait) == 0
    assert [text.count("\n") for text in done_by(folder)] == [1] * 20


def test_two_homes_on_one_registry_share_and_neither_takes_from_the_other(folder: Path) -> None:
    with Shares(folder / "one") as one, Shares(folder / "two") as two:
        assert one.take(["a", "b"]) == {"a", "b"}
        assert two.take(["b", "c"]) == {"c"}
        one.settle(["a", "b"], ["b"])
        assert two.take(["a", "b"]) == {"a", "b"}
    with Shares(folder / "one") as one:
        assert one.take(["a", "b", "c"]) == {"a", "b", "c"}


def test_without_a_registry_everything_is_done_here(user: User) -> None:
    user.export("SLUICEWAY_REGISTRY", "sqlite:////proc/nowhere/registry.sqlite")
    with Shares(user.folder) as shares:
        assert shares.take(["a", "b"]) == {"a", "b"}
        shares.settle(["a"], [])
