"""What the registry knows of runs: written as they go on, never ahead of the files, and made anew from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, select

from sluiceway.core.errors import ClaimLost, PeerFailed, RegistryUnusable, RunUnknown
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.registry import artifacts, events, runs, schema
from sluiceway.core.registry.claims import Claims, Held
from sluiceway.core.registry.copying import copy
from sluiceway.core.registry.database import Database, registry_at
from sluiceway.core.registry.events import Event
from sluiceway.core.registry.files import attempt_in
from sluiceway.core.registry.home import identity_of, is_gone, owner_in
from sluiceway.core.registry.rebuild import check, rebuild
from sluiceway.core.registry.record import Finding, record
from sluiceway.core.registry.runs import State
from sluiceway.core.settings import load
from tests.clocks import SteppedClock
from tests.conftest import User
from tests.core.runs.here import Here

MAKES = "echo made >made.txt; echo said"


@pytest.fixture
def here(user: User, url: str) -> Here:
    """A home whose registry is the database under test."""
    user.export("SLUICEWAY_REGISTRY", url)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    return Here(user.folder)


@pytest.fixture
async def registry(here: Here) -> AsyncIterator[Database]:
    async with await registry_at(here.runs.home) as opened:
        yield opened


async def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    async with database.reading() as connection:
        found = (await connection.execute(select(table))).mappings()
        every = [
            {name: value for name, value in row.items() if (table.name, name) != ("events", "id")} for row in found
        ]
    return sorted(every, key=repr)


async def listed(database: Database) -> list[runs.Listed]:
    async with database.reading() as connection:
        return await runs.runs_in(connection)


def finding(state: State = State.RUNNING, **more: Any) -> Finding:
    attempt = runs.Attempt(
        id="a", key="sha256:ab", home="h", folder="/f", number=1, place="local", state=state, intended_at=1, **more
    )
    return Finding(run=runs.Run(key="sha256:ab", kind="run", what="x"), attempt=attempt)


async def test_a_run_and_what_it_made_and_read_are_known_when_it_has_ended(here: Here, registry: Database) -> None:
    """Red on: core/registry/files.py: `state=State.SUCCEEDED if receipt.succeeded else State.FAILED,` ->
    `state=State.RUNNING,`.
    """
    (here.folder / "in.txt").write_text("input")
    receipt = await here.run(here.request(MAKES, outputs=("made.txt",)))
    (known,) = await listed(registry)
    assert (known.attempt.state, known.attempt.why) == (State.SUCCEEDED, "succeeded: exit code 0")
    async with registry.reading() as connection:
        (made,) = await artifacts.artifacts_in(connection, digest=receipt.outputs[0].digest)
        assert Path(made.path).read_text() == "made\n"
        assert [each.role for each in await artifacts.inputs_of(connection, made)] == ["script"]
        told = [each.kind for each in await events.events_after(connection)]
    assert told == ["run intended", "job submitted", "run succeeded"]


async def test_a_lost_registry_is_made_anew_from_the_files(here: Here, registry: Database) -> None:
    """Red on: core/registry/rebuild.py: `for each in found: await write` -> `for each in found[:1]: await write`."""
    failing = here.request("exit 3")
    await here.run(failing)
    await here.run(failing)
    await here.run(here.request(MAKES, outputs=("made.txt",)))
    tables = (schema.runs, schema.attempts, schema.artifacts, schema.edges, schema.events)
    before = {table.name: await rows(registry, table) for table in tables}
    assert {name: len(found) for name, found in before.items()} == {
        "runs": 2, "attempts": 3, "artifacts": 2, "edges": 1, "events": 9
    }  # fmt: skip
    async with registry.writing() as connection:
        for table in reversed(tables):
            await connection.execute(delete(table))
    ledger = ledger_here(here.runs.clock)
    assert len(await check(registry, here.runs, ledger)) == 6
    assert await rebuild(registry, here.runs, ledger) == 3
    assert {table.name: await rows(registry, table) for table in tables} == before
    assert await check(registry, here.runs, ledger) == []


async def test_a_row_that_was_changed_is_found(here: Here, registry: Database) -> None:
    await here.run(here.request("exit 3"))
    async with registry.writing() as connection:
        await connection.execute(schema.attempts.update().values(exit_code=0, state="succeeded"))
    (found,) = await check(registry, here.runs, ledger_here(here.runs.clock))
    assert (found.table, found.what.partition(":")[0]) == ("attempts", "other state, exit_code")


async def test_a_home_that_was_copied_elsewhere_is_known_there(here: Here, registry: Database, tmp_path: Path) -> None:
    receipt = await here.run(here.request(MAKES, outputs=("made.txt",)))
    (here.folder / "home").rename(tmp_path / "elsewhere")
    there = Here(tmp_path / "new")
    there.folder.mkdir()
    (tmp_path / "elsewhere").rename(there.runs.home)
    await rebuild(registry, there.runs, ledger_here(here.runs.clock))
    (known,) = await listed(registry)
    assert known.attempt.folder == str(there.attempt(here.request(MAKES, outputs=("made.txt",))).path)
    assert known.run.key == receipt.key


async def test_what_a_failed_run_has_left_is_no_artifact(here: Here, registry: Database) -> None:
    """Red on: core/registry/files.py: `if attempt.state is not State.SUCCEEDED or read.receipt is None:` -> `if
    read.receipt is None:`.
    """
    receipt = await here.run(here.request(f"{MAKES}; exit 1", outputs=("made.txt",)))
    assert receipt.outputs
    assert await rows(registry, schema.artifacts) == []


@pytest.mark.parametrize("url", ["postgresql://u:secret@/db?host=/nowhere", "sqlite:////proc/nowhere/r.sqlite"])
async def test_a_registry_that_cannot_be_used_fails_no_run_and_is_told(
    user: User, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    user.export("SLUICEWAY_REGISTRY", url)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    here = Here(user.folder)
    with caplog.at_level(logging.WARNING, "sluiceway"):
        logging.getLogger("sluiceway").propagate = True
        assert (await here.run(here.request(MAKES))).succeeded
    # Handlers that other tests leave may hand on the same record twice.
    assert len({each for each in caplog.records if "registry not used" in each.getMessage()}) == 1
    assert "sluiceway registry rebuild" in caplog.text
    assert "secret" not in caplog.text + repr(load())
    user.export("SLUICEWAY_REGISTRY", f"sqlite:///{user.folder}/good.sqlite")
    async with await registry_at(here.runs.home) as registry:
        assert await rebuild(registry, here.runs, ledger_here(here.runs.clock)) == 1


async def test_what_a_dead_leader_still_writes_is_refused(database: Database) -> None:
    clock = SteppedClock()
    claims = Claims(database, clock=clock, lease=timedelta(minutes=1))
    first = await claims.take("sha256:ab", owner="first")
    assert isinstance(first, Held)
    clock.time += timedelta(minutes=2)
    second = await claims.take("sha256:ab", owner="second")
    assert isinstance(second, Held)
    with pytest.raises(ClaimLost, match="second in epoch 2"):
        await record(database, finding(State.FAILED), claims=claims, held=first)
    assert await listed(database) == []
    assert await record(database, finding(State.SUCCEEDED), claims=claims, held=second)


async def test_an_attempt_that_is_over_is_not_taken_back_by_who_looked_earlier(database: Database) -> None:
    assert await record(database, finding(State.SUCCEEDED))
    for earlier in (State.INTENDED, State.RUNNING, State.ENDED):
        assert not await record(database, finding(earlier))
    assert [each.attempt.state for each in await listed(database)] == [State.SUCCEEDED]


async def test_that_it_succeeded_and_what_it_made_are_kept_together_or_not_at_all(database: Database) -> None:
    """Red on: core/registry/record.py: `await artifacts.record(connection,` -> `await connection.commit(); await
    artifacts.record(connection,`.
    """
    broken = artifacts.Artifact(id="w", home="h", place="/f", name="", digest=None, size=None, attempt="a")
    edge = artifacts.Edge(output="w", number=0, role=None, name=None, digest=None, size=None, path=None)  # type: ignore[arg-type]
    ended = finding(State.SUCCEEDED)
    whole = Finding(run=ended.run, attempt=ended.attempt, artifacts=(broken,), edges=(edge,))
    with pytest.raises(Exception, match=r"(?i)null"):
        await record(database, whole)
    assert await listed(database) == []


async def test_a_registry_is_copied_to_another_database_and_only_into_an_empty_one(
    here: Here, registry: Database, tmp_path: Path
) -> None:
    await here.run(here.request(MAKES, outputs=("made.txt",)))
    async with await Database.in_file(tmp_path / "copy.sqlite") as other:
        copied = await copy(registry, other)
        assert copied == {"claims": 1, "runs": 1, "attempts": 1, "artifacts": 2, "edges": 1, "events": 3}
        assert await rows(other, schema.artifacts) == await rows(registry, schema.artifacts)
        with pytest.raises(RegistryUnusable, match="rows in claims"):
            await copy(registry, other)
        async with registry.writing() as connection:
            for table in (schema.events, schema.edges, schema.artifacts, schema.attempts, schema.runs, schema.claims):
                await connection.execute(delete(table))
        await copy(other, registry)
        async with registry.writing() as connection:
            await events.record(connection, [Event(at=1, kind="later", home="h")])
        async with registry.reading() as connection:
            assert [each.kind for each in await events.events_after(connection)][-1] == "later"


async def test_a_hundred_readers_that_poll_never_stall_a_writer(url: str, database: Database) -> None:
    stop = asyncio.Event()

    async def poll() -> None:
        while not stop.is_set():
            async with database.reading() as connection:
                await runs.runs_in(connection, most=10)

    readers = [asyncio.ensure_future(poll()) for _ in range(100)]
    async with asyncio.timeout(30), await Database.opened(url) as own:
        for number in range(20):
            async with own.writing() as connection:
                await events.record(connection, [Event(at=number, kind="k", home="h")])
    stop.set()
    await asyncio.gather(*readers)


async def test_events_come_in_their_order_once_and_in_pages(database: Database) -> None:
    """Red on: core/registry/events.py: `order_by(schema.events.c.id).limit(most)` -> `order_by(schema.events.c.id)`."""
    happened = [Event(at=9 - number, kind=f"k{number}", home="h", once=f"o{number}") for number in range(5)]
    for _ in range(2):
        async with database.writing() as connection:
            await events.record(connection, happened)
    async with database.reading() as connection:
        first = await events.events_after(connection, most=2)
        rest = await events.events_after(connection, first[-1].id or 0)
    assert ([each.kind for each in first], [each.kind for each in rest]) == (["k0", "k1"], ["k2", "k3", "k4"])


async def test_identical_requests_at_once_are_one_run_for_all_of_them(here: Here, registry: Database) -> None:
    request = here.request('echo started >>"$1"; sleep 0.5; exit 4', arguments=(str(here.folder / "count"),))
    receipts = await asyncio.gather(*(here.run(request) for _ in range(3)))
    assert [(each.attempt, each.exit_code) for each in receipts] == [(1, 4)] * 3
    assert (here.folder / "count").read_text() == "started\n"
    assert [each["state"] for each in await rows(registry, schema.claims)] == ["failed"]


@pytest.mark.parametrize(("exit_code", "ending"), [(0, "made"), (5, "failed")])
async def test_another_home_waits_for_the_same_run_and_gets_what_came_of_it(
    here: Here, exit_code: int, ending: str, registry: Database
) -> None:
    text = f'echo started >>"$1"; sleep 1; echo made >made.txt; exit {exit_code}'
    asked = {"arguments": (str(here.folder / "count"),), "outputs": ("made.txt",)}
    other = Here(here.folder / "other")
    other.folder.mkdir()
    leading = asyncio.ensure_future(here.run(here.request(text, **asked)))
    while not (here.folder / "count").exists():
        await asyncio.sleep(0.02)
    following = other.run(other.request(text, **asked))
    if exit_code:
        with pytest.raises(PeerFailed, match="exit code 5"):
            await following
    else:
        receipt = await following
        assert (receipt.succeeded, receipt.path(receipt.outputs[0]).read_text()) == (True, "made\n"), ending
    await leading
    assert (here.folder / "count").read_text() == "started\n"


async def test_a_run_is_found_by_the_beginning_of_its_name_and_the_number_of_its_attempt(database: Database) -> None:
    await record(database, finding())
    async with database.reading() as connection:
        for name in ("a", "ab", "sha256:ab", "ab:a1"):
            assert (await runs.attempt_of(connection, name)).attempt.number == 1
        for name in ("b", "", "ab:a2", "ab:ax"):
            with pytest.raises(RunUnknown):
                await runs.attempt_of(connection, name)


def test_whoever_claims_work_lives_as_long_as_its_process(tmp_path: Path) -> None:
    with owner_in(tmp_path) as owner:
        assert not is_gone(owner, tmp_path)
        assert not is_gone(owner, tmp_path / "another home")
    assert is_gone(owner, tmp_path)
    assert identity_of(tmp_path) == identity_of(tmp_path)


def test_an_attempt_that_was_not_wholly_staged_is_nothing(tmp_path: Path) -> None:
    here = Here(tmp_path)
    attempt = here.attempt(here.request("true"))
    Path(attempt.path).mkdir(parents=True)
    assert attempt_in(attempt, "h") is None
