"""What one run of the benchmark measured, and the arithmetic on it: medians, ratios, what one pair more costs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that was measured in one run of the benchmark; `extent` is what `data.extent` counted."""

    machine: str
    date: str
    scores: int
    scale: float
    policy: str
    extent: dict[str, int]
    taken: list[dict[str, Any]]
    agreement: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, **measured: Any) -> Self:
        """Add this machine and this day to what was measured."""
        return cls(machine=machine(), date=today(), **measured)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an outcome that was kept."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Keep the outcome."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def names(self) -> list[str]:
        """The tools and modes in the order in which they first ran."""
        return list(dict.fromkeys(each["name"] for each in self.taken))

    def values(self, name: str, figure: str) -> list[float]:
        """One figure of every run of one tool and mode that went to its end."""
        return [each[figure] for each in self.taken if each["name"] == name and each["exit_code"] == 0]

    def median(self, name: str, figure: str) -> float | None:
        """The median of one figure; none where no run went to its end."""
        values = self.values(name, figure)
        return median(values) if values else None

    def ratio(self, ours: str, theirs: str, figure: str) -> float | None:
        """How often the median of one is in that of the other; none where either is not there."""
        mine, other = self.median(ours, figure), self.median(theirs, figure)
        return mine / other if mine is not None and other else None

    def pairs(self, name: str) -> int:
        """How many weights a tool put on everybody's genotype; ours leaves out what reads the same on both strands."""
        leaves_out = name.startswith("sluiceway") and self.policy == "catalogue"
        return self.extent["certain_pairs" if leaves_out else "pairs"]


def marginal_us(smaller: Outcome, larger: Outcome, name: str) -> float | None:
    """CPU microseconds for each pair more; none where either outcome lacks the tool, or has no pair more."""
    few, many = smaller.median(name, "cpu_s"), larger.median(name, "cpu_s")
    more = larger.pairs(name) - smaller.pairs(name)
    return (many - few) / more * 1e6 if more and few is not None and many is not None else None


def machine() -> str:
    """The processor, how many of them, and the Python."""
    return f"{processor()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def processor() -> str:
    """The processor's name; where the kernel does not tell it, its architecture."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def today() -> str:
    """The day on which something is measured."""
    return datetime.now(UTC).date().isoformat()
