"""Identical work is done once: whoever takes its claim does it, the others follow.

A claim is a row by content key with an owner, a lease and an epoch. It is taken in one statement, so of any number that
try at once one gets it. An owner renews its lease; when that runs out, for it died or hangs, the next one takes the
claim with the epoch one higher, and whatever the first still writes is refused by its epoch. Leases are compared by the
clocks of those who ask: a clock that is wrong by more than a lease costs work that is done twice, but nothing wrong is
kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select, update

from sluiceway.core.errors import ClaimLost, PeerFailed, RemoteError, SluicewayError, StorageFailed
from sluiceway.core.registry.moments import moment
from sluiceway.core.registry.schema import claims, inserting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sluiceway.core.registry.database import Database
    from sluiceway.core.remote.clock import Clock

_MICROSECOND: Final = timedelta(microseconds=1)
# What may pass by itself; everything else fails the next time, too.
_TRANSIENT: Final = (RemoteError, StorageFailed)


class State(StrEnum):
    """How work that was claimed stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A claim that its holder has; the epoch goes with everything that the holder writes."""

    key: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A claim as others see it: what came of the work is its outcome, or why it failed."""

    key: str
    owner: str
    epoch: int
    state: State
    failures: int
    outcome: str | None


class Claims:
    """The claims of a registry."""

    def __init__(
        self, database: Database, *, clock: Clock, lease: timedelta = timedelta(minutes=1), attempts: int = 3
    ) -> None:
        """Use these claims.

        Args:
            database: Where they are.
            clock: Tells when a lease has run out.
            lease: How long a claim is held without a sign of life.
            attempts: How often work is tried whose failures may pass.
        """
        self._database = database
        self._clock = clock
        self._lease = lease
        self._attempts = attempts

    async def take(self, key: str, *, owner: str) -> Held | Standing:
        """Take a claim that nobody has, or tell how it stands."""
        now = self._now()
        fresh = {
            "key": key, "owner": owner, "epoch": 1, "state": State.RUNNING, "lease_until": now + self._span,
            "failures": 0, "transient": False, "outcome": None,
        }  # fmt: skip
        insert = inserting(claims, self._database.dialect).values(**fresh)
        taking = insert.on_conflict_do_update(
            index_elements=[claims.c.key],
            set_={
                "owner": owner,
                "epoch": claims.c.epoch + 1,
                "state": State.RUNNING,
                "lease_until": now + self._span,
                "outcome": None,
            },
            where=self._may_be_taken(now),
        ).returning(claims.c.epoch)
        while True:
            # Most who ask do not get it, and to ask keeps nobody waiting.
            standing, is_open = await self._look(key, now)
            if standing is not None and not is_open:
                return standing
            async with self._database.writing() as connection:
                epoch = (await connection.execute(taking)).scalar()
            if epoch is not None:
                return Held(key=key, owner=owner, epoch=epoch)

    async def renew(self, held: Held) -> None:
        """Hold a claim for another lease, or raise ClaimLost."""
        async with self.fenced(held) as connection:
            await self._change(connection, held, lease_until=self._now() + self._span)

    async def finish(self, held: Held, outcome: str) -> None:
        """Say what came of the work; from now on everybody is given that."""
        async with self.fenced(held) as connection:
            await self._change(connection, held, state=State.DONE, outcome=outcome, failures=0)

    async def fail(self, held: Held, reason: str, *, transient: bool) -> None:
        """Say why the work failed, and whether it may go well the next time."""
        async with self.fenced(held) as connection:
            changed = {"state": State.FAILED, "outcome": reason, "transient": transient}
            await self._change(connection, held, failures=claims.c.failures + 1, **changed)

    async def release(self, held: Held) -> None:
        """Give a claim back without having done the work; one that was lost is left alone."""
        with contextlib.suppress(ClaimLost):
            async with self.fenced(held) as connection:
                await self._change(connection, held, state=State.FREE)

    async def expire(self, standing: Standing) -> None:
        """Let a claim be taken whose holder is known to have ended, unless somebody has taken it."""
        same = and_(claims.c.owner == standing.owner, claims.c.epoch == standing.epoch, claims.c.state == State.RUNNING)
        async with self._database.writing() as connection:
            await connection.execute(update(claims).where(claims.c.key == standing.key, same).values(lease_until=0))

    async def reopen(self, key: str) -> None:
        """Let work that was done or has failed be done again, such as when what came of it is damaged."""
        is_over = claims.c.state.in_([State.DONE, State.FAILED])
        async with self._database.writing() as connection:
            changed = {"state": State.FREE, "failures": 0, "outcome": None}
            await connection.execute(update(claims).where(claims.c.key == key, is_over).values(**changed))

    async def standing(self, key: str) -> Standing | None:
        """Tell how a claim stands; none where the work was never taken."""
        return (await self._look(key, self._now()))[0]

    @contextlib.asynccontextmanager
    async def fenced(self, held: Held) -> AsyncIterator[AsyncConnection]:
        """Give a transaction to whoever still holds a claim, or raise ClaimLost."""
        async with self._database.writing() as connection:
            mine = select(claims.c.epoch, claims.c.owner, claims.c.state).where(claims.c.key == held.key)
            # Until this transaction ends, nobody else can take it.
            row = (await connection.execute(mine.with_for_update())).first()
            if row is None or (row.epoch, row.owner, row.state) != (held.epoch, held.owner, State.RUNNING):
                holder = "nobody" if row is None else f"{row.owner} in epoch {row.epoch}, {row.state}"
                raise ClaimLost(key=held.key, epoch=held.epoch, holder=holder)
            yield connection

    async def once(self, key: str, work: Callable[[Held], Awaitable[str]], *, owner: str) -> str:
        """Give what came of work, which is done here, or by whoever else is at it; this waits until somebody is done.

        A follower whose leader dies, gives up, or fails in a way that may pass, becomes the leader. A failure that
        would come again, or that came too often, is raised for all as PeerFailed with its reason.
        """
        while True:
            taken = await self.take(key, owner=owner)
            if isinstance(taken, Held):
                # Who has lost it follows whoever has it now.
                with contextlib.suppress(ClaimLost):
                    return await self._lead(taken, work)
                continue
            if taken.state is State.DONE and taken.outcome is not None:
                return taken.outcome
            if taken.state is State.FAILED:
                raise PeerFailed(key=key, owner=taken.owner, failures=taken.failures, reason=str(taken.outcome))
            await self._clock.sleep(self._lease / 10)

    async def _lead(self, held: Held, work: Callable[[Held], Awaitable[str]]) -> str:
        async with self._kept(held):
            try:
                outcome = await work(held)
            except SluicewayError as error:
                await self.fail(held, str(error), transient=isinstance(error, _TRANSIENT))
                raise
            except BaseException:
                # A bug, or somebody wants this to end: the next one may try.
                await self.release(held)
                raise
        await self.finish(held, outcome)
        return outcome

    @contextlib.asynccontextmanager
    async def _kept(self, held: Held) -> AsyncIterator[None]:
        """Renew a claim as long as the block lasts."""

        async def renewing() -> None:
            while True:
                await self._clock.sleep(self._lease / 3)
                await self.renew(held)

        keeping = asyncio.ensure_future(renewing())
        try:
            yield
        finally:
            keeping.cancel()
            # Whether it was lost is found, and told, by whoever writes next.
            await asyncio.gather(keeping, return_exceptions=True)

    async def _change(self, connection: AsyncConnection, held: Held, **changed: object) -> None:
        await connection.execute(update(claims).where(claims.c.key == held.key).values(**changed))

    async def _look(self, key: str, now: int) -> tuple[Standing | None, bool]:
        """Tell how a claim stands and whether it may be taken, both at one moment."""
        asked = select(claims, self._may_be_taken(now).label("is_open")).where(claims.c.key == key)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).mappings().first()
        if row is None:
            return None, True
        standing = Standing(
            key=row["key"],
            owner=row["owner"],
            epoch=row["epoch"],
            state=State(row["state"]),
            failures=row["failures"],
            outcome=row["outcome"],
        )
        return standing, bool(row["is_open"])

    def _may_be_taken(self, now: int) -> ColumnElement[bool]:
        return or_(
            claims.c.state == State.FREE,
            and_(claims.c.state == State.RUNNING, claims.c.lease_until < now),
            and_(claims.c.state == State.FAILED, claims.c.transient, claims.c.failures < self._attempts),
        )

    @property
    def _span(self) -> int:
        return self._lease // _MICROSECOND

    def _now(self) -> int:
        return moment(self._clock.now())
