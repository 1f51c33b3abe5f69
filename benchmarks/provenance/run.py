"""Measures everything, part by part."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.provenance import claiming, digests, one_second, standing
from benchmarks.provenance.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    rounds: int = 5
    size: int = 256 << 20
    outputs: int = 10_000
    clients: int = 64
    keys: int = 2_000
    read: int = 16 << 20


def measure(work: Path, extent: Extent) -> Outcome:
    """Measure in this folder, which is on the disk that is meant."""
    outcome = Outcome(size=extent.size, outputs=extent.outputs)
    outcome.note_load()
    outcome.digests = digests.rates(work / "digests", extent.size, extent.rounds)
    outcome.note_load()
    standing.make(work / "standing", extent.outputs)
    outcome.status = standing.spent(work / "standing", extent.rounds)
    outcome.note_load()
    asyncio.run(_claims(work, extent, outcome))
    outcome.note_load()
    outcome.tasks = one_second.seconds(work / "tasks", extent.rounds, extent.read)
    return outcome


async def _claims(work: Path, extent: Extent, outcome: Outcome) -> None:
    with claiming.postgresql() as server:
        urls = {claiming.SQLITE: f"sqlite:///{work}/registry.sqlite", claiming.POSTGRESQL: server}
        for name, url in urls.items():
            if url is not None:
                outcome.claims[name] = [
                    await claiming.claimed(url, clients=extent.clients, keys=extent.keys)
                    for _ in range(min(3, extent.rounds))
                ]
