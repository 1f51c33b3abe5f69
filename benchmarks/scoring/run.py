"""Runs every tool on the same files in interleaved rounds, and prints a table: `python -m benchmarks.scoring`.

This process imports nothing large and does no work itself: generating, comparing and everything that is measured run
as children.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoring import peers, report
from benchmarks.scoring.layout import Work
from benchmarks.scoring.ours import MODES, POLICIES, sluiceway
from benchmarks.scoring.outcome import Outcome
from benchmarks.scoring.watch import Taken, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoring.watch import Command

PEERS = {"gnomon": peers.gnomon, "plink2": peers.plink2, "just-prs": peers.just_prs}
RESULTS = Path(__file__).parents[1] / "results"


def commands(given: argparse.Namespace) -> list[list[Command]]:
    """Give every tool's runs, those of one tool together because a warm run needs the cold one's caches."""
    work = Work(given.work)
    asked = given.peers.split(",") if given.peers else []
    theirs = [PEERS[name](work, given.scores) for name in asked if not (name == "just-prs" and given.scores > 50)]
    modes = given.ours.split(",")
    ours = [each for each in sluiceway(work, given.scores, given.policy) if each.mode in modes]
    return [ours, *theirs] if ours else theirs


def measure(tools: Sequence[Sequence[Command]], rounds: int, log: Path) -> list[Taken]:
    """Run all, round by round, beginning each round with another tool."""
    taken = []
    for number in range(rounds):
        turned = [*tools[number % len(tools) :], *tools[: number % len(tools)]]
        for command in (each for tool in turned for each in tool if number < each.rounds):
            taken.append(run(command, number + 1, log))
            last = taken[-1]
            print(f"round {number + 1}: {last.name}: {last.wall_s:.1f} s wall, {last.cpu_s:.1f} s CPU, "
                  f"{last.peak_gb:.2f} GB, load {last.load:.1f}, exit {last.exit_code}", flush=True)  # fmt: skip
    return taken


def agreement(given: argparse.Namespace, taken: Sequence[Taken]) -> dict[str, dict[str, float]]:
    """Compare the sums of whoever ran to the end, in a child; what was measured is kept even where that fails."""
    done = {each.name for each in taken if not each.exit_code}
    tools: list[str] = [name for name in ("plink2, single", "plink2, multi") if name in done]
    tools += [tool for tool in ("sluiceway", "gnomon", "just-prs") if f"{tool}, cold" in done]
    # On the large panel the loop would take longer than all else.
    compared = str(given.scores if given.scale <= 1 else 50)
    where = ("--work", str(given.work), "--scores", str(given.scores), "--policy", given.policy, "--compared", compared)
    argv = (sys.executable, "-m", "benchmarks.scoring.agreement", *where, *tools)
    said = subprocess.run(argv, check=False, stdout=subprocess.PIPE)
    answered: dict[str, dict[str, float]] = json.loads(said.stdout) if said.returncode == 0 else {}
    return answered


def add_size(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, with the options that say how much there is to do, and where it is."""
    parser.add_argument("--scores", type=int, default=50, choices=(50, 200, 500), help="how many scores to compute")
    parser.add_argument("--work", type=Path, help="where generated files, environments and results are kept")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink the data by this factor; 4 is a larger panel")
    parser.add_argument("--keep", action="store_true", help="keep the figures as the project's own, for its page")
    given = parser.parse_args()
    given.work = (given.work or default_work()).resolve()
    return given


def extent(given: argparse.Namespace) -> dict[str, int]:
    """Generate what is missing, in a child, and tell how much there is to do."""
    size = ("--scale", str(given.scale), "--scores", str(given.scores))
    argv = (sys.executable, "-m", "benchmarks.scoring.data", "--work", str(given.work), *size)
    counted: dict[str, int] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return counted


def kept(given: argparse.Namespace, what: str = "") -> Path:
    """Where the project's own figures of this size are; `what` tells of what they are besides."""
    return RESULTS / f"scoring-{'large-' if given.scale > 1 else ''}{what}{given.scores}.json"


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each tool runs; just-prs runs once")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of these to run beside ours; may be empty")
    parser.add_argument("--ours", default=",".join(MODES), help="which of our modes to run; may be empty")
    parser.add_argument("--policy", default=POLICIES[0], choices=POLICIES, help="the policy ours follows")
    return add_size(parser)


def default_work() -> Path:
    """Where everything is kept unless the command line says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sluiceway-benchmarks" / "scoring"


def main() -> None:
    """Generate what is missing, run, compare, print, keep."""
    given = _given()
    measured = extent(given)
    taken = measure(commands(given), given.rounds, given.work / "log.txt")
    outcome = Outcome.of(
        scores=given.scores, scale=given.scale, policy=given.policy, extent=measured,
        taken=[asdict(each) for each in taken], agreement=agreement(given, taken),
    )  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    outcome.write(given.work / f"outcome-{given.scores}.json")
    if given.keep:
        outcome.write(kept(given))
    print(report.measured(outcome))


if __name__ == "__main__":
    main()
