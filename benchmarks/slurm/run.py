"""Measures everything on a devcluster of its own, in turn and in one run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Stopwatch
from benchmarks.slurm import peers
from benchmarks.slurm.login_node import LoginNode, tally, until_submitted
from benchmarks.slurm.ours import Ours
from benchmarks.slurm.outcome import DAGSTER, OURS, SUBMITIT, Outcome
from benchmarks.slurm.rates import Counting
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sluiceway.core.remote.shell import Shell
    from sluiceway.deployments.devcluster.plan import Plan

# squeue each 20 ms: what is beyond it is nobody's but Slurm's.
_BARE: Final = """
job=$(sbatch --parsable --mem=100 --output=/dev/null --wrap=true)
until squeue -h -t all -j "$job" -o %T | grep -q COMPLETED; do sleep 0.02; done
"""
_BARE_WAIT: Final = "sbatch --wait --mem=100 --output=/dev/null --wrap=true"
_BARE_MAP: Final = """
job=$(sbatch --parsable --mem=100 --output=/dev/null --array="0-$(($1 - 1))%$2" --wrap=true)
while squeue -h -j "$job" -o %T | grep -q .; do sleep 0.2; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    rounds: int = 7
    lines: int = 40
    watched: tuple[int, ...] = (1, 20, 100, 1000)
    theirs: int = 20
    settle: float = 200
    window: float = 300
    items: int = 1000
    pack: int = 25
    at_once: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A devcluster, and who is measured on it; `outcome` is filled part by part."""

    plan: Plan
    work: Path
    extent: Extent
    with_peers: bool = True
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def node(self) -> LoginNode:
        """The login node."""
        return LoginNode(self.plan)

    @property
    def ours(self) -> Ours:
        """Ours."""
        return Ours(node=self.node, home=self.work / "home")

    @property
    def dagster(self) -> peers.DagsterSlurm:
        """dagster-slurm."""
        return peers.DagsterSlurm(node=self.node, work=self.work)

    async def run(self) -> Outcome:
        """Measure everything."""
        self.node.count()
        (self.work / "home").mkdir(exist_ok=True)
        async with SshShell(self.node.login) as shell:
            submitit = peers.Submitit(node=self.node, shell=shell)
            if self.with_peers:
                await asyncio.to_thread(submitit.install)
                await asyncio.to_thread(self.dagster.install)
                versions = (peers.SUBMITIT.split("=="), peers.DAGSTER_SLURM.split("=="))
                self.outcome.versions.update(dict(versions))
            for part in (self._noops, self._lags, self._rates, self._maps):
                self.outcome.note_load()
                await part(shell, submitit)
                self.outcome.write(self.work.with_suffix(".json"))
        return self.outcome

    async def _noops(self, shell: Shell, submitit: peers.Submitit) -> None:
        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "sbatch": lambda: _timed(shell, Command.script(_BARE)),
            "sbatch --wait": lambda: _timed(shell, Command.script(_BARE_WAIT)),
            OURS: self.ours.noop,
        }
        if self.with_peers:
            ways |= {SUBMITIT: lambda: submitit.run("noop", 1), DAGSTER: self.dagster.noop}
        names = list(ways)
        # Connections are open and nothing is compiled for the first time when it counts.
        for number in range(self.extent.rounds + 1):
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                mark = self.node.mark()
                seconds = await ways[name]()
                # What comes after the verdict, such as tidying up, is its too.
                await asyncio.sleep(0.5)
                asked = self.node.asked_since(mark)
                if number:
                    self.outcome.noop.setdefault(name, []).append(seconds)
                    self.outcome.submitted.setdefault(name, []).append(tally(until_submitted(asked)))
                    self.outcome.ended.setdefault(name, []).append(tally(asked))
                    print(f"round {number}: {name}: {seconds:.2f} s, {tally(asked)}", flush=True)

    async def _lags(self, _shell: Shell, _submitit: peers.Submitit) -> None:
        self.outcome.lag[OURS] = await self.ours.lags(self.extent.lines)
        if self.with_peers:
            self.outcome.lag[DAGSTER] = await self.dagster.lags()

    async def _maps(self, shell: Shell, submitit: peers.Submitit) -> None:
        extent = self.extent
        items, at_once = extent.items, extent.at_once
        self.outcome.items = items
        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "sbatch": lambda: _timed(shell, Command.script(_BARE_MAP, str(items), str(at_once))),
            OURS: lambda: self.ours.mapped(items, at_once=at_once),
            f"{OURS}, {extent.pack} items to an element": lambda: self.ours.mapped(
                items, at_once=at_once, pack=extent.pack
            ),
        }
        if self.with_peers:
            ways[SUBMITIT] = lambda: submitit.run("map", items, at_once)
        for name, way in ways.items():
            self.outcome.mapped[name] = [await way()]
            print(f"map of {items}: {name}: {self.outcome.mapped[name][0]:.1f} s", flush=True)

    async def _rates(self, _shell: Shell, _submitit: peers.Submitit) -> None:
        theirs = self.extent.theirs if self.with_peers else 0
        counting = Counting(node=self.node, watched=self.extent.watched, theirs=theirs, dagster=self.dagster)
        self.outcome.rates.extend(await counting.run(self.extent.settle, self.extent.window))


async def _timed(shell: Shell, command: Command) -> float:
    with Stopwatch() as watch:
        (await shell.run(command)).require_success()
    return watch.seconds
