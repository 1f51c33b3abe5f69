"""What one run of the benchmark measured."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.scoring.outcome import machine, today

if TYPE_CHECKING:
    from pathlib import Path

OURS: Final = "sluiceway"
SUBMITIT: Final = "submitit"
DAGSTER: Final = "dagster-slurm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one watcher asked in a window of so many seconds, in which nothing happened to its jobs."""

    name: str
    jobs: int
    state: str
    seconds: float
    asked: dict[str, int]
    connections: int

    @property
    def sessions(self) -> float:
        """Commands over SSH for an hour."""
        return self.asked.get("session", 0) * 3600 / self.seconds

    @property
    def programs(self) -> float:
        """Slurm's programs for an hour."""
        return sum(count for what, count in self.asked.items() if what != "session") * 3600 / self.seconds


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Everything that was measured, part by part; seconds and counts by who they are of, in the order of the rounds."""

    machine: str = field(default_factory=machine)
    date: str = field(default_factory=today)
    versions: dict[str, str] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    noop: dict[str, list[float]] = field(default_factory=dict)
    submitted: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    ended: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)
    lag: dict[str, list[float]] = field(default_factory=dict)
    mapped: dict[str, list[float]] = field(default_factory=dict)
    items: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an outcome that was kept."""
        kept: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**kept, "rates": [Rate(**each) for each in kept["rates"]]})

    def write(self, path: Path) -> None:
        """Keep the outcome."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def note_load(self) -> None:
        """Note how busy the machine is."""
        self.loads.append(round(os.getloadavg()[0], 1))

    def overhead(self, name: str) -> float:
        """Seconds of the median beyond that of sbatch itself."""
        return median(self.noop[name]) - median(self.noop["sbatch"])

    def rate(self, name: str, jobs: int) -> Rate | None:
        """What somebody asked with so many jobs."""
        return next((each for each in self.rates if (each.name, each.jobs) == (name, jobs)), None)


def middle(values: list[float]) -> str:
    """Write a median with its range.

    >>> middle([3.0, 1.0, 2.25])
    '2.2 (1.0-3.0)'
    """
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f})" if values else "not measured"
