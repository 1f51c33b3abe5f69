"""One process leads a piece of work, and whoever asks for the same follows it; where it ends, one of them goes on.

In one home a follower need not wait for what the leader says: it joins the leader's job, as `core.runs.run` does, and
hears what it prints. The claim says who sees to the rest, and that only they write. Without a registry everything still
works by the files and locks of the home alone, and that is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from sluiceway.core.errors import ClaimLost, SluicewayError
from sluiceway.core.events import tell
from sluiceway.core.registry.claims import Claims, Held, Standing, State
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import is_gone, is_of, owner_in
from sluiceway.core.registry.record import ABOUT_TO_NOTE
from sluiceway.core.remote.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sluiceway.core.registry.database import Database

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=1)
_LOOK_EVERY: Final = timedelta(seconds=1)
PATIENCE: Final = timedelta(seconds=10)
"""For how long a run waits for its registry, at most."""
UNUSABLE: Final = (SluicewayError, SQLAlchemyError, OSError, TimeoutError)
"""What a registry that cannot be used raises."""


class Point(StrEnum):
    """What is done in the registry on the way of a run; each is told when done, and may be the last thing done."""

    CLAIMED = "claim taken"
    INTENT_NOTED = "intent registered"
    JOB_NOTED = "job registered"
    END_NOTED = "end registered"
    ABOUT_TO_NOTE = ABOUT_TO_NOTE
    OUTPUTS_NOTED = "outputs registered"
    SETTLED = "claim settled"


@dataclass(kw_only=True)
class Lead:
    """This process's part in a piece of work.

    Attributes:
        held: Its claim, where it leads.
        leader: How the claim stood that another one has, where it follows; none without a registry, too.
        over: How it ended for the one whom this process had waited for before.
    """

    key: str
    home: Path
    database: Database | None = None
    claims: Claims | None = None
    owner: str = ""
    held: Held | None = None
    leader: Standing | None = None
    over: Standing | None = None
    is_settled: bool = field(default=False)

    @property
    def follows(self) -> bool:
        """Whether another process does the work."""
        return self.held is None and self.leader is not None

    @property
    def follows_elsewhere(self) -> bool:
        """Whether it is done in another home, so that there is no job here to join."""
        return self.leader is not None and self.follows and not is_of(self.leader.owner, self.home)

    async def take(self, *, following: int | None = None) -> None:
        """Lead, or know who does. Work that is over is begun anew, unless its end is what was waited for."""
        if self.claims is None:
            return
        while True:
            taken = await self.claims.take(self.key, owner=self.owner)
            if isinstance(taken, Held):
                self.held, self.leader = taken, None
                tell(log, Point.CLAIMED, level=logging.DEBUG, run_id=self.key, epoch=taken.epoch)
                return
            if taken.state is State.RUNNING and is_gone(taken.owner, self.home):
                await self.claims.expire(taken)
            elif taken.state is State.RUNNING:
                self.leader = taken
                return
            elif taken.state is State.FAILED and taken.epoch == following:
                self.over = taken
                return
            else:
                await self.claims.reopen(self.key)

    async def until_over(self) -> Standing | None:
        """Wait until another home's leader is done; none where this process is the leader now."""
        while self.claims is not None and self.leader is not None:
            standing = await self.claims.standing(self.key)
            if standing is not None and standing.state in {State.DONE, State.FAILED}:
                return standing
            taken = await self.claims.take(self.key, owner=self.owner)
            if isinstance(taken, Held):
                self.held, self.leader = taken, None
            else:
                await SystemClock().sleep(_LOOK_EVERY)
        return None

    async def settle(self, outcome: str, *, failure: str | None = None, transient: bool = False) -> None:
        """Say what came of the work; where that cannot be written down, the files say it all the same."""
        if self.claims is None or self.held is None:
            return
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                if failure is None:
                    await self.claims.finish(self.held, outcome)
                else:
                    await self.claims.fail(self.held, failure, transient=transient)
        except UNUSABLE as error:
            tell(log, "claim not settled", level=logging.WARNING, run_id=self.key, reason=_first_line(error))
        self.is_settled = True
        tell(log, Point.SETTLED, level=logging.DEBUG, run_id=self.key)

    async def _keep(self) -> None:
        """Renew the claim, or look whether it is free by now."""
        clock = SystemClock()
        while self.claims is not None:
            await clock.sleep(LEASE / 3 if self.held is not None else LEASE / 10)
            try:
                await self._renew_or_take()
            except ClaimLost as error:
                tell(log, "claim lost", level=logging.WARNING, run_id=self.key, reason=str(error))
                self.held = None
            except UNUSABLE as error:
                tell(log, "claim not renewed", level=logging.WARNING, run_id=self.key, reason=_first_line(error))

    async def _renew_or_take(self) -> None:
        if self.claims is None or self.is_settled:
            return
        if self.held is not None:
            await self.claims.renew(self.held)
            return
        standing = await self.claims.standing(self.key)
        if standing is not None and standing.state in {State.RUNNING, State.FREE}:
            await self.take()

    async def _leave(self) -> None:
        if self.claims is None or self.held is None or self.is_settled:
            return
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await self.claims.release(self.held)
        except UNUSABLE as error:
            tell(log, "claim not given back", level=logging.WARNING, run_id=self.key, reason=_first_line(error))


_leads: ContextVar[dict[str, Lead] | None] = ContextVar("_leads", default=None)


def lead_of(key: str) -> Lead | None:
    """Give this process's part in a piece of work; none where it did not ask."""
    return (_leads.get() or {}).get(key)


@contextlib.asynccontextmanager
async def leading(key: str, home: Path, *, following: int | None = None) -> AsyncIterator[Lead]:
    """Lead a piece of work, or follow whoever leads it, for as long as the block lasts.

    Args:
        key: The content key of the work.
        home: The home that it is done in.
        following: The epoch of a leader whom this process, or one before it for the same asker, has waited for.
    """
    async with contextlib.AsyncExitStack() as undo:
        lead = await _begun(key, home, undo, following=following)
        before = _leads.get() or {}
        token = _leads.set({**before, key: lead})
        keeping = asyncio.ensure_future(lead._keep())  # noqa: SLF001 - the rest of this class
        try:
            yield lead
        finally:
            _leads.reset(token)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await lead._leave()  # noqa: SLF001


async def _begun(key: str, home: Path, undo: contextlib.AsyncExitStack, *, following: int | None) -> Lead:
    """Open the registry and ask who leads; without a registry nobody does."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()), contextlib.AsyncExitStack() as opened:
            database = await opened.enter_async_context(await registry_at(home))
            owner = opened.enter_context(owner_in(home))
            claims = Claims(database, clock=SystemClock(), lease=LEASE)
            lead = Lead(key=key, home=home, database=database, claims=claims, owner=owner)
            await lead.take(following=following)
            undo.push_async_exit(opened.pop_all())
            return lead
    except UNUSABLE as error:
        reason = _first_line(error)
        tell(log, "registry not used", level=logging.WARNING, run_id=key, reason=reason, repair=REPAIR)
        return Lead(key=key, home=home)


REPAIR: Final = "sluiceway registry rebuild"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
