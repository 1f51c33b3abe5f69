"""What is added to a task of one second: by a cache policy of ours, and by a run that is sealed and registered."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.testing.utilities import prefect_test_harness

from benchmarks.measure import Stopwatch
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs import run
from sluiceway.core.runs.hosts import host_at
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Runs
from sluiceway.tasks.caching import CONTENT

PLAIN: Final = "a task without a cache"
CACHED: Final = "the same task with CONTENT, made"
FOUND: Final = "the same task with CONTENT, found"
SLEEP: Final = "`sleep 1` as a child"
RUN: Final = "`sleep 1` as a run: claimed, sealed, registered"
FOUND_RUN: Final = "the same run, found"


@task(cache_policy=NO_CACHE)
def plain(file: Path) -> int:
    """Take a second."""
    time.sleep(1)
    return file.stat().st_size


@task(cache_policy=CONTENT)
def cached(file: Path) -> int:
    """Take a second, unless it was done."""
    time.sleep(1)
    return file.stat().st_size


@flow
def both(file: Path) -> dict[str, float]:
    """Run each once, the cached one twice, and give the seconds."""
    found = {}
    for name, one in ((PLAIN, plain), (CACHED, cached), (FOUND, cached)):
        with Stopwatch() as watch:
            one(file)
        found[name] = watch.seconds
    return found


def seconds(folder: Path, rounds: int, size: int) -> dict[str, list[float]]:
    """Give the seconds of each, in every round; the task reads a file of so many bytes that is new in each."""
    folder.mkdir(parents=True)
    os.environ |= {"SLUICEWAY_HOME": str(folder / "home"), "SLUICEWAY_CACHE_DIR": str(folder / "cache")}
    with prefect_test_harness(server_startup_timeout=120):
        # The first reads the code.
        both(_new(folder, size))
        tasks = [both(_new(folder, size)) for _ in range(rounds)]
    runs = asyncio.run(_runs(folder, rounds))
    return {name: [each[name] for each in found] for found in (tasks, runs) for name in found[0]}


def _new(folder: Path, size: int) -> Path:
    file = folder / secrets.token_hex(4)
    file.write_bytes(os.urandom(size))
    return file


async def _runs(folder: Path, rounds: int) -> list[dict[str, float]]:
    """Run it so often, after one that is not counted."""
    runs = Runs(home=folder / "home", clock=SystemClock())
    found = []
    for _ in range(rounds + 1):
        with Stopwatch() as bare:
            await (await asyncio.create_subprocess_exec("sleep", "1")).wait()
        request = RunRequest(command=("sleep", "1"), parameters={"salt": secrets.token_hex(8)})
        times = []
        for _ in range(2):
            async with host_at(Local(), runs) as host:
                with Stopwatch() as watch:
                    (await run.run(request, runs=runs, host=host, place=Local())).require_success()
            times.append(watch.seconds)
        found.append({SLEEP: bare.seconds, RUN: times[0], FOUND_RUN: times[1]})
    return found[1:]
