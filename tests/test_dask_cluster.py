"""Which Dask cluster scores, and what dask-jobqueue is told to ask of Slurm: what the settings say, once each."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import PurePosixPath
from typing import Any

import pytest

from sluiceway.core import settings
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.access import Access
from sluiceway.core.runs.clusters import ClusterSettings
from sluiceway.core.runs.place import Dask, parse
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.watcher import Watcher
from sluiceway.tasks.dask_cluster import Choice, chosen, order_for
from tests.conftest import User

FOLDER = PurePosixPath("/scratch/a b/dask/0a")


def access_here(base: PurePosixPath, **known: Any) -> Access:
    """A cluster that is this machine."""
    shell, clock = LocalShell(), SystemClock()
    return Access(
        settings=ClusterSettings(**known),
        shell=shell,
        clock=clock,
        cluster=Cluster(shell, clock),
        watcher=Watcher(shell, clock),
        base=base,
    )


def order(**known: Any) -> dict[str, Any]:
    return order_for(access_here(PurePosixPath("/scratch/a b"), **known), FOLDER, most=4)


ALLOCATION, SCHEDULER = {"SLURM_JOB_ID": "7"}, {"DASK_SCHEDULER_ADDRESS": "tcp://10.0.0.9:8786"}
AROUND: tuple[dict[str, str], ...] = ({}, ALLOCATION, SCHEDULER, ALLOCATION | SCHEDULER)
CHOICES = {
    "dask:tcp://10.0.0.1:8786": (Choice.NAMED, Choice.NAMED, Choice.NAMED, Choice.NAMED),
    "dask@west": (Choice.JOBS, Choice.ALLOCATION, Choice.VARIABLE, Choice.VARIABLE),
    "dask": (Choice.HERE, Choice.ALLOCATION, Choice.VARIABLE, Choice.VARIABLE),
}


@pytest.mark.parametrize(("on", "where"), [*product(CHOICES, range(4))])
def test_the_first_of_the_pages_list_scores(user: User, on: str, where: int) -> None:
    for name, value in AROUND[where].items():
        user.export(name, value)
    place = parse(on)
    assert isinstance(place, Dask)
    assert chosen(place, settings.Foreign()) is CHOICES[on][where]


def test_a_worker_asks_for_what_the_settings_say_and_offers_it() -> None:
    wish = {"cpus": 2, "memory": "3G", "gpus": "a100:2", "time": "1h", "partition": "long", "account": "mine"}
    told = order(resources=wish, python="/opt/my python", dask_interface="ib0")
    cluster = told["cluster"]
    assert cluster["job_extra_directives"] == [
        '"--ntasks=1"', '"--cpus-per-task=2"', '"--mem=3072M"', '"--gpus=a100:2"', '"--time=0-01:00:00"',
        '"--partition=long"', '"--account=mine"', '"--output=/scratch/a b/dask/0a/worker-%J.txt"',
    ]  # fmt: skip
    assert cluster["worker_extra_args"] == ["--resources", f"cpus=2,memory={3 << 30},gpus=2"]
    assert (cluster["cores"], cluster["memory"], cluster["python"]) == (2, "3072 MiB", "'/opt/my python'")
    assert (cluster["interface"], told["adapt"]) == ("ib0", {"minimum_jobs": 1, "maximum_jobs": 4})


def test_memory_for_each_cpu_adds_up() -> None:
    assert order(resources={"cpus": 3, "memory_per_cpu": "500M"})["cluster"]["memory"] == "1500 MiB"


def test_a_worker_of_unknown_memory_is_refused() -> None:
    with pytest.raises(PlaceUnusable, match="give the cluster's settings `resources` a memory"):
        order(resources={"cpus": 3})


def test_an_option_with_quotes_and_backslashes_reaches_sbatch_as_it_is() -> None:
    wish = {"memory": "1G", "constraint": 'a"b\\c'}
    assert '"--constraint=a\\"b\\\\c"' in order(resources=wish)["cluster"]["job_extra_directives"]


WORKERS = """
import os, inspect
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from sluiceway import refresh_command, score_command
for each in (refresh_command.refresh, score_command.score):
    print(inspect.signature(each).parameters["workers"].default)
"""


def test_workers_are_as_many_as_the_processors_that_this_process_may_use() -> None:
    done = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
