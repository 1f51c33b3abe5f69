"""Claims: one leader for each key, a dead one is replaced and refused, and nobody who follows loses anything."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from sluiceway.core.errors import ClaimLost, InputMissing, PeerFailed, StorageFailed
from sluiceway.core.registry import schema
from sluiceway.core.registry.claims import Claims, Held, Standing, State
from sluiceway.core.registry.database import Database
from sluiceway.core.remote.clock import SystemClock
from tests.clocks import SteppedClock
from tests.conftest import ROOT

LEASE = timedelta(minutes=1)
QUICK = timedelta(seconds=0.5)
MISSING = InputMissing(what="the panel", path=Path("/p"))
FULL = StorageFailed(what="write", path=Path("/s"), reason="No space left")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def claims(database: Database, clock: SteppedClock) -> Claims:
    return Claims(database, clock=clock, lease=LEASE)


async def held(claims: Claims, owner: str = "ada", key: str = "work") -> Held:
    taken = await claims.take(key, owner=owner)
    assert isinstance(taken, Held)
    return taken


async def stands(claims: Claims, owner: str = "bob") -> Standing:
    taken = await claims.take("work", owner=owner)
    assert isinstance(taken, Standing)
    return taken


async def test_the_second_to_ask_follows(claims: Claims) -> None:
    assert await held(claims) == Held(key="work", owner="ada", epoch=1)
    standing = await stands(claims)
    assert (standing.owner, standing.state, standing.outcome) == ("ada", State.RUNNING, None)
    assert await held(claims, key="other work") == Held(key="other work", owner="ada", epoch=1)
    assert await claims.standing("nobody's work") is None


async def test_what_is_done_is_given_to_everybody(claims: Claims) -> None:
    await claims.finish(await held(claims), "sha256:result")
    standing = await stands(claims)
    assert (standing.state, standing.outcome) == (State.DONE, "sha256:result")


async def test_a_claim_whose_lease_ran_out_is_taken_over_and_its_holder_refused(
    claims: Claims, clock: SteppedClock
) -> None:
    first = await held(claims)
    clock.time += LEASE + timedelta(seconds=1)
    second = await held(claims, "bob")
    assert second.epoch == first.epoch + 1
    for late in (claims.finish(first, "late"), claims.renew(first), claims.fail(first, "late", transient=True)):
        with pytest.raises(ClaimLost, match="bob in epoch 2"):
            await late
    await claims.release(first)
    await claims.finish(second, "good")
    assert (await stands(claims)).outcome == "good"


async def test_a_claim_that_is_renewed_is_not_taken_over(claims: Claims, clock: SteppedClock) -> None:
    """Red on: core/registry/claims.py: `lease_until=self._now() + self._span)` -> `owner=held.owner)`."""
    first = await held(claims)
    for _ in range(3):
        clock.time += LEASE * 0.9
        await claims.renew(first)
    assert (await stands(claims)).owner == "ada"


async def test_a_claim_that_was_finished_is_held_no_more(claims: Claims) -> None:
    first = await held(claims)
    await claims.finish(first, "done")
    with pytest.raises(ClaimLost, match="done"):
        await claims.finish(first, "again")


async def test_what_a_holder_writes_beside_its_claim_goes_with_it(claims: Claims, clock: SteppedClock) -> None:
    first = await held(claims)
    clock.time += LEASE * 2
    await held(claims, "bob")
    with pytest.raises(ClaimLost):
        async with claims.fenced(first) as connection:
            await connection.execute(schema.claims.delete())
    assert await claims.standing("work") is not None


async def test_a_claim_that_is_given_back_is_anyones(claims: Claims) -> None:
    await claims.release(await held(claims))
    assert (await held(claims, "bob")).epoch == 2


async def test_a_failure_that_may_pass_is_tried_again_until_it_came_too_often(claims: Claims) -> None:
    for attempt in range(1, 4):
        taken = await held(claims, f"owner {attempt}")
        await claims.fail(taken, "no space left", transient=True)
    standing = await stands(claims)
    assert (standing.state, standing.failures, standing.outcome) == (State.FAILED, 3, "no space left")


async def test_a_failure_that_would_come_again_is_not_tried_again_unless_it_is_reopened(claims: Claims) -> None:
    await claims.fail(await held(claims), "the panel is broken", transient=False)
    assert (await stands(claims)).outcome == "the panel is broken"
    await claims.reopen("work")
    await claims.finish(await held(claims, "bob"), "good")
    await claims.reopen("work")
    again = await held(claims)
    assert again.epoch == 3
    await claims.reopen("work")
    assert (await stands(claims)).state is State.RUNNING


def program(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.core.registry.claimant", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("processes", "clients", "keys"), [(3, 4, 96), pytest.param(4, 16, 2_048, marks=pytest.mark.nightly)]
)
async def test_of_many_claimants_each_key_has_exactly_one_winner(
    url: str, database: Database, processes: int, clients: int, keys: int
) -> None:
    everybody = processes * clients
    started = [program("take", url, first, clients, everybody, keys) for first in range(0, everybody, clients)]
    said = [await asyncio.to_thread(each.communicate) for each in started]
    won = [int(key) for out, _ in said for key in out.split()]
    assert sorted(won) == list(range(keys))
    async with database.reading() as connection:
        assert (await connection.execute(select(func.max(schema.claims.c.epoch)))).scalar() == 1


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_leader_that_dies_or_hangs_is_replaced_and_its_late_write_refused(
    url: str, database: Database, ending: signal.Signals
) -> None:
    """Red on: core/registry/claims.py: `row is None or (row.epoch,` -> `row is None or False and (row.epoch,`."""
    leader = program("hang", url)
    assert leader.stdout is not None
    assert "epoch=1" in await asyncio.to_thread(leader.stdout.readline)
    leader.send_signal(ending)
    claims = Claims(database, clock=SystemClock(), lease=timedelta(seconds=1))

    async def work(mine: Held) -> str:
        return f"epoch {mine.epoch}"

    async with asyncio.timeout(30):
        assert await claims.once("work", work, owner="follower") == "epoch 2"
    leader.send_signal(signal.SIGCONT)
    said, _ = await asyncio.to_thread(leader.communicate, "go on\n" if ending == signal.SIGSTOP else None)
    assert said == ("ClaimLost\n" if ending == signal.SIGSTOP else "")
    standing = await claims.standing("work")
    assert standing is not None
    assert standing.outcome == "epoch 2"


def several(claims: Claims, work: Callable[[Held], Awaitable[str]], number: int = 6) -> list[Awaitable[str]]:
    return [claims.once("work", work, owner=f"owner {each}") for each in range(number)]


@pytest.fixture
def quick(database: Database) -> Claims:
    return Claims(database, clock=SystemClock(), lease=QUICK)


async def test_identical_requests_at_once_are_done_once(quick: Claims) -> None:
    done: list[int] = []

    async def work(mine: Held) -> str:
        done.append(mine.epoch)
        # Longer than a lease: its holder renews it.
        await asyncio.sleep(QUICK.total_seconds() * 2)
        return "result"

    assert await asyncio.gather(*several(quick, work)) == ["result"] * 6
    assert done == [1]


async def test_a_failure_that_would_come_again_is_shared_with_its_cause(quick: Claims) -> None:
    done: list[int] = []

    async def work(mine: Held) -> str:
        done.append(mine.epoch)
        raise MISSING

    ends = await asyncio.gather(*several(quick, work), return_exceptions=True)
    assert done == [1]
    assert sum(each is MISSING for each in ends) == 1
    assert [str(MISSING) in str(each) for each in ends if isinstance(each, PeerFailed)] == [True] * 5


async def test_a_follower_tries_again_what_may_pass(database: Database) -> None:
    """Red on: core/registry/claims.py: `claims.c.transient, claims.c.failures < self._attempts` -> `claims.c.key ==
    ""`.
    """
    # Long enough that a busy machine lets no lease run out.
    claims = Claims(database, clock=SystemClock(), lease=timedelta(seconds=10))
    done: list[int] = []

    async def work(mine: Held) -> str:
        done.append(mine.epoch)
        if mine.epoch < 3:
            raise FULL
        return "result"

    ends = await asyncio.gather(*several(claims, work), return_exceptions=True)
    assert done == [1, 2, 3]
    assert [each for each in ends if isinstance(each, str)] == ["result"] * 4


async def test_work_that_is_cancelled_goes_to_a_follower(quick: Claims) -> None:
    begun = asyncio.Event()

    async def endless(_mine: Held) -> str:
        begun.set()
        await asyncio.sleep(60)
        return "never"

    async def work(mine: Held) -> str:
        return f"epoch {mine.epoch}"

    leader = asyncio.ensure_future(quick.once("work", endless, owner="leader"))
    await begun.wait()
    follower = asyncio.ensure_future(quick.once("work", work, owner="follower"))
    leader.cancel()
    assert await follower == "epoch 2"
    assert leader.cancelled()
