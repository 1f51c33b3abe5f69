"""Ours: as a user gets it, and its watcher alone where jobs need only be watched."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmarks.measure import Stopwatch
from benchmarks.slurm.mapped import doubled
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs import run
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.clusters import ClusterSettings
from sluiceway.core.runs.function import Calls, Item
from sluiceway.core.runs.hosts import array_host_at, host_at
from sluiceway.core.runs.place import Cluster
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Line, Runs, nobody
from sluiceway.core.slurm.job import JobId, JobSpec
from sluiceway.core.slurm.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.slurm.login_node import LoginNode
    from sluiceway.core.runs.run import Heard
    from sluiceway.core.slurm.watcher import Watcher

PLACE = Cluster("bench")
WISH = Resources(memory="100M", time="30m")
_TALK = 'for number in $(seq "$1"); do date +%s.%N; sleep 0.7; done'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Runs on the devcluster, kept in a home of their own."""

    node: LoginNode
    home: Path

    @property
    def runs(self) -> Runs:
        """The runs."""
        os.environ["SLUICEWAY_HOME"] = str(self.home)
        return Runs(home=self.home, clock=SystemClock())

    async def settings(self, _name: str) -> ClusterSettings:
        """Give the cluster's settings, with defaults wherever there is one."""
        login = self.node.login
        return ClusterSettings(
            host=login.host, port=login.port, user=login.user, keys=login.keys, known_hosts=login.known_hosts,
            use_agent=False,
        )  # fmt: skip

    async def noop(self) -> float:
        """Run a command that does nothing, from request to receipt; give the seconds."""
        with Stopwatch() as watch:
            await self._run(("true",), nobody)
        return watch.seconds

    async def lags(self, lines: int) -> list[float]:
        """Run a job that says the time so often; give how late each is heard."""
        lags = []

        async def hear(heard: Heard) -> None:
            if isinstance(heard, Line):
                lags.append(time.time() - float(heard.text))

        await self._run(("sh", "-c", _TALK, "sh", str(lines)), hear)
        return lags

    async def mapped(self, count: int, *, at_once: int, pack: int = 1) -> float:
        """Map a function over so many items, from request to the last answer; give the seconds."""
        salt = secrets.randbelow(10**9)
        items = [Item(arguments=(salt + number,)) for number in range(count)]
        calls = Calls(function=doubled, items=items, python="/usr/bin/python3")
        async with array_host_at(PLACE, self.runs, wish=WISH, find=self.settings, throttle=at_once) as host:
            arrays = Arrays(runs=self.runs, host=host, place=PLACE, pack=pack, throttle=at_once)
            with Stopwatch() as watch:
                answers = await arrays.answers(calls)
        if [each.value() for each in answers] != [2 * (salt + number) for number in range(count)]:
            raise SystemExit("wrong results")
        return watch.seconds

    async def _run(self, command: tuple[str, ...], heard: Callable[[Heard], Awaitable[None]]) -> None:
        request = RunRequest(command=command, parameters={"salt": secrets.token_hex(8)})
        async with host_at(PLACE, self.runs, wish=WISH, find=self.settings) as host:
            receipt = await run.run(request, runs=self.runs, host=host, place=PLACE, heard=heard)
        if not receipt.succeeded:
            raise SystemExit(f"ours failed: {receipt.why}")


async def watch(watcher: Watcher, name: str, job: JobId, home: Path) -> None:
    """Watch a job of that name, which has the files that one of ours would have."""
    folder = PurePosixPath(home) / "sluiceway" / "runs" / name
    spec = JobSpec(
        token=name, comment="", resources=WISH, command=("true",), folder=folder, stdout=folder / "stdout",
        stderr=folder / "stderr", outcome=folder / "outcome.json", messages=folder / "messages.jsonl",
    )  # fmt: skip
    async for _change in watcher.follow(spec, job):
        pass
