"""A process of its own that runs scripts on the fake Slurm: HOME, BASE THERE, MOST JOBS, SUBMITS A MINUTE, NAMES."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path, PurePosixPath

from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.access import Access
from sluiceway.core.runs.clusters import ClusterSettings
from sluiceway.core.runs.place import Cluster as Place
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Runs, run
from sluiceway.core.runs.slurm_job import SlurmJob
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.watcher import Watcher


async def main(home: str, base: str, most: str, rate: str, *names: str) -> None:
    """Run as many scripts at once as there are names."""
    clock, shell = SystemClock(), LocalShell()
    settings = ClusterSettings(most_jobs=int(most) or None, submits_per_minute=float(rate) or None)
    access = Access(
        settings=settings,
        shell=shell,
        clock=clock,
        cluster=Cluster(shell, clock),
        watcher=Watcher(shell, clock),
        base=PurePosixPath(base),
    )
    runs = Runs(home=Path(home), clock=clock)
    requests = [RunRequest(command=("sh", "-c", "sleep 0.2", name)) for name in names]
    host = SlurmJob(access)
    await asyncio.gather(*(run(each, runs=runs, host=host, place=Place("west")) for each in requests))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
