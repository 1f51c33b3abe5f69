"""A process's share of much work that several ask for: of thousands of claims, those that it got, all kept by one beat.

Nobody waits for another while they hold what is not done: each does its own share first, and looks then for what the
others have made. So no two can wait for each other. Without a registry the share is everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import or_, select, update

from sluiceway.core.events import tell
from sluiceway.core.registry.background import Answer, Background
from sluiceway.core.registry.claims import State
from sluiceway.core.registry.coalesce import LEASE, PATIENCE, UNUSABLE
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import is_gone, owner_in
from sluiceway.core.registry.moments import moment
from sluiceway.core.registry.schema import claims, inserting
from sluiceway.core.remote.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from sluiceway.core.registry.database import Database

log = logging.getLogger(__name__)

_PIECE: Final = 500
_LOOK_EVERY: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)


Settle = Callable[[Collection[str], Collection[str]], None]
"""Is told which work is over, and which of it came to nothing."""


def set_apart(_over: Collection[str], _failed: Collection[str]) -> None:
    """Settle nothing: this work is shared with nobody."""


def share_out(
    home: Path,
    keys: Collection[str],
    work: Callable[[set[str], Settle], None],
    *,
    has: Callable[[Collection[str]], set[str]],
    waits: Callable[[int], None],
) -> None:
    """See all this work done: here what nobody else is at, and what they leave undone.

    Args:
        home: The home.
        keys: The content keys of the work.
        work: Does a part of it, and settles each piece when it is over.
        has: Tells which of it is done, whoever did it.
        waits: Is told how much is left that others are at.
    """
    if not keys:
        return
    with Shares(home) as shares:
        left = set(keys)
        while left:
            mine = shares.take(left)
            # Somebody may have done it since it was asked for.
            made = has(mine)
            shares.settle(made, ())
            if mine - made:
                work(mine - made, shares.settle)
            left -= mine
            left -= has(left)
            if left:
                waits(len(left))
                shares.wait()


class Shares:
    """What this process does of what several want; a context that gives back what was not done."""

    def __init__(self, home: Path, *, lease: timedelta = LEASE) -> None:
        """Share with whoever uses the same registry as this home.

        Args:
            home: The home.
            lease: For how long a share is held without a sign of life.
        """
        self._home = home
        self._lease = lease
        self._held: set[str] = set()
        self._background: Background | None = None
        self._database: Database | None = None
        self._owner = ""
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Open the registry, as far as there is one that can be used."""
        try:
            self._owner = self._undo.enter_context(owner_in(self._home))
            self._background = self._undo.enter_context(Background())
            self._background.call(self._open())
        except UNUSABLE as error:
            self._say("shared with nobody", error)
            self._database = None
        return self

    def __exit__(self, *_error: object) -> None:
        """Give back what was not done."""
        if self._background is not None and self._database is not None:
            self._try(self._free(self._held), "shares not given back")
            self._background.call(self._database.__aexit__())
        self._undo.close()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Take those of these keys that nobody else is at; what was done, and is asked for again, is taken anew."""
        wanted = sorted(set(keys))
        taken = self._try(self._take(wanted), "shared with nobody")
        if taken is None:
            return set(wanted)
        self._held |= taken
        return taken

    def settle(self, over: Collection[str], failed: Collection[str]) -> None:
        """Say what is done, so that whoever waits for it looks; what came to nothing others may try."""
        mine = self._held.intersection(over)
        self._held -= mine
        self._try(self._change(mine.difference(failed), state=State.DONE), "shares not settled")
        self._try(self._free(mine.intersection(failed)), "shares not given back")

    def wait(self) -> None:
        """Wait a little for the others."""
        if self._background is not None:
            self._background.call(SystemClock().sleep(_LOOK_EVERY))

    def _try(self, work: Coroutine[Any, Any, Answer], trouble: str) -> Answer | None:
        if self._background is None or self._database is None:
            work.close()
            return None
        try:
            return self._background.call(asyncio.wait_for(work, 3 * PATIENCE.total_seconds()))
        except UNUSABLE as error:
            self._say(trouble, error)
            return None

    async def _open(self) -> None:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            self._database = await registry_at(self._home)
        self._beating = asyncio.ensure_future(self._beat())

    async def _beat(self) -> None:
        clock = SystemClock()
        while True:
            await clock.sleep(self._lease / 3)
            try:
                await self._change(set(self._held), lease_until=self._until)
            except UNUSABLE as error:
                self._say("shares not renewed", error)

    async def _take(self, keys: list[str]) -> set[str]:
        taken: set[str] = set()
        for part in _parts(keys):
            await self._forget_the_dead(part)
            taken |= await self._take_part(part)
        return taken

    async def _take_part(self, keys: list[str]) -> set[str]:
        now = moment(SystemClock().now())
        fresh = {"owner": self._owner, "state": State.RUNNING, "lease_until": self._until, "outcome": None}
        rows = [{"key": key, "epoch": 1, "failures": 0, "transient": False, **fresh} for key in keys]
        insert = inserting(claims, self._opened.dialect).values(rows)
        taking = insert.on_conflict_do_update(
            index_elements=[claims.c.key],
            set_={**fresh, "epoch": claims.c.epoch + 1, "failures": 0},
            where=or_(claims.c.state != State.RUNNING, claims.c.lease_until < now),
        ).returning(claims.c.key)
        async with self._opened.writing() as connection:
            return set((await connection.execute(taking)).scalars())

    async def _forget_the_dead(self, keys: list[str]) -> None:
        """Let what is held by processes that have ended be taken now, not when their leases run out."""
        held = select(claims.c.owner).where(claims.c.key.in_(keys), claims.c.state == State.RUNNING).distinct()
        async with self._opened.reading() as connection:
            owners = set((await connection.execute(held)).scalars())
        gone = [each for each in owners if each != self._owner and is_gone(each, self._home)]
        if gone:
            dead = claims.c.owner.in_(gone), claims.c.state == State.RUNNING
            async with self._opened.writing() as connection:
                await connection.execute(update(claims).where(*dead).values(lease_until=0))

    async def _free(self, keys: Collection[str]) -> None:
        await self._change(keys, state=State.FREE)

    async def _change(self, keys: Collection[str], **changed: object) -> None:
        """Change claims that are still held; what was lost is somebody else's."""
        for part in _parts(sorted(keys)):
            mine = claims.c.key.in_(part), claims.c.owner == self._owner, claims.c.state == State.RUNNING
            async with self._opened.writing() as connection:
                await connection.execute(update(claims).where(*mine).values(**changed))

    @property
    def _opened(self) -> Database:
        if self._database is None:
            raise AssertionError("a registry that could not be opened is not asked")
        return self._database

    @property
    def _until(self) -> int:
        return moment(SystemClock().now()) + self._lease // _MICROSECOND

    def _say(self, trouble: str, error: BaseException) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        tell(log, trouble, level=logging.WARNING, reason=reason)


def _parts(keys: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(keys), _PIECE):
        yield keys[first : first + _PIECE]
