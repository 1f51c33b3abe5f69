"""The cluster tier's devcluster: brought up once a session, from a folder of its own, gone at the end."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import PackagesMissing, RootNeeded
from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster
from sluiceway.deployments.devcluster.plan import stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Missing

FOLDERS = Path("/var/lib")


def own_wish(kind: str, **asked: Any) -> Wish:
    """A cluster of this session's own: its name and folder are no other session's, nor a person's."""
    letters = "".join(chr(ord("a") + int(digit)) for digit in str(os.getpid()))
    return Wish(root=FOLDERS / f"sluiceway-{kind}-{os.getpid()}", name=f"{kind}{letters}", **asked)


def wipe_what_dead_sessions_left() -> None:
    """Remove the clusters of sessions that were killed before they could."""
    for root in FOLDERS.glob("sluiceway-t[a-z]*-[0-9]*"):
        plan = stored(root)
        if plan is not None and not Path("/proc", root.name.rpartition("-")[2]).exists():
            asyncio.run(Devcluster(plan=plan).down(wipe=True))


@pytest.fixture(scope="session", autouse=True)
def devcluster(missing: Missing) -> Iterator[Devcluster]:
    try:
        plan = asyncio.run(plan_for(own_wish("test")))
    except RootNeeded:
        missing.part("cluster", why="it needs root", get="sudo make test")
        raise
    except PackagesMissing as error:
        missing.part("cluster", why=str(error), get="make test, as root or with sudo")
        raise
    wipe_what_dead_sessions_left()
    cluster = Devcluster(plan=plan)
    try:
        asyncio.run(cluster.up())
        yield cluster
    finally:
        asyncio.run(cluster.down(wipe=True))


@pytest.fixture
def login(devcluster: Devcluster) -> Login:
    """How to log in to the devcluster, with nothing left to ssh_config."""
    plan = devcluster.plan
    return Login(
        host="127.0.0.1",
        port=plan.ports.login,
        user=plan.user,
        keys=(plan.folder.key,),
        known_hosts=plan.folder.known_hosts,
        ssh_config=Path("/dev/null"),
        use_agent=False,
    )


@pytest.fixture
async def shell(login: Login) -> AsyncIterator[SshShell]:
    async with SshShell(login) as shell:
        yield shell


@pytest.fixture
async def folder(shell: SshShell) -> PurePosixPath:
    """A new folder on the cluster."""
    made = await shell.run(Command.of("mktemp", "-d", "-p", "."), timeout=timedelta(seconds=20))
    here = await shell.run(Command.of("readlink", "-f", "--", made.text.strip()))
    return PurePosixPath(here.text.strip())
