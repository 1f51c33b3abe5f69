"""Refreshes of a whole catalogue, each in a process of its own, and metadata that are cleaned."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Stopwatch
from benchmarks.refresh.outcome import Cleaning, Outcome, Refresh
from benchmarks.scoring.outcome import processor, today
from benchmarks.scoring.watch import Command, run
from sluiceway.core.catalog import metadata
from sluiceway.core.catalog.sheets import SHEETS
from tests import loopback_content

if TYPE_CHECKING:
    from tests.loopback_catalog import LoopbackCatalog

_PROGRAM = str(Path(sys.executable).with_name("sluiceway"))
_REPAIRS = ("--only", "missing,failed,damaged")


class Bench:
    """Refreshes one catalogue into one home, again and again."""

    def __init__(self, upstream: LoopbackCatalog, folder: Path) -> None:
        """Work in this folder, which has the panel."""
        self._upstream, self._folder = upstream, folder
        self._n = 0

    def refresh(self, name: str, *options: str) -> Refresh:
        """Refresh, and measure."""
        before, self._n = len(self._upstream.asked), self._n + 1
        answer = self._folder / f"answer-{self._n}.json"
        shell = f'"$0" "$@" > {answer}'
        out = str(self._folder / "out")
        words = (_PROGRAM, "refresh", "--headless", "--json", "--panel", str(self._folder / "panel"), "--out", out)
        command = Command(
            tool="sluiceway",
            mode=name,
            argv=("sh", "-c", shell, *words, "--panel-name", "made", *options),
            ready=lambda: None,
            environment=self._environment(),
            results=answer,
        )
        taken = run(command, self._n, self._folder / "log")
        if taken.exit_code:
            raise RuntimeError(f"{name} ended with {taken.exit_code}: {(self._folder / 'log').read_text()[-2000:]}")
        return self._told(name, taken.wall_s, taken.cpu_s, taken.peak_gb, taken.load, before, answer)

    def _told(  # noqa: PLR0913, PLR0917 - what was measured
        self, name: str, wall: float, cpu: float, peak: float, load: float, before: int, answer: Path
    ) -> Refresh:
        said, asked = json.loads(answer.read_text()), self._upstream.asked[before:]
        steps: dict[str, float] = {}
        for each in said["resources"]:
            steps[each["task"]] = steps.get(each["task"], 0.0) + each["wall_seconds"]
        return Refresh(
            name=name,
            wall_s=wall,
            cpu_s=cpu,
            peak_gb=peak,
            load=load,
            asked=len(asked),
            unchanged=sum(each.status == 304 for each in asked),
            files=sum(each.path.endswith(".txt.gz") for each in asked),
            did_nothing=said["did_nothing"],
            steps={task: round(seconds, 2) for task, seconds in steps.items()},
        )

    def _environment(self) -> dict[str, str]:
        return {
            "SLUICEWAY_HOME": str(self._folder / "home"),
            "SLUICEWAY_CACHE_DIR": str(self._folder / "cache"),
            "SLUICEWAY_CATALOG_API": self._upstream.source.api,
            "SLUICEWAY_CATALOG_FILES": self._upstream.source.files,
            "SLUICEWAY_OFFLINE": "0",
        }


def measure(
    upstream: LoopbackCatalog, folder: Path, *, rounds: int, brief: bool, real: Path | None, said: dict[str, int]
) -> Outcome:
    """Refresh for the first time, again without any change, and for repairs; after a revision; then clean metadata."""
    bench = Bench(upstream, folder)
    refreshes = [bench.refresh("the first refresh")]
    refreshes += [bench.refresh("nothing changed") for _ in range(rounds)]
    refreshes += [bench.refresh("nothing to repair", *_REPAIRS) for _ in range(rounds)]
    if not brief:
        victim = sorted(upstream.scores)[len(upstream.scores) // 2]
        upstream.revise(victim, next(iter(upstream.scores[min(upstream.scores)].files.values())))
        refreshes.append(bench.refresh("one file revised"))
    cleanings = [cleaned("generated", upstream, folder / "generated")]
    if real is not None:
        cleanings.append(cleaned("real", loopback_content.real(real), folder / "real"))
    setting = {
        "processor": processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "day": today(),
        **said,
    }
    return Outcome(setting=setting, refreshes=refreshes, cleanings=cleanings)


def cleaned(name: str, upstream: LoopbackCatalog, folder: Path) -> Cleaning:
    """Write the sheets of a catalogue into a folder, and clean them."""
    folder.mkdir()
    rows = size = 0
    for sheet in SHEETS:
        content = upstream.content(f"/files/metadata/pgs_all_metadata_{sheet}.csv", {}) or b""
        (folder / f"pgs_all_metadata_{sheet}.csv").write_bytes(content)
        size += len(content)
        rows += len(upstream.scores) if sheet == "scores" else len(upstream.sheets[sheet])
    (folder / metadata.TRAITS_FILE).write_text(json.dumps(upstream.terms))
    with Stopwatch() as watch:
        metadata.clean(folder)
    return Cleaning(name=name, rows=rows, megabytes=size / 1e6, seconds=watch.seconds)
