"""Runs a command as a child and tells what it took: wall, CPU of it and all its children, and peak memory.

Peak memory is `ru_maxrss`: that of the largest single process among the child and its waited-for descendants, not their
sum. The kernel counts a child's memory from before its exec too, so whoever imports this must stay small.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


MANY: Final = 99
"""More rounds than anybody asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One way to run one tool: what to do before, unmeasured, and what to run."""

    tool: str
    mode: str
    argv: Sequence[str]
    ready: Callable[[], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    results: Path
    inside: str = ""
    rounds: int = MANY

    @property
    def name(self) -> str:
        """The tool and the mode."""
        return f"{self.tool}, {self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one run took."""

    name: str
    inside: str
    exit_code: int
    wall_s: float
    cpu_s: float
    system_s: float
    peak_gb: float
    load: float
    round: int


def run(command: Command, number: int, log: Path) -> Taken:
    """Make ready, run, and measure; what it prints goes to the log."""
    command.ready()
    load = os.getloadavg()[0]
    with log.open("ab") as out:
        out.write(f"\n== {command.name}, round {number}\n".encode())
        out.flush()
        start = time.perf_counter()
        environment = {**os.environ, **command.environment}
        child = subprocess.Popen(command.argv, env=environment, stdout=out, stderr=out)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    return Taken(
        name=command.name, inside=command.inside, exit_code=child.returncode, wall_s=wall,
        cpu_s=used.ru_utime + used.ru_stime, system_s=used.ru_stime, peak_gb=used.ru_maxrss * 1024 / 1e9, load=load,
        round=number,
    )  # fmt: skip
