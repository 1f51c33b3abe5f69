"""How long `sluiceway status` takes for many outputs: the command as a person calls it, from its start to its end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import Stopwatch
from benchmarks.provenance.outcome import Spent
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.manifest import Ending, Input, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.remote.clock import SystemClock

USUAL: Final = "status"
QUICK: Final = "status --quick"
HELP: Final = "the command's start alone (--help)"
_FOLDER: Final = 100


def make(folder: Path, outputs: int) -> None:
    """Seal so many outputs of one small file, each of one input, in folders of a hundred."""
    ledger = Ledger(folder / "home" / "ledger", clock=SystemClock())
    read = folder / "input.txt"
    read.parent.mkdir(parents=True, exist_ok=True)
    read.write_text("input\n")
    for number in range(outputs):
        output = folder / "outputs" / f"{number // _FOLDER:04}" / f"{number:06}"
        output.mkdir(parents=True)
        (output / "value.txt").write_text(f"{number}\n")
        told = Input(role="input", path="../../../input.txt")
        seal(Manifest(output_id=output.name, ending=Ending(status="ok"), inputs=(told,)), output, ledger=ledger)


def spent(folder: Path, rounds: int) -> dict[str, list[Spent]]:
    """Ask so often each; the first look, which reads what is new, is not counted."""
    asked = {
        USUAL: ("status", str(folder / "outputs")),
        QUICK: ("status", "--quick", str(folder / "outputs")),
        HELP: ("--help",),
    }
    _run(folder, asked[USUAL])
    return {name: [_run(folder, words) for _ in range(rounds)] for name, words in asked.items()}


def _run(folder: Path, words: tuple[str, ...]) -> Spent:
    variables = {
        **os.environ, "SLUICEWAY_HOME": str(folder / "home"), "SLUICEWAY_CACHE_DIR": str(folder / "cache"),
    }  # fmt: skip
    command = (str(Path(sys.executable).with_name("sluiceway")), *words)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Stopwatch() as watch:
        subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall=watch.seconds, cpu=cpu)
