"""The fake Slurm on this machine's PATH, a clock that runs fast, and orders for small jobs."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import ConnectionLost
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.job import Ending, JobId, JobSpec
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.watched import Change, Ended
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm

# What a node-side program does, in little: run the rest, and say how that ended.
JOBSIDE = """\
import datetime, json, os, signal, subprocess, sys
folder, *command = sys.argv[1:]
now = lambda: datetime.datetime.now(datetime.timezone.utc).isoformat()
task = os.environ.get("SLURM_ARRAY_TASK_ID")
began = now()
child = subprocess.Popen(command, start_new_session=True)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: os.killpg(child.pid, number))
code = child.wait()
outcome = dict(
    job_id=int(os.environ["SLURM_JOB_ID"]), task=None if task is None else int(task),
    restart=int(os.environ.get("SLURM_RESTART_COUNT", 0)), exit_code=code if code >= 0 else None,
    signal=None if code >= 0 else signal.Signals(-code).name[3:], started=began, ended=now(), host="node1",
    peak_memory=None,
)
name = os.path.join(folder, "outcome.json" if task is None else "outcome-%s.json" % task)
with open(name + ".new", "w") as file:
    json.dump(outcome, file)
os.rename(name + ".new", name)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass
class FastClock:
    """Time that runs so many times faster than it does."""

    factor: float = 30
    year: int = 2026
    began: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return datetime(self.year, 1, 1, tzinfo=UTC) + timedelta(seconds=(time.monotonic() - self.began) * self.factor)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds() / self.factor)


@dataclass
class Line(LocalShell):
    """The way to the cluster: it counts what goes over it, and can be cut."""

    asked: int = 0
    cut_before: int = 0
    cut_after: int = 0
    truncate: int = 0

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        self.asked += 1
        if self.cut_before:
            self.cut_before -= 1
            raise ConnectionLost(machine=self.machine, attempted=str(command), reason="cut")
        if self.truncate:
            self.truncate -= 1
            command = dataclasses.replace(command, stdin=command.stdin[: len(command.stdin) // 2 // 512 * 512])
        done = await super().run(command, timeout=timeout)
        if self.cut_after:
            self.cut_after -= 1
            raise ConnectionLost(machine=self.machine, attempted=str(command), reason="cut")
        return done


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    slurm = FakeSlurm.made(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{slurm.programs}:{os.environ['PATH']}")
    yield slurm
    slurm.stop()


@pytest.fixture
def line(slurm: FakeSlurm) -> Line:
    return Line()


@pytest.fixture
def clock() -> FastClock:
    return FastClock()


@pytest.fixture
def cluster(line: Line, clock: FastClock) -> Cluster:
    return Cluster(line, clock)


@pytest.fixture
def watcher(line: Line, clock: FastClock) -> Watcher:
    return Watcher(line, clock)


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(PurePosixPath(tmp_path / "runs"))


class Order:
    """Makes orders for jobs that run a line of shell under a node-side program."""

    def __init__(self, base: PurePosixPath) -> None:
        self._base = base

    def __call__(self, script: str = "true", *, name: str = "sw-1-a1", **fields: Any) -> JobSpec:
        folder = self._base / name
        mark = "-%a" if "array" in fields else ""
        program = (sys.executable, "-IS", str(folder / "jobside.py"), str(folder))
        return JobSpec(
            **{
                "token": name,
                "comment": '{"key": "1", "attempt": 1}',
                "resources": Resources(),
                "command": (*program, "sh", "-c", script),
                "folder": folder,
                "stdout": folder / f"stdout{mark}.txt",
                "stderr": folder / f"stderr{mark}.txt",
                "outcome": folder / f"outcome{mark}.json",
                **fields,
            }
        )


FILES = {"jobside.py": JOBSIDE.encode(), "intent.json": b"{}"}


async def endings(watcher: Watcher, spec: JobSpec, job: JobId) -> list[Ending]:
    return [change.ending async for change in watcher.follow(spec, job) if isinstance(change, Ended)]


async def ending(watcher: Watcher, spec: JobSpec, job: JobId) -> Ending:
    (only,) = await endings(watcher, spec, job)
    return only


async def changes(watcher: Watcher, spec: JobSpec, job: JobId) -> AsyncIterator[Change]:
    async for change in watcher.follow(spec, job):
        yield change
