"""Measures jobs on Slurm beside others, on a devcluster of its own: `python -m benchmarks.slurm`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from benchmarks.slurm import report
from benchmarks.slurm.page import RESULT
from benchmarks.slurm.run import Bench, Extent
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster


async def measure(given: argparse.Namespace) -> Bench:
    """Bring a devcluster up with room for all jobs, measure on it, and take it down."""
    plan = await plan_for(Wish(root=given.root, name="bench", first_port=given.first_port))
    room = {"cpus_per_node": 64, "memory_mib_per_node": 64_000, "max_array_size": given.items + 1}
    cluster = Devcluster(plan=plan.model_copy(update=room))
    extent = Extent(rounds=given.rounds, settle=given.settle, window=given.window, items=given.items)
    try:
        await cluster.up()
        with tempfile.TemporaryDirectory(prefix="sluiceway-bench-", ignore_cleanup_errors=True) as work:
            bench = Bench(plan=cluster.plan, work=Path(work), extent=extent, with_peers=not given.alone)
            await bench.run()
            return bench
    finally:
        await cluster.down(wipe=True)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slurm", description=__doc__)
    usual = Extent()
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="how many jobs that do nothing each runs")
    parser.add_argument("--settle", type=float, default=usual.settle, help="seconds until the pace is at its slowest")
    parser.add_argument("--window", type=float, default=usual.window, help="seconds in which commands are counted")
    parser.add_argument("--items", type=int, default=usual.items, help="how many items a map has")
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    parser.add_argument("--root", type=Path, default=Path(f"/var/lib/sluiceway-bench-{os.getpid()}"))
    parser.add_argument("--first-port", type=int, help="the first of the devcluster's ports, else free ones")
    parser.add_argument("--keep", action="store_true", help="keep the figures as the project's own, for its page")
    given = parser.parse_args()
    outcome = asyncio.run(measure(given)).outcome
    outcome.write(RESULT if given.keep else Path(tempfile.gettempdir()) / "sluiceway-slurm.json")
    print("\n\n".join(block(outcome) for block in report.BLOCKS.values()))


if __name__ == "__main__":
    main()
