"""Runs one command of sluiceway and writes its CPU seconds by stage: `... benchmarks.scoring.profile FILE score ...`.

The functions of each stage are wrapped from outside, so the product knows nothing of it. A stage's seconds are those of
the process while one thread is in it, without what another stage inside of it takes, and what is in none is the rest.
So one worker is to be asked for; libraries' own threads count for whoever waits for them.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES: Final = {
    "prepare the panel": ("core.runs.reference_scoring:open_panel", "core.runs.reference_scoring:prepare"),
    "parse": ("core.catalog.library:Library.load",),
    "divide rows by range": ("core.genetics.reference:stage", "core.genetics.reference:rows_of"),
    "match": ("core.genetics.score:match",),
    "decode": ("core.genetics.genotypes:GenotypeReader._read",),
    "multiply": ("core.genetics.reference:score_part",),
    "add up": ("core.genetics.totals:Totals.add", "core.genetics.totals:Totals.result"),
    "keep results": ("core.genetics.results:keep", "core.genetics.results:find"),
    "tables": ("core.runs.reference_scoring:ReferenceScoring.lay_out",),
    "report": ("core.runs.reference_scoring:ReferenceScoring.seal",),
}
REST: Final = "start, and the rest"


class Stopwatch:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._inside = threading.local()

    def of(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function that does the same and is timed as part of a stage."""

        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            outer, begun = getattr(self._inside, "inner", None), time.process_time()
            self._inside.inner = 0.0
            try:
                return function(*given, **named)
            finally:
                took = time.process_time() - begun
                with self._lock:
                    self._seconds[stage] = self._seconds.get(stage, 0.0) + took - self._inside.inner
                self._inside.inner = None if outer is None else outer + took

        return timed

    def seconds(self) -> dict[str, float]:
        """Give every stage's seconds, and what the process took besides."""
        known = {stage: self._seconds.get(stage, 0.0) for stage in STAGES}
        return {**known, REST: time.process_time() - sum(known.values())}


def watch(stopwatch: Stopwatch) -> None:
    """Wrap the functions of all stages."""
    for stage, functions in STAGES.items():
        for function in functions:
            module, _, name = function.partition(":")
            owner: Any = importlib.import_module(f"sluiceway.{module}")
            *classes, last = name.split(".")
            for each in classes:
                owner = getattr(owner, each)
            setattr(owner, last, stopwatch.of(stage, getattr(owner, last)))


def main() -> None:
    """Run one command of sluiceway, and write its stages."""
    from sluiceway.core.settings import leave_processors_to_us  # noqa: PLC0415 -- before polars is imported

    leave_processors_to_us()
    stopwatch = Stopwatch()
    watch(stopwatch)
    from sluiceway.cli import main as command_line  # noqa: PLC0415

    try:
        command_line(sys.argv[2:])
    finally:
        Path(sys.argv[1]).write_text(json.dumps(stopwatch.seconds()))


if __name__ == "__main__":
    main()
