"""Ways to break a devcluster: its daemons stopped or killed, its login node cut off, its disk full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sluiceway.core.remote.shell import Command
from sluiceway.deployments.devcluster import daemons, machine
from sluiceway.deployments.devcluster.supervisor import process_id

if TYPE_CHECKING:
    from sluiceway.core.runs.run import Step
    from sluiceway.deployments.devcluster.cluster import Devcluster
    from sluiceway.deployments.devcluster.daemons import Daemon

T = TypeVar("T")
PROC = Path("/proc")
SBATCH = Path(shutil.which("sbatch") or "/usr/bin/sbatch")
_WAITS = """\
#!/bin/sh
echo "$$" >"{folder}/began.new" && mv "{folder}/began.new" "{folder}/began"
until [ -e "{folder}/go" ]; do sleep 0.01; done
exec {real} "$@"
"""


class AtSteps(logging.Handler):
    """Does something once at each of these steps of a run, when it is told."""

    def __init__(self, steps: Iterable[Step], act: Callable[[], None]) -> None:
        super().__init__()
        self._left = {each.value for each in steps}
        self._act = act

    def emit(self, record: logging.LogRecord) -> None:
        step = record.__dict__["event"].step
        if step in self._left:
            self._left.remove(step)
            self._act()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear of all that happens in a block; at its end, every step must have been."""
        log = logging.getLogger("sluiceway")
        level = log.level
        log.setLevel(logging.INFO)
        log.addHandler(self)
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(level)
        assert not self._left


def below(process: int) -> list[int]:
    """The processes that a process has started, and those have, and so on."""
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, (PROC / f"{process}/task/{process}/children").read_text().split()):
            found += [child, *below(child)]
    return found


def called(process: int) -> str:
    """The name of a process; none of one that is gone."""
    with contextlib.suppress(OSError):
        return (PROC / f"{process}/comm").read_text().strip()
    return ""


def id_of(daemon: Daemon) -> int:
    """The number of a daemon that runs."""
    found = process_id(daemon)
    assert found is not None
    return found


@contextlib.contextmanager
def standing_still(process: int) -> Iterator[None]:
    """Stop a process for the length of a block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def cut_off(devcluster: Devcluster, seconds: float) -> None:
    """Kill every connection to the login node, and let it answer nobody for so long."""
    server = id_of(daemons.sshd(devcluster.plan, "login"))
    os.kill(server, signal.SIGSTOP)
    machine.kill(tuple(each for each in below(server) if called(each) == "sshd"), signal.SIGKILL)
    asyncio.get_running_loop().call_later(seconds, os.kill, server, signal.SIGCONT)


def kill_what_runs(job: str, *, with_daemon: bool) -> None:
    """Kill every process of a job, and the step daemon that would tell of their end where that is to die too."""
    mark = f"SLURM_JOB_ID={job}".encode()
    found = []
    for each in machine.processes():
        with contextlib.suppress(OSError):
            command = (PROC / f"{each}/cmdline").read_bytes()
            is_daemon = f"slurmstepd: [{job}.".encode() in command
            is_work = not is_daemon and mark in (PROC / f"{each}/environ").read_bytes().split(b"\0")
            if is_work or (is_daemon and with_daemon):
                found.append(each)
    assert found
    machine.kill(tuple(found), signal.SIGKILL)


@dataclass(frozen=True)
class WaitingSbatch:
    """The next sbatch of the cluster's user: it has begun, and asks the controller nothing until it may go on."""

    controller: int
    folder: Path

    def kill(self, *, after: float) -> None:
        """Let it go on while the controller stands still, and kill it so long after."""
        program = int(_awaited(lambda: _read(self.folder / "began")))
        with standing_still(self.controller):
            (self.folder / "go").touch()
            _awaited(lambda: (PROC / f"{program}/exe").readlink().samefile(SBATCH))
            time.sleep(after)
            os.kill(program, signal.SIGKILL)
            time.sleep(1)


@contextlib.contextmanager
def sbatch_that_waits(devcluster: Devcluster) -> Iterator[WaitingSbatch]:
    """Put a program before sbatch, for the length of a block, that waits for a word and becomes sbatch."""
    home, folder = devcluster.plan.folder.home, devcluster.plan.folder.home / "waits"
    folder.mkdir()
    shutil.chown(folder, devcluster.plan.user)
    (folder / "sbatch").write_text(_WAITS.format(folder=folder, real=SBATCH))
    (folder / "sbatch").chmod(0o755)
    # Bash reads this for each command that sshd starts.
    (home / ".bashrc").write_text(f'export PATH="{folder}:$PATH"\n')
    try:
        yield WaitingSbatch(id_of(daemons.slurmctld(devcluster.plan)), folder)
    finally:
        (home / ".bashrc").unlink()
        shutil.rmtree(folder)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _awaited(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + 90
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return answer


@contextlib.asynccontextmanager
async def small_disk(devcluster: Devcluster, folder: Path) -> AsyncIterator[str]:
    """Let a folder be a disk of one megabyte, and give the name of a node that sees it."""
    node = devcluster.plan.nodes[0]
    daemon = daemons.slurmd(devcluster.plan, node)
    owner = folder.parent.stat()
    folder.mkdir()
    options = f"size=1m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    await _done(devcluster, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        # A node sees the mounts that there were when it began.
        await _again(devcluster, daemon)
        yield node.name
    finally:
        await _done(devcluster, "umount", "-l", str(folder))
        await _again(devcluster, daemon)
        await devcluster.resume(node.name)


async def _done(devcluster: Devcluster, *argv: str) -> None:
    (await devcluster.supervisor.run(Command.of(*argv))).require_success()


async def _again(devcluster: Devcluster, daemon: Daemon) -> None:
    await devcluster.supervisor.stop(daemon)
    await devcluster.supervisor.start(daemon)
