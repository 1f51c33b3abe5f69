"""Programs that want claims: one that takes all it can, one that takes one and hangs."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from sluiceway.core.registry.claims import Claims, Held
from sluiceway.core.registry.database import Database
from sluiceway.core.remote.clock import SystemClock

SHORT = timedelta(seconds=1)


async def take_all(url: str, first: int, clients: int, of: int, keys: int) -> None:
    """Let several clients at once ask for keys, each key by eight of all clients, and print those that they got."""
    async with await Database.opened(url) as database:
        claims = Claims(database, clock=SystemClock(), lease=timedelta(hours=1))

        async def client(number: int) -> None:
            share = keys // of
            for key in range(number * share, (number + 8) * share):
                if isinstance(await claims.take(str(key % keys), owner=f"client {number}"), Held):
                    sys.stdout.write(f"{key % keys}\n")

        await asyncio.gather(*map(client, range(first, first + clients)))


async def hang(url: str) -> None:
    """Lead, and say so; then do the work when there is a line on standard input, and say whether that was kept."""
    async with await Database.opened(url) as database:
        claims = Claims(database, clock=SystemClock(), lease=SHORT)
        held = await claims.take("work", owner="hanging")
        sys.stdout.write(f"{held}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        assert isinstance(held, Held)
        try:
            await claims.finish(held, "late")
            sys.stdout.write("kept\n")
        except Exception as error:  # noqa: BLE001 - it is told
            sys.stdout.write(f"{type(error).__name__}\n")


if __name__ == "__main__":
    if sys.argv[1] == "hang":
        asyncio.run(hang(sys.argv[2]))
    else:
        asyncio.run(take_all(sys.argv[2], *map(int, sys.argv[3:])))
