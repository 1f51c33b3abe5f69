"""Where our CPU seconds go: `python -m benchmarks.scoring.stages --scores N --work DIR`, after a run of the benchmark.

Scores from nothing, then with every table made, each in a child of one worker that `profile.py` watches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Self

from benchmarks.scoring.layout import Work
from benchmarks.scoring.ours import sluiceway
from benchmarks.scoring.outcome import machine, today
from benchmarks.scoring.profile import REST, STAGES
from benchmarks.scoring.run import add_size, extent, kept

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.scoring.watch import Command

NOTHING, WARM = "from nothing", "warm"
GROWS_WITH: Final = {
    "prepare the panel": "panel_variants",
    "parse": "rows",
    "divide rows by range": "rows",
    "match": "rows",
    "decode": "needed_variants",
    "multiply": "certain_pairs",
    "add up": "scores",
    "keep results": "scores",
    "tables": "scores",
    "report": "scores",
}
"""What each stage's seconds are taken to be proportional to; a field of the extent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """CPU seconds of our stages, from nothing and warm, and how much there was to do."""

    machine: str
    date: str
    scores: int
    extent: dict[str, int]
    seconds: dict[str, dict[str, float]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what was kept."""
        return cls(**json.loads(path.read_text()))

    def of(self, stage: str) -> tuple[float, float]:
        """One stage's seconds from nothing, and warm."""
        return self.seconds[NOTHING][stage], self.seconds[WARM][stage]

    def amount(self, stage: str) -> int:
        """How much there was to do in one stage."""
        return {**self.extent, "scores": self.scores}[GROWS_WITH[stage]]

    def each_us(self, stage: str) -> float:
        """Microseconds for one of what a stage grows with; what is made once is not in the warm run."""
        nothing, warm = self.of(stage)
        return (nothing if stage in MADE_ONCE else warm) / self.amount(stage) * 1e6


MADE_ONCE: Final = ("prepare the panel", "parse")


def measure(given: argparse.Namespace) -> Stages:
    """Score from nothing and again, in children that are watched."""
    first, _, warm, *_ = sluiceway(Work(given.work), given.scores, "catalogue")
    measured = extent(given)
    seconds = {}
    for name, command in ((NOTHING, first), (WARM, warm)):
        command.ready()
        seconds[name] = _watched(warm, given.work / "stages.json")
    return Stages(machine=machine(), date=today(), scores=given.scores, extent=measured, seconds=seconds)


def _watched(command: Command, file: Path) -> dict[str, float]:
    argv = (sys.executable, "-m", "benchmarks.scoring.profile", str(file), *command.argv[1:], "--workers", "1")
    subprocess.run(argv, check=True, env={**os.environ, **command.environment}, stdout=subprocess.DEVNULL)
    found: dict[str, float] = json.loads(file.read_text())
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring.stages", description=__doc__)
    given = add_size(parser)
    stages = measure(given)
    for name in (*STAGES, REST):
        nothing, warm = stages.of(name)
        print(f"{name:22} {nothing:8.2f} {warm:8.2f}")
    if given.keep:
        kept(given, "stages-").write_text(json.dumps(asdict(stages), indent=1) + "\n")


if __name__ == "__main__":
    main()
