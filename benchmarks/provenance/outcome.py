"""What one run of the benchmark measured."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from benchmarks.scoring.outcome import machine, today

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds on the wall, and of processors."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One round of claiming: so many clients, several of which want each key."""

    clients: int
    keys: int
    seconds: float
    winners: int

    @property
    def rate(self) -> float:
        """Keys that were given away in a second."""
        return self.keys / self.seconds


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Everything that was measured, round by round.

    Attributes:
        digests: Bytes per second, by what was done with a file.
        status: What `sluiceway status` took, by how it was asked.
        claims: By database.
        tasks: Seconds of a task that sleeps for one, by how it is cached or run.
    """

    machine: str = field(default_factory=machine)
    date: str = field(default_factory=today)
    loads: list[float] = field(default_factory=list)
    size: int = 0
    digests: dict[str, list[float]] = field(default_factory=dict)
    outputs: int = 0
    status: dict[str, list[Spent]] = field(default_factory=dict)
    claims: dict[str, list[Claimed]] = field(default_factory=dict)
    tasks: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an outcome that was kept."""
        kept: dict[str, Any] = json.loads(path.read_text())
        status = {name: [Spent(**each) for each in rounds] for name, rounds in kept.pop("status").items()}
        claims = {name: [Claimed(**each) for each in rounds] for name, rounds in kept.pop("claims").items()}
        return cls(**kept, status=status, claims=claims)

    def write(self, path: Path) -> None:
        """Keep the outcome."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def note_load(self) -> None:
        """Note how busy the machine is."""
        self.loads.append(round(os.getloadavg()[0], 1))

    def rate(self, name: str) -> float:
        """The median rate of what was done with a file."""
        return median(self.digests[name])

    def added(self, name: str, to: str) -> float:
        """Seconds of the median beyond another one's."""
        return median(self.tasks[name]) - median(self.tasks[to])
