"""The Shell over SSH beside OpenSSH's own client: commands and copies, on the same server, in turn."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, Stopwatch
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

ROUNDS = 5
COMMANDS = 50
AT_ONCE = 200
COPIED_MIB = 256
TRUE = Command.of("true")

Act = Callable[[], Awaitable[object]]


async def figures(cluster: Devcluster) -> list[Figure]:
    """Measure every figure."""
    plan = cluster.plan
    openssh = ("-F", str(plan.folder.ssh_config), "-o", "ControlPath=/tmp/sluiceway-bench-%C")
    here = LocalShell()
    login = Login(host=plan.name, ssh_config=plan.folder.ssh_config, use_agent=False)
    master = Command.of("ssh", *openssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=600", "-fN", plan.name)
    (await here.run(Command.script('"$@" >/dev/null 2>&1', *master.argv))).require_success()
    try:
        async with SshShell(login) as shell:
            return [
                *await _commands(shell, here, ("ssh", *openssh, plan.name, "true")),
                *await _copies(shell, here, ("scp", "-q", *openssh), plan.name, PurePosixPath(plan.folder.home)),
                Figure(
                    what="no-op job: sbatch until squeue says done", ours=await _median(lambda: _job(shell)), unit="s"
                ),
            ]
    finally:
        await here.run(Command.of("ssh", *openssh, "-O", "exit", plan.name))


async def _commands(shell: SshShell, here: LocalShell, ssh: tuple[str, ...]) -> list[Figure]:
    async def ours_in_turn() -> None:
        for _ in range(COMMANDS):
            await shell.run(TRUE)

    async def theirs_in_turn() -> None:
        for _ in range(COMMANDS):
            (await here.run(Command.of(*ssh))).require_success()

    async def ours_at_once() -> None:
        await asyncio.gather(*(shell.run(TRUE) for _ in range(AT_ONCE)))

    limit = asyncio.Semaphore(8)

    async def one() -> None:
        async with limit:
            (await here.run(Command.of(*ssh))).require_success()

    async def theirs_at_once() -> None:
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    beside = "ssh, shared connection"
    return [
        await _pair(f"{COMMANDS} commands in turn", ours_in_turn, theirs_in_turn, beside),
        await _pair(f"{AT_ONCE} commands at once", ours_at_once, theirs_at_once, beside),
    ]


async def _copies(
    shell: SshShell, here: LocalShell, scp: tuple[str, ...], host: str, home: PurePosixPath
) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        sent, back = Path(folder) / "sent", Path(folder) / "back"
        await asyncio.to_thread(sent.write_bytes, os.urandom(COPIED_MIB * 2**20))
        there = home / "copied"
        put = Command.of(*scp, str(sent), f"{host}:{there}")
        get = Command.of(*scp, f"{host}:{there}", str(back))
        return [
            await _pair(f"put {COPIED_MIB} MiB", lambda: shell.put(sent, there), lambda: here.run(put), "scp"),
            await _pair(f"get {COPIED_MIB} MiB", lambda: shell.get(there, back), lambda: here.run(get), "scp"),
        ]


async def _job(shell: SshShell) -> None:
    submitted = await shell.run(Command.of("sbatch", "--parsable", "--output=/dev/null", "--wrap=true"))
    wait = 'until squeue -h -t all -j "$1" -o %T | grep -q COMPLETED; do sleep 0.02; done'
    (await shell.run(Command.script(wait, submitted.text.strip()))).require_success()


async def _pair(what: str, ours: Act, theirs: Act, beside: str) -> Figure:
    """Measure two ways of doing the same in turn, so that a drift of the machine meets both."""
    mine, others = [], []
    for _ in range(ROUNDS):
        mine.append(await _timed(ours))
        others.append(await _timed(theirs))
    return Figure(what=what, ours=statistics.median(mine), theirs=statistics.median(others), unit="s", beside=beside)


async def _median(act: Act) -> float:
    return statistics.median([await _timed(act) for _ in range(ROUNDS)])


async def _timed(act: Act) -> float:
    with Stopwatch() as watch:
        await act()
    return watch.seconds
