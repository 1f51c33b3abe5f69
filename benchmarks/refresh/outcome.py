"""What was measured, as it is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """One refresh: what it took, what it asked, what it said."""

    name: str
    wall_s: float
    cpu_s: float
    peak_gb: float
    load: float
    asked: int
    unchanged: int
    files: int
    did_nothing: bool
    steps: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """Sheets of metadata that were cleaned."""

    name: str
    rows: int
    megabytes: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything."""

    setting: dict[str, Any]
    refreshes: list[Refresh]
    cleanings: list[Cleaning]

    def write(self, path: Path) -> None:
        """Keep it."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what was kept."""
        kept = json.loads(path.read_text())
        return cls(
            setting=kept["setting"],
            refreshes=[Refresh(**each) for each in kept["refreshes"]],
            cleanings=[Cleaning(**each) for each in kept["cleanings"]],
        )
