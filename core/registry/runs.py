"""Runs and attempts in the registry: what was asked for, and each time that it was tried."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, or_, select

from sluiceway.core.errors import RunUnknown
from sluiceway.core.provenance.tree import digest_of_value
from sluiceway.core.registry.schema import attempts, inserting, runs

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Select, Table
    from sqlalchemy.ext.asyncio import AsyncConnection


class State(StrEnum):
    """How far an attempt is. What it made is written in the same transaction as that it succeeded."""

    INTENDED = "intended"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# Nobody who read the files earlier, and writes later, takes an attempt back.
_RANK: Final = {
    State.INTENDED: 0,
    State.LOST: 0,
    State.RUNNING: 1,
    State.ENDED: 2,
    State.SUCCEEDED: 3,
    State.FAILED: 3,
}
OVER: Final = (State.SUCCEEDED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked for."""

    key: str
    kind: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that it was tried; times are microseconds since 1970."""

    id: str
    key: str
    home: str
    folder: str
    number: int
    place: str
    state: State
    token: str | None = None
    job_id: str | None = None
    intended_at: int = 0
    submitted_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    ending: str | None = None
    why: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    host: str | None = None
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    manifest: str | None = None
    submitted_by: str | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An attempt, and what it is of."""

    run: Run
    attempt: Attempt


def attempt_id(home: str, folder: str) -> str:
    """Name an attempt by where everything of it lies."""
    return digest_of_value(["attempt", home, folder])


async def record(connection: AsyncConnection, run: Run, attempt: Attempt, *, anew: bool = False) -> bool:
    """Write down how far an attempt is; false where it is known to be further.

    Args:
        connection: Of `Database.writing()` or `Claims.fenced()`.
        run: What it is of.
        attempt: The attempt.
        anew: Whether another one begins where this one was.
    """
    before = select(attempts.c.state, attempts.c.key).where(attempts.c.id == attempt.id).with_for_update()
    known = (await connection.execute(before)).first()
    if known is not None and not anew and _RANK[State(known.state)] > _RANK[attempt.state]:
        return False
    await upsert(connection, runs, run)
    await upsert(connection, attempts, attempt)
    if known is not None and known.key != run.key:
        await forget_runs_without_attempts(connection, known.key)
    return True


async def forget_runs_without_attempts(connection: AsyncConnection, key: str | None = None) -> None:
    """Forget what was asked for where nothing is left of it."""
    gone = delete(runs).where(~select(attempts.c.id).where(attempts.c.key == runs.c.key).exists())
    await connection.execute(gone if key is None else gone.where(runs.c.key == key))


async def upsert(connection: AsyncConnection, table: Table, *rows: object) -> None:
    """Write rows, each a dataclass with the table's columns, in the place of those that are there."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    insert = inserting(table, connection.dialect.name)
    others = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys}
    values = [{column.name: getattr(each, column.name) for column in table.columns} for each in rows]
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), values)


async def runs_in(  # noqa: PLR0913 - one per filter
    connection: AsyncConnection,
    *,
    states: tuple[State, ...] = (),
    kind: str | None = None,
    place: str | None = None,
    submitted_by: str | None = None,
    flow_run_id: str | None = None,
    since: int | None = None,
    most: int | None = None,
) -> list[Listed]:
    """Give attempts, the latest first."""
    wanted = _all().order_by(attempts.c.intended_at.desc(), attempts.c.id).limit(most)
    equal = {
        runs.c.kind: kind,
        attempts.c.place: place,
        attempts.c.submitted_by: submitted_by,
        attempts.c.flow_run_id: flow_run_id,
    }
    for column, value in equal.items():
        wanted = wanted if value is None else wanted.where(column == value)
    if states:
        wanted = wanted.where(attempts.c.state.in_(states))
    if since is not None:
        wanted = wanted.where(attempts.c.intended_at >= since)
    return [_listed(row) for row in (await connection.execute(wanted)).mappings()]


async def attempt_of(connection: AsyncConnection, name: str) -> Listed:
    """Give the latest attempt at the one run whose key begins so, or with `:aN` that one; or raise RunUnknown."""
    begins, _, number = name.removeprefix("sha256:").partition(":a")
    if number and not number.isdecimal():
        raise RunUnknown(name=name, reason=f"{number!r} is not the number of an attempt")
    wanted = _all().where(or_(runs.c.key.startswith(f"sha256:{begins}", autoescape=True), runs.c.key == name))
    wanted = wanted.order_by(attempts.c.number.desc(), attempts.c.intended_at.desc())
    found = [_listed(row) for row in (await connection.execute(wanted)).mappings()]
    keys = {each.run.key for each in found}
    if not begins or len(keys) != 1:
        raise RunUnknown(name=name, reason=f"{len(keys) or 'no'} runs in the registry begin so")
    chosen = [each for each in found if not number or each.attempt.number == int(number)]
    if not chosen:
        raise RunUnknown(name=name, reason=f"it has {len(found)} attempts, and none of that number")
    return chosen[0]


def difference(one: Listed, other: Listed) -> dict[str, tuple[object, object]]:
    """Give the fields in which two attempts differ."""
    told = {
        **{f"run.{each.name}": (getattr(one.run, each.name), getattr(other.run, each.name)) for each in fields(Run)},
        **{each.name: (getattr(one.attempt, each.name), getattr(other.attempt, each.name)) for each in fields(Attempt)},
    }
    return {name: pair for name, pair in told.items() if pair[0] != pair[1] and name not in {"id", "key"}}


async def running_places(connection: AsyncConnection, home: str) -> dict[str, str]:
    """Give the folders of this home in which something is being made right now, and of which runs."""
    wanted = select(attempts.c.folder, attempts.c.key).where(
        attempts.c.state.in_([State.RUNNING, State.ENDED]), attempts.c.home == home
    )
    return {row.folder: row.key for row in await connection.execute(wanted)}


def _all() -> Select[Any]:
    return select(attempts, runs.c.kind, runs.c.what).join(runs, runs.c.key == attempts.c.key)


def _listed(row: RowMapping) -> Listed:
    own = {each.name: row[each.name] for each in fields(Attempt)}
    return Listed(
        run=Run(key=row["key"], kind=row["kind"], what=row["what"]),
        attempt=Attempt(**{**own, "state": State(row["state"])}),
    )
