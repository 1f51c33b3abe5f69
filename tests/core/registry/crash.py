"""A program that runs a script and is killed at a point of its life, for each point in turn; then somebody reconciles.

For each point it prints what was found: by the first reconciliation, by the second one, and by whoever asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.registry import schema
from sluiceway.core.registry.coalesce import Point
from sluiceway.core.registry.database import Database, registry_at
from sluiceway.core.registry.rebuild import check
from sluiceway.core.registry.reconcile import Reconciler
from sluiceway.core.remote import local
from sluiceway.core.runs.host import JobHost
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Step
from tests.core.runs import killed
from tests.core.runs.here import Here, until

POINTS = [*Step, *Point, killed.SPAWNED]


def asked(here: Here, number: int) -> RunRequest:
    text = f'echo started >>"$1"; sleep 0.1; echo {number} >made.txt'
    return here.request(text, arguments=(str(here.folder / "count"),), outputs=("made.txt",))


def die(here: Here, number: int, point: str) -> None:
    if point == killed.SPAWNED:
        local._spawn = killed.spawn_and_die  # type: ignore[assignment]
    log = logging.getLogger("sluiceway")
    log.setLevel(logging.DEBUG)
    log.handlers[:] = [killed.Death(point)]
    asyncio.run(here.run(asked(here, number)))


async def mended(here: Here, database: Database) -> list[str]:
    @contextlib.asynccontextmanager
    async def reach(_place: str) -> AsyncIterator[JobHost]:
        yield here.host

    return [str(each.repair) for each in await Reconciler(database=database, runs=here.runs, reach=reach).all()]


async def state_of(database: Database, key: str) -> list[str]:
    async with database.reading() as connection:
        found = await connection.execute(select(schema.attempts.c.state).where(schema.attempts.c.key == key))
        return list(found.scalars())


async def count(database: Database, table: Any, *wanted: Any) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table).where(*wanted))).scalar() or 0)


async def aftermath(here: Here, number: int, point: str) -> dict[str, Any]:
    request = asked(here, number)
    if point == killed.SPAWNED:
        # Until then it cannot be told from one that never began; the next to look would see it.
        await until(Path(here.attempt(request).started))
    async with await registry_at(here.runs.home) as database:
        first = await mended(here, database)
        found: dict[str, Any] = {"first": first, "second": await mended(here, database)}
        found["states"] = await state_of(database, request.key)
        found["claimed"] = await count(database, schema.claims, schema.claims.c.state == "running")
        receipt = await here.run(request)
        found |= {"whole": receipt.succeeded and receipt.is_whole, "attempts": here.attempts(request)}
        found["started"] = (here.folder / "count").read_text()
        found["artifacts"] = await count(database, schema.artifacts, schema.artifacts.c.key == request.key)
        differences = await check(database, here.runs, ledger_here(here.runs.clock))
        found["differences"] = [str(each) for each in differences]
    return found


def child(work: Callable[[], Any]) -> int:
    """Do something in a child, so that this process never has a thread, and give how it ended."""
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main(folder: Path) -> None:
    for number, point in enumerate(POINTS):
        here = Here(folder / str(number))
        here.folder.mkdir()
        os.environ["SLUICEWAY_HOME"] = str(here.runs.home)

        def report(here: Here = here, number: int = number, point: str = point, ended: int = 0) -> None:
            found = asyncio.run(aftermath(here, number, point))
            os.write(1, json.dumps({"point": point, "ended": ended, **found}).encode() + b"\n")

        ended = child(lambda here=here, number=number, point=point: die(here, number, point))  # type: ignore[misc]
        child(lambda report=report, ended=ended: report(ended=ended))  # type: ignore[misc]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
