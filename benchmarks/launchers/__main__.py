"""Measures how long engines and environments take to a devcluster of its own: `python -m benchmarks.launchers`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.launchers import report
from benchmarks.launchers.contenders import Contender, DagsterSlurm, Ours
from benchmarks.launchers.page import RESULT
from benchmarks.launchers.run import Bench
from benchmarks.slurm.peers import DAGSTER_SLURM
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.ray import RayLauncher
from sluiceway.core.launch.spark import SparkLauncher
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster
from tests.engines import environment_with, locked

SHIPPED: Final = {"dask": "distributed", "ray": "ray[default]"}


def contenders(*, alone: bool, only: str | None) -> list[Contender]:
    """Give everybody; with `alone`, ours only, and with `only` those whose name begins so."""
    ray, spark = environment_with("ray[default]"), environment_with("pyspark[connect]")
    ours: list[Contender] = [
        Ours(name="dask", launcher=DaskLauncher(), python=environment_with("distributed")),
        Ours(name="ray", launcher=RayLauncher(), python=ray),
        Ours(name="ray without dashboard", launcher=RayLauncher(dashboard=False), python=ray),
        Ours(name="spark", launcher=SparkLauncher(memory="512m", driver_memory="512m"), python=spark),
    ]
    found = ours if alone else [*ours, DagsterSlurm(python=ray)]
    return [each for each in found if each.name.startswith(only or "")]


async def measure(given: argparse.Namespace) -> Bench:
    """Bring a devcluster up, measure on it, and take it down."""
    plan = await plan_for(Wish(root=given.root, name="bench", first_port=given.first_port))
    cluster = Devcluster(plan=plan)
    try:
        await cluster.up()
        bench = Bench(plan=cluster.plan, contenders=contenders(alone=given.alone, only=given.only), rounds=given.rounds)
        for each in (*map(locked, ("distributed", "ray", "pyspark")), DAGSTER_SLURM):
            name, _, version = each.partition("==")
            bench.outcome.versions[name] = version
        if given.part != "environments":
            await bench.run()
        if given.part != "starts":
            with tempfile.TemporaryDirectory() as work:
                await bench.ship({name: environment_with(what) for name, what in SHIPPED.items()}, Path(work))
        return bench
    finally:
        await cluster.down(wipe=True)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launchers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is started")
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    parser.add_argument("--only", help="measure only those whose name begins so")
    parser.add_argument("--part", choices=("starts", "environments"), help="measure only that")
    parser.add_argument("--root", type=Path, default=Path(f"/var/lib/sluiceway-bench-{os.getpid()}"))
    parser.add_argument("--first-port", type=int, help="the first of the devcluster's ports, else free ones")
    parser.add_argument("--keep", action="store_true", help="keep the figures as the project's own, for its page")
    given = parser.parse_args()
    outcome = asyncio.run(measure(given)).outcome
    outcome.write(RESULT if given.keep else Path(tempfile.gettempdir()) / "sluiceway-launchers.json")
    print("\n\n".join(block(outcome) for block in report.BLOCKS.values()), *outcome.failures, sep="\n")


if __name__ == "__main__":
    main()
