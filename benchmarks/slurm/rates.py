"""How much each asks of the login node while jobs run and nothing happens: all at the same time, told apart by port."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Stopwatch
from benchmarks.slurm.login_node import port_of, tally
from benchmarks.slurm.ours import watch
from benchmarks.slurm.outcome import DAGSTER, OURS, SUBMITIT, Rate
from benchmarks.slurm.peers import Submitit
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.core.slurm.job import JobId
from sluiceway.core.slurm.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from benchmarks.slurm.login_node import LoginNode
    from benchmarks.slurm.peers import DagsterSlurm
    from sluiceway.core.remote.shell import Shell

RUNNING, HELD = "running", "held"
# More than that would not fit on one machine; for who watches them there is no difference.
MOST_RUNNING: Final = 100
_START_LIMIT: Final = 240.0
_SLEEPERS: Final = """
hold=$1; shift
for name do
    sbatch --parsable --mem=10 --time=60 --output=/dev/null ${hold:+--hold} --job-name="$name" \\
        --wrap='sleep 3000' || exit
done
"""


@dataclass(slots=True, kw_only=True)
class Counting:
    """Jobs of several numbers, each watched over a connection of its own; and as many of the others' as `theirs`."""

    node: LoginNode
    watched: tuple[int, ...]
    theirs: int
    dagster: DagsterSlurm
    waiting: list[asyncio.Task[object]] = field(default_factory=list)

    async def run(self, settle: float, window: float) -> list[Rate]:
        """Start all, wait until each is as calm as it gets, and count what is asked in a window of so many seconds."""
        async with SshShell(self.node.login) as shell, contextlib.AsyncExitStack() as stack:
            ports = [await port_of(shell)]
            ours = {jobs: await self._ours(jobs, stack) for jobs in self.watched}
            submitit = await self._submitit(stack) if self.theirs else 0
            async with self._dagster():
                await self._until_running(shell)
                await asyncio.sleep(settle)
                mark = self.node.mark()
                with Stopwatch() as passed:
                    await asyncio.sleep(window)
                asked = self.node.asked_since(mark)
                await shell.run(Command.of("scancel", "--user", self.node.plan.user))
                for each in self.waiting:
                    each.cancel()
        ports += [submitit, *ours.values()]

        def rate(name: str, jobs: int, *, over: int | None) -> Rate:
            mine = [each for each in asked if (each.port == over if over is not None else each.port not in ports)]
            return Rate(
                name=name,
                jobs=jobs,
                state=HELD if jobs > MOST_RUNNING else RUNNING,
                seconds=passed.seconds,
                asked=tally(mine),
                connections=len({each.port for each in mine}),
            )

        rates = [rate(OURS, jobs, over=port) for jobs, port in ours.items()]
        if self.theirs:
            rates += [rate(SUBMITIT, self.theirs, over=submitit), rate(DAGSTER, self.theirs, over=None)]
        return rates

    async def _ours(self, jobs: int, stack: contextlib.AsyncExitStack) -> int:
        """Start so many jobs and watch them; give the port."""
        shell = await stack.enter_async_context(SshShell(self.node.login))
        names = [f"sw-{secrets.token_hex(8)}-a1" for _ in range(jobs)]
        hold = "yes" if jobs > MOST_RUNNING else ""
        done = await shell.run(Command.script(_SLEEPERS, hold, *names), timeout=timedelta(minutes=5))
        ids = map(JobId.parse, done.require_success().text.split())
        watcher = Watcher(shell, SystemClock())
        for name, job in zip(names, ids, strict=True):
            self._go(watch(watcher, name, job, self.node.home))
        return await port_of(shell)

    async def _submitit(self, stack: contextlib.AsyncExitStack) -> int:
        shell = await stack.enter_async_context(SshShell(self.node.login))
        port = await port_of(shell)
        self._go(Submitit(node=self.node, shell=shell).run("watch", self.theirs))
        return port

    @contextlib.asynccontextmanager
    async def _dagster(self) -> AsyncIterator[None]:
        """Let dagster-slurm run as many, and end it when it no longer counts."""
        if not self.theirs:
            yield
            return
        process = await self.dagster.start("sleeping", self.theirs)
        self._go(process.communicate())
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _until_running(self, shell: Shell) -> None:
        wanted = sum(jobs for jobs in self.watched if jobs <= MOST_RUNNING) + 2 * self.theirs
        async with asyncio.timeout(_START_LIMIT):
            while True:
                done = await shell.run(Command.of("squeue", "-h", "-t", "RUNNING", "-o", "%i"))
                if len(done.text.split()) >= wanted:
                    return
                await asyncio.sleep(2)

    def _go(self, work: Coroutine[object, object, object]) -> None:
        self.waiting.append(asyncio.create_task(work))
