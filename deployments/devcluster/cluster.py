"""Brings a devcluster up, repairs it, takes it down, and says how it is."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sluiceway.core.events import tell
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell, staged_beside
from sluiceway.core.remote.shell import Command
from sluiceway.deployments.devcluster import accounts, daemons, machine
from sluiceway.deployments.devcluster.preparation import prepare
from sluiceway.deployments.devcluster.supervisor import Supervisor, not_done, process_id

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.errors import DaemonFailed
    from sluiceway.core.remote.shell import Completed
    from sluiceway.deployments.devcluster.plan import Node, Plan

log = logging.getLogger(__name__)

# See NODE STATE CODES in sinfo(1).
_WORKING = ("idle", "mixed", "allocated", "completing")
_NODE_BACK = timedelta(seconds=30)
_JOBS_END = timedelta(seconds=8)
_PROCESSES_END = timedelta(seconds=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """Whether one daemon runs, and where its log is."""

    name: str
    pid: int | None
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """How a devcluster is: its daemons, and what Slurm says of each node."""

    daemons: tuple[DaemonStatus, ...]
    node_states: dict[str, str]

    @property
    def is_up(self) -> bool:
        """Whether every daemon runs."""
        return all(daemon.pid is not None for daemon in self.daemons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Devcluster:
    """One devcluster, and who looks after its daemons."""

    plan: Plan
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(shell=LocalShell(), clock=SystemClock()))

    async def up(self) -> None:
        """Start whatever is not running; on a cluster that is up this changes nothing."""
        plan, start = self.plan, self.supervisor.start
        machine.require_root("starting a devcluster")
        # The daemons' own users read what is written here, whatever this person's mask.
        os.umask(0o022)
        plan.root.mkdir(parents=True, exist_ok=True)
        with staged_beside(plan.folder.plan) as staged:
            staged.write_text(plan.model_dump_json(indent=2) + "\n")
            staged.chmod(0o644)
        await prepare(plan, self.supervisor.shell)
        sshds = (daemons.sshd(plan, name) for name in ("login", "jump"))
        await asyncio.gather(start(daemons.munged(plan)), self._start_database(), *map(start, sshds))
        await start(daemons.slurmdbd(plan))
        await self._add_accounts()
        await start(daemons.slurmctld(plan))
        await asyncio.gather(*map(self._start_node, plan.nodes))
        tell(log, "devcluster up", name=plan.name, folder=str(plan.root))

    async def down(self, *, wipe: bool = False) -> None:
        """Stop everything; leave no process, mount or control group, and with `wipe` no folder and no user."""
        machine.require_root("stopping a devcluster")
        plan = self.plan
        await self._cancel_jobs()
        # In turn and backwards: a daemon that loses the one it talks to would wait for it instead of ending.
        for level in daemons.levels(plan)[::-1]:
            await asyncio.gather(*map(self.supervisor.stop, level))
        await self._end_leftovers()
        machine.remove_freezers(tuple(node.name for node in plan.nodes))
        if wipe:
            await self._wipe()
        tell(log, "devcluster down", name=plan.name, wiped=wipe)

    async def status(self) -> ClusterStatus:
        """Look at every daemon, and ask Slurm about its nodes when the controller runs."""
        found = tuple(
            DaemonStatus(name=daemon.name, pid=process_id(daemon), log=daemon.log)
            for level in daemons.levels(self.plan)
            for daemon in level
        )
        controller_runs = process_id(daemons.slurmctld(self.plan)) is not None
        return ClusterStatus(daemons=found, node_states=await self._node_states() if controller_runs else {})

    async def fail(self, node: str) -> None:
        """Let a node fail: Slurm takes it for dead at once, until it is told to resume."""
        machine.require_root("failing a node")
        (await self._update_node(node, "state=down", "reason=failed on purpose")).require_success()

    async def resume(self, node: str) -> None:
        """Bring a node back, however it went; one that works already stays as it is."""
        machine.require_root("resuming a node")
        if node not in await self._node_states():
            (await self._update_node(node, "state=resume")).require_success()

        async def is_back() -> bool:
            if await self._works(node):
                return True
            # Refused while the controller waits to hear from the node: then it is asked again.
            await self._update_node(node, "state=resume")
            return False

        if not await self.supervisor.until(is_back, within=_NODE_BACK):
            (await self._update_node(node, "state=resume")).require_success()
            raise self._not_back(node)

    def _not_back(self, name: str) -> DaemonFailed:
        daemon = next(daemons.slurmd(self.plan, node) for node in self.plan.nodes if node.name == name)
        return not_done(daemon, f"come back within {_NODE_BACK.total_seconds():g} s")

    async def _update_node(self, node: str, *values: str) -> Completed:
        return await self._slurm("scontrol", "update", f"nodename={node}", *values)

    async def _works(self, node: str) -> bool:
        return (await self._node_states()).get(node) in _WORKING

    async def _node_states(self) -> dict[str, str]:
        answer = await self._slurm("sinfo", "--noheader", "--Node", "--format=%N %T")
        return dict(line.split() for line in sorted(set(answer.text.splitlines())))

    async def _start_database(self) -> None:
        folder = self.plan.folder
        installed = folder.state / "root" / "database-installed"
        if not installed.exists():
            # What an interrupted installation left is no database.
            await asyncio.to_thread(_empty, folder.state / "mysql")
            defaults = f"--defaults-file={folder.configuration}/database.cnf"
            made = ("mariadb-install-db", defaults, "--skip-test-db", "--auth-root-authentication-method=socket")
            (await self.supervisor.run(Command.of(*made))).require_success()
            installed.touch()
        await self.supervisor.start(daemons.mariadbd(self.plan))

    async def _add_accounts(self) -> None:
        """Add what is not added yet: each is noted, because adding it again would be an error."""
        noted = self.plan.folder.state / "root" / "accounts-added"
        done = noted.read_text().splitlines() if noted.exists() else []
        for addition in accounts.additions(self.plan)[len(done) :]:
            (await self._slurm("sacctmgr", "--immediate", "--quiet", *addition)).require_success()
            with noted.open("a") as notes:
                notes.write(f"{' '.join(addition)}\n")

    async def _start_node(self, node: Node) -> None:
        await self.supervisor.start(daemons.slurmd(self.plan, node))
        # It answers, but may have been failed on purpose, or be suspected since it died.
        await self.resume(node.name)

    async def _cancel_jobs(self) -> None:
        """Let jobs end while there is still a Slurm to end them."""
        if not (await self.status()).is_up or not await self._jobs():
            return
        await self._slurm("scancel", f"--user={self.plan.user}")

        async def have_ended() -> bool:
            return not await self._jobs()

        await self.supervisor.until(have_ended, within=_JOBS_END)

    async def _jobs(self) -> list[str]:
        return (await self._slurm("squeue", "--noheader", "--format=%i")).text.split()

    async def _end_leftovers(self) -> None:
        # A user of the same name that we did not make keeps every process.
        user = self.plan.user if self._is_user_ours() else None

        async def are_gone() -> bool:
            left = machine.processes_of(user=user, node_hosts=self.plan.folder.node_hosts)
            machine.kill(left, signal.SIGKILL)
            return not left

        await self.supervisor.until(are_gone, within=_PROCESSES_END)

    def _is_user_ours(self) -> bool:
        return machine.home_of(self.plan.user) == self.plan.folder.home

    async def _wipe(self) -> None:
        if self._is_user_ours():
            (await self.supervisor.run(Command.of("userdel", self.plan.user))).require_success()
        if self.plan.folder.plan.exists():
            await asyncio.to_thread(shutil.rmtree, self.plan.root)

    async def _slurm(self, *argv: str) -> Completed:
        return await self.supervisor.run(daemons.slurm_command(self.plan, *argv))


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
