"""Artifacts and edges in the registry: what lies where, what made it, and what was read for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from sluiceway.core.provenance.tree import digest_of_value
from sluiceway.core.registry.runs import upsert
from sluiceway.core.registry.schema import artifacts, edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An output as a whole, which has no name, or one of its files."""

    id: str
    home: str
    place: str
    name: str
    digest: str | None
    size: int | None
    output_id: str | None = None
    output_type: str | None = None
    manifest: str | None = None
    key: str | None = None
    attempt: str | None = None

    @property
    def path(self) -> str:
        """Where it lies."""
        return str(PurePath(self.place) / self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Something that was read for an output; an artifact has the same digest where we made it."""

    output: str
    number: int
    role: str
    name: str | None
    digest: str | None
    size: int | None
    path: str | None


def artifact_id(home: str, place: str, name: str) -> str:
    """Name an artifact by where it lies."""
    return digest_of_value(["artifact", home, place, name])


async def record(connection: AsyncConnection, attempt: str, found: Sequence[Artifact], read: Sequence[Edge]) -> None:
    """Write down what an attempt made and what it read, in the place of what was known of it."""
    own = select(artifacts.c.id).where(artifacts.c.attempt == attempt)
    await connection.execute(delete(edges).where(edges.c.output.in_(own)))
    await connection.execute(delete(artifacts).where(artifacts.c.attempt == attempt))
    await upsert(connection, artifacts, *found)
    await upsert(connection, edges, *read)


async def artifacts_in(  # noqa: PLR0913 - one per filter
    connection: AsyncConnection,
    *,
    digest: str | None = None,
    place: str | None = None,
    key: str | None = None,
    attempt: str | None = None,
    manifest: str | None = None,
    whole: bool | None = None,
) -> list[Artifact]:
    """Give artifacts, by their places; `whole` tells outputs from their files."""
    wanted = select(artifacts).order_by(artifacts.c.place, artifacts.c.name)
    equal = {
        artifacts.c.digest: digest,
        artifacts.c.place: place,
        artifacts.c.key: key,
        artifacts.c.attempt: attempt,
        artifacts.c.manifest: manifest,
    }
    for column, value in equal.items():
        wanted = wanted if value is None else wanted.where(column == value)
    if whole is not None:
        wanted = wanted.where((artifacts.c.name == "") == whole)
    return [Artifact(**row) for row in (await connection.execute(wanted)).mappings()]


async def inputs_of(connection: AsyncConnection, artifact: Artifact) -> list[Edge]:
    """Give what was read for the output that an artifact is, or is a file of."""
    same = or_(artifacts.c.id == artifact.id, artifacts.c.attempt == artifact.attempt)
    wanted = select(edges).join(artifacts, artifacts.c.id == edges.c.output).where(same).order_by(edges.c.number)
    return [Edge(**row) for row in (await connection.execute(wanted)).mappings()]


async def made_of(connection: AsyncConnection, digest: str) -> list[Artifact]:
    """Give the outputs for which something of this digest was read."""
    wanted = select(artifacts).where(artifacts.c.id.in_(select(edges.c.output).where(edges.c.digest == digest)))
    rows = (await connection.execute(wanted.order_by(artifacts.c.place))).mappings()
    return [Artifact(**{each.name: row[each.name] for each in fields(Artifact)}) for row in rows]


async def contents_of(connection: AsyncConnection, attempt: str) -> dict[str, str | None]:
    """Give the digests of what an attempt read and made, by their names."""
    made = select(artifacts.c.name, artifacts.c.digest).where(artifacts.c.attempt == attempt, artifacts.c.name != "")
    read = select(edges.c.role, edges.c.name, edges.c.digest).join(artifacts, artifacts.c.id == edges.c.output)
    found = {f"made {row.name}": row.digest for row in await connection.execute(made)}
    rows = await connection.execute(read.where(artifacts.c.attempt == attempt))
    return {**{f"read {row.role} {row.name or ''}".strip(): row.digest for row in rows}, **found}
