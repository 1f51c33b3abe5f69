"""Measures starts of engines, and environments, on a devcluster of its own, one after another."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from benchmarks.launchers.outcome import Outcome, Ready
from benchmarks.launchers.shipping import Shipping
from benchmarks.slurm.login_node import LoginNode
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.launchers.contenders import Contender
    from sluiceway.core.remote.shell import Shell
    from sluiceway.deployments.devcluster.plan import Plan

_JOB: Final = """
sbatch --wait --nodes=$2 --ntasks-per-node=1 --cpus-per-task=1 --mem=2500 --time=10 --chdir=$1 --output=$1/out $1/job.sh
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A devcluster, and who is measured on it; `outcome` is filled start by start."""

    plan: Plan
    contenders: Sequence[Contender]
    sizes: tuple[int, ...] = (2, 4)
    rounds: int = 3
    outcome: Outcome = field(default_factory=Outcome)

    async def run(self) -> Outcome:
        """Measure everybody in each round."""
        async with SshShell(LoginNode(self.plan).login) as shell:
            for number in range(self.rounds):
                for nodes in self.sizes:
                    self.outcome.note_load()
                    for each in self.contenders:
                        await self._start(shell, each, nodes, number)
        return self.outcome

    async def ship(self, environments: Mapping[str, Path], work: Path) -> Outcome:
        """Measure each environment in each round, by the Python that has its packages here."""
        shipping = Shipping(node=LoginNode(self.plan), work=work)
        for _ in range(self.rounds):
            self.outcome.note_load()
            for name, python in environments.items():
                self.outcome.shipments.append(await shipping.measure(name, python))
                print(self.outcome.shipments[-1], flush=True)
        return self.outcome

    async def _start(self, shell: Shell, contender: Contender, nodes: int, number: int) -> None:
        folder = self.plan.folder.home / f"{contender.name.split()[-1]}-{nodes}-{number}"
        await asyncio.to_thread(self._lay_out, contender, folder)
        script = f"#!/bin/bash\nset -- {folder} {nodes}\n{_JOB}\n"
        done = await shell.run(Command.script(script))
        times = [_time(folder / name) for name in ("began", "ready", "ended")]
        began, ready, ended = times
        if not (began and ready and ended):
            said = (folder / "out").read_text()[-2000:] if (folder / "out").exists() else done.stderr.decode()
            self.outcome.failures.append(f"{contender.name} on {nodes} nodes: {said}")
            return
        start = Ready(name=contender.name, nodes=nodes, ready=round(ready - began, 2), over=round(ended - ready, 2))
        self.outcome.starts.append(start)
        print(start, flush=True)

    def _lay_out(self, contender: Contender, folder: Path) -> None:
        folder.mkdir()
        for name, text in contender.files(PurePosixPath(folder)).items():
            (folder / name).write_text(text if name != "job.sh" else f"#!/bin/bash\n{text}")
            (folder / name).chmod(0o755)
        shutil.chown(folder, self.plan.user)


def _time(file: Path) -> float:
    return float(file.read_text()) if file.exists() else 0.0
