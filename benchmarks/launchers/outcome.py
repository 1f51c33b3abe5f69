"""What one run of the benchmark measured."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from benchmarks.scoring.outcome import machine, today

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """One start of an engine: seconds until the payload began beside it, and from then until all was over."""

    name: str
    nodes: int
    ready: float
    over: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """An environment brought to a cluster: seconds to build it, to have it there, and to find it whole there again.

    `copied` are those of a plain copy of its folder; a run that does nothing took `within` in it, and `without` it.
    """

    name: str
    files: int
    megabytes: int
    packed: int
    built: float
    shipped: float
    found: float
    copied: float
    within: float
    without: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Everything that was measured, in the order in which it was."""

    machine: str = field(default_factory=machine)
    date: str = field(default_factory=today)
    versions: dict[str, str] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    starts: list[Ready] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an outcome that was kept."""
        kept: dict[str, Any] = json.loads(path.read_text())
        starts = [Ready(**each) for each in kept["starts"]]
        return cls(**{**kept, "starts": starts, "shipments": [Shipment(**each) for each in kept["shipments"]]})

    def write(self, path: Path) -> None:
        """Keep the outcome."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def note_load(self) -> None:
        """Note how busy the machine is."""
        self.loads.append(round(os.getloadavg()[0], 1))

    def of(self, name: str, nodes: int) -> list[Ready]:
        """The starts of one engine on so many nodes."""
        return [each for each in self.starts if (each.name, each.nodes) == (name, nodes)]
