"""Makes what the registry says of a home anew from the home's files, and compares the two.

Run folders tell of attempts, the ledger where other outputs were sealed, their manifests what they are. What no file
tells is not made anew: claims, which are only about now, and events of what was repaired. Rows of other homes stay.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from sluiceway.core.registry import files
from sluiceway.core.registry.artifacts import Artifact, Edge
from sluiceway.core.registry.home import identity_of
from sluiceway.core.registry.record import write
from sluiceway.core.registry.runs import OVER, Attempt, State, forget_runs_without_attempts
from sluiceway.core.registry.schema import artifacts, attempts, edges
from sluiceway.core.runs.listing import every_attempt
from sluiceway.core.runs.references import kept_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sluiceway.core.provenance.ledger import Ledger
    from sluiceway.core.registry.database import Database
    from sluiceway.core.registry.record import Finding
    from sluiceway.core.runs.run import Runs


Row = Attempt | Artifact | Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not as the files tell: missing there, there and not in the files, or with another value."""

    table: str
    row: str
    what: str

    def __str__(self) -> str:
        """Give the line a person reads."""
        return f"{self.table}\t{self.row}\t{self.what}"


def found_in(runs: Runs, ledger: Ledger) -> list[Finding]:
    """Read all that the files of a home tell, in the order in which it came about."""
    home = identity_of(runs.home)
    found = [files.attempt_in(each, home) for each in every_attempt(runs)]
    outputs = {entry.output: entry for entry in ledger.history().entries}
    found += [files.output_at(Path(place), home) for place in outputs]
    found += [files.output_at(each, home) for each in kept_in(runs.home, runs.clock)]
    return sorted((each for each in found if each is not None), key=lambda each: each.attempt.intended_at)


async def rebuild(database: Database, runs: Runs, ledger: Ledger) -> int:
    """Make all rows of a home anew, in one transaction; give how many attempts there are."""
    found = await asyncio.to_thread(found_in, runs, ledger)
    home = await asyncio.to_thread(identity_of, runs.home)
    async with database.writing() as connection:
        own = select(artifacts.c.id).where(artifacts.c.home == home)
        await connection.execute(delete(edges).where(edges.c.output.in_(own)))
        await connection.execute(delete(artifacts).where(artifacts.c.home == home))
        await connection.execute(delete(attempts).where(attempts.c.home == home))
        for each in found:
            await write(connection, each, anew=True)
        await forget_runs_without_attempts(connection)
    return len(found)


async def check(database: Database, runs: Runs, ledger: Ledger) -> list[Difference]:
    """Compare the rows of a home with its files; what is on its way may be further in one than in the other."""
    found = await asyncio.to_thread(found_in, runs, ledger)
    home = await asyncio.to_thread(identity_of, runs.home)
    under_way = {each.attempt.id for each in found if each.attempt.state not in OVER}
    async with database.reading() as connection:
        there = await _rows(connection, attempts, attempts.c.home == home)
        made = await _rows(connection, artifacts, artifacts.c.home == home)
        read = await _rows(
            connection, edges, edges.c.output.in_(select(artifacts.c.id).where(artifacts.c.home == home))
        )
    differences = _compared("attempts", {each.attempt.id: each.attempt for each in found}, there, skip=under_way)
    differences += _compared("artifacts", {each.id: each for one in found for each in one.artifacts}, made)
    wanted = {f"{each.output} {each.number}": each for one in found for each in one.edges}
    return differences + _compared("edges", wanted, read)


async def _rows(connection: AsyncConnection, table: Table, wanted: ColumnElement[bool]) -> dict[str, Row]:
    kind: type[Row] = {"attempts": Attempt, "artifacts": Artifact, "edges": Edge}[table.name]
    rows = (await connection.execute(select(table).where(wanted))).mappings()
    made = [kind(**row) for row in rows]
    return {each.id if not isinstance(each, Edge) else f"{each.output} {each.number}": each for each in made}


def _compared(
    table: str, wanted: Mapping[str, Row], there: Mapping[str, Row], *, skip: AbstractSet[str] = frozenset()
) -> list[Difference]:
    differences = []
    for row in sorted({*wanted, *there} - skip):
        ours, theirs = there.get(row), wanted.get(row)
        if ours is None or theirs is None:
            if ours is not None and getattr(ours, "state", None) in set(State) - set(OVER):
                # Scores that are under way are in no file yet.
                continue
            what = "the files tell of it, the registry does not" if ours is None else "no file tells of it any more"
            differences.append(Difference(table=table, row=row, what=f"{what}: {_place(ours or theirs)}"))
        elif ours != theirs:
            named = [each.name for each in fields(ours) if getattr(ours, each.name) != getattr(theirs, each.name)]
            differences.append(Difference(table=table, row=row, what=f"other {', '.join(named)}: {_place(ours)}"))
    return differences


def _place(row: Row | None) -> str:
    return str(getattr(row, "folder", None) or getattr(row, "path", None) or "")
