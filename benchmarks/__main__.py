"""Runs every benchmark on a devcluster of its own, prints a table, and keeps the figures as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import remote
from benchmarks.measure import Figure, Stopwatch
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster

RESULTS = Path(__file__).parent / "results" / "latest.json"


async def run() -> list[Figure]:
    """Run every benchmark and give its figures."""
    cluster = Devcluster(plan=await plan_for(Wish(root=Path(f"/var/lib/sluiceway-bench-{os.getpid()}"), name="bench")))
    figures = []
    try:
        for what in ("devcluster up, first time", "devcluster up, when it is up"):
            with Stopwatch() as watch:
                await cluster.up()
            figures.append(Figure(what=what, ours=watch.seconds, unit="s"))
        figures += await remote.figures(cluster)
    finally:
        with Stopwatch() as watch:
            await cluster.down(wipe=True)
    return [*figures, Figure(what="devcluster down --wipe", ours=watch.seconds, unit="s")]


def main() -> None:
    """Run, print, keep."""
    figures = asyncio.run(run())
    table = Table("what", "ours", "beside", "ratio", title=f"{platform.machine()}, {os.cpu_count()} CPUs")
    for figure in figures:
        table.add_row(figure.what, *figure.cells)
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))


if __name__ == "__main__":
    main()
