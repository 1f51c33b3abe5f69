"""A devcluster comes up, is repaired, goes down, and leaves nothing; a second one beside the session's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.errors import DaemonFailed, FolderUnusable, NameUnusable, PortTaken
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.deployments.devcluster import daemons, machine
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster
from sluiceway.deployments.devcluster.plan import Tracker, stored
from sluiceway.deployments.devcluster.supervisor import process_id
from tests.cluster.conftest import own_wish
from tests.cluster.test_command import COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sluiceway.core.remote.shell import Completed
    from sluiceway.deployments.devcluster.daemons import Daemon


@pytest.fixture(params=[None, Tracker.PLAIN], ids=["as the machine has it", "plain"])
async def second(devcluster: Devcluster, request: pytest.FixtureRequest) -> AsyncIterator[Devcluster]:
    """A cluster beside the session's own, with its own name, and each way to find a job's processes."""
    plan = await plan_for(own_wish("two", nodes=5, tracker=request.param))
    assert not {plan.ports.login, plan.ports.controller} & set(devcluster.plan.ports.model_dump().values())
    cluster = Devcluster(plan=plan)
    try:
        yield cluster
    finally:
        await cluster.down(wipe=True)


def login_to(cluster: Devcluster) -> Login:
    return Login(host=cluster.plan.name, ssh_config=cluster.plan.folder.ssh_config, use_agent=False)


def mounts_of_every_process() -> Iterator[str]:
    for process in machine.processes():
        # One that ends meanwhile has none any more.
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{process}/mountinfo").read_text(errors="replace")


def all_daemons(cluster: Devcluster) -> list[Daemon]:
    return [daemon for level in daemons.levels(cluster.plan) for daemon in level]


def process_ids(cluster: Devcluster) -> dict[str, int | None]:
    return {daemon.name: process_id(daemon) for daemon in all_daemons(cluster)}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_second_cluster_comes_up_works_and_leaves_nothing(second: Devcluster) -> None:
    await second.up()
    assert (await second.status()).is_up
    async with SshShell(login_to(second)) as shell:
        # One process that leaves the job's session, one job that runs, one that waits.
        await shell.run(Command.of("sbatch", "-N5", "--exclusive", "--wrap=setsid sleep 611 & sleep 612"))
        await shell.run(Command.of("sbatch", "--wrap=sleep 613"))
        both = 'until [ "$(pgrep -fc "sleep 61[12]")" -ge 2 ]; do sleep 0.1; done'
        (await shell.run(Command.script(both), timeout=timedelta(seconds=90))).require_success()
    groups = list(Path("/sys/fs/cgroup").glob(f"*/slurm_{second.plan.name}*"))
    assert bool(groups) is (second.plan.tracker is Tracker.CGROUP_V1_FREEZER)
    node = process_id(daemons.slurmd(second.plan, second.plan.nodes[0]))
    assert str(second.plan.folder.node_hosts) in Path(f"/proc/{node}/mountinfo").read_text()
    await second.down()
    assert not machine.processes_of(user=second.plan.user, node_hosts=second.plan.folder.node_hosts)
    assert not any(process_ids(second).values())
    assert not any(str(second.plan.root) in mounted for mounted in mounts_of_every_process())
    assert not list(Path("/sys/fs/cgroup").glob(f"*/slurm_{second.plan.name}*"))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_that_come_up_at_once_take_different_ports() -> None:
    async def up(wish: Wish) -> Completed:
        asked = (f"--folder={wish.root}", f"--name={wish.name}", "--nodes=1")
        return await LocalShell().run(Command.of(COMMAND, "devcluster", "up", *asked), timeout=timedelta(seconds=240))

    wishes = (own_wish("tx"), own_wish("ty"))
    try:
        for ended in await asyncio.gather(*map(up, wishes)):
            ended.require_success()
        first, other = (stored(wish.root) for wish in wishes)
        assert first is not None
        assert other is not None
        assert not set(first.ports.model_dump().values()) & set(other.ports.model_dump().values())
        assert (await Devcluster(plan=first).status()).is_up
        assert (await Devcluster(plan=other).status()).is_up
    finally:
        for plan in (stored(wish.root) for wish in wishes):
            if plan is not None:
                await Devcluster(plan=plan).down(wipe=True)


async def test_up_changes_nothing_on_a_cluster_that_is_up(devcluster: Devcluster) -> None:
    before = process_ids(devcluster)
    await devcluster.up()
    assert process_ids(devcluster) == before
    assert None not in before.values()


async def require_work(cluster: Devcluster) -> None:
    """Run something on every node; then cancel what a controller that was killed believes to be still running."""
    async with SshShell(login_to(cluster)) as shell:
        ran = await shell.run(Command.of("srun", f"-N{len(cluster.plan.nodes)}", "true"))
        await shell.run(Command.of("scancel", f"--user={cluster.plan.user}"))
    ran.require_success()


@pytest.mark.parametrize("name", ["munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "login", "jump"])
async def test_up_repairs_a_daemon_that_was_killed(devcluster: Devcluster, name: str) -> None:
    """Red on: deployments/devcluster/supervisor.py:
    `if process_id(daemon) is not None:` -> `if daemon.pid_file.exists():`.
    """
    daemon = next(each for each in all_daemons(devcluster) if each.name.split("-")[0] == name)
    pid = process_id(daemon)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await devcluster.up()
    assert process_id(daemon) not in (None, pid)
    await require_work(devcluster)


async def test_up_repairs_everything_killed_at_once(devcluster: Devcluster) -> None:
    """Red on: deployments/devcluster/supervisor.py:
    `if process_id(daemon) is not None:` -> `if daemon.pid_file.exists():`.
    """
    for daemon in all_daemons(devcluster):
        pid = process_id(daemon)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    await devcluster.up()
    assert (await devcluster.status()).is_up
    await require_work(devcluster)


async def test_a_port_that_is_taken_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port}, meant for slurmctld, is taken"):
            await plan_for(Wish(root=Path("/var/lib/sluiceway-no"), name="nowhere", first_port=port))


async def test_a_port_that_another_cluster_has_claimed_names_it(devcluster: Devcluster) -> None:
    wish = Wish(root=Path("/var/lib/sluiceway-no"), name="nowhere", first_port=devcluster.plan.ports.jump)
    with pytest.raises(PortTaken, match=f"is taken by the devcluster in {devcluster.plan.root}"):
        await plan_for(wish)


async def test_a_cluster_is_not_remade_under_other_wishes(devcluster: Devcluster) -> None:
    with pytest.raises(FolderUnusable, match=r"made with --nodes 4, not 7; `down --wipe` it first"):
        await plan_for(Wish(root=devcluster.plan.root, nodes=7))


async def test_a_user_of_that_name_who_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Red on: deployments/devcluster/cluster.py:
    `user = self.plan.user if self._is_user_ours() else None` -> `user = self.plan.user`.
    """
    plan = await plan_for(own_wish("three"))
    here = LocalShell()
    (await here.run(Command.of("useradd", "--no-create-home", f"--home-dir={tmp_path}", plan.user))).require_success()
    theirs = asyncio.create_task(here.run(Command.of("setpriv", f"--reuid={plan.user}", "sleep", "20")))
    try:
        cluster = Devcluster(plan=plan)
        with pytest.raises(NameUnusable, match=f"already a user '{plan.user}' whose home is {tmp_path}"):
            await plan_for(own_wish("three"))
        await cluster.down(wipe=True)
        assert machine.home_of(plan.user) == tmp_path
        assert machine.processes_of(user=plan.user, node_hosts=plan.folder.node_hosts)
    finally:
        theirs.cancel()
        await asyncio.wait({theirs})
        await here.run(Command.of("userdel", plan.user))


async def test_a_daemon_that_does_not_start_shows_the_end_of_its_log(devcluster: Devcluster) -> None:
    daemon = daemons.sshd(devcluster.plan, "jump")
    conf = devcluster.plan.folder.configuration / "jump.conf"
    before = conf.read_text()
    await devcluster.supervisor.stop(daemon)
    conf.write_text("NoSuchOption yes\n")
    try:
        with pytest.raises(DaemonFailed, match=r"jump did not start[\s\S]*NoSuchOption"):
            await devcluster.supervisor.start(daemon)
    finally:
        conf.write_text(before)
        await devcluster.supervisor.start(daemon)
