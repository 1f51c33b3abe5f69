"""The cluster tier's devcluster: brought up once a session, from a folder of its own, gone at the end."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.errors import PackagesMissing, RootNeeded
from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.cluster import Devcluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Missing

# A cluster named otherwise than the default can run beside one that a person has up.
NAME = "test"


@pytest.fixture(scope="session", autouse=True)
def devcluster(missing: Missing) -> Iterator[Devcluster]:
    root = Path(f"/var/lib/sluiceway-{NAME}-{os.getpid()}")
    try:
        plan = asyncio.run(plan_for(Wish(root=root, name=NAME)))
    except RootNeeded:
        missing.part("cluster", why="it needs root", get="sudo make test")
        raise
    except PackagesMissing as error:
        missing.part("cluster", why=str(error), get="make test, as root or with sudo")
        raise
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
