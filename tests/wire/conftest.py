"""The wire tier's login node and the Shell that reaches it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.remote import ssh
from sluiceway.core.remote.ssh import SshShell
from tests.conftest import User
from tests.wire.login_node import LoginNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def login_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LoginNode]:
    async with LoginNode.running(tmp_path_factory.mktemp("login-node")) as node:
        yield node


@pytest.fixture
async def shell(login_node: LoginNode) -> AsyncIterator[SshShell]:
    async with SshShell(login_node.login) as shell:
        yield shell


@pytest.fixture
def folder(login_node: LoginNode) -> PurePosixPath:
    there: Path = login_node.home / "there"
    there.mkdir()
    return PurePosixPath(there)


@pytest.fixture
def agent(login_node: LoginNode, user: User) -> Iterator[Path]:
    """An ssh agent that holds the user's key; its socket is in SSH_AUTH_SOCK."""
    with tempfile.TemporaryDirectory(prefix="ag-") as short:
        address = Path(short) / "agent"
        daemon = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
        try:
            while not address.exists():
                pass
            user.export("SSH_AUTH_SOCK", str(address))
            subprocess.run(["ssh-add", "-q", str(login_node.folder / "user")], check=True)
            yield address
        finally:
            daemon.terminate()
            daemon.wait()


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a quarter of a second be the time in which a machine must answer, so that a test can be late."""
    monkeypatch.setattr(ssh, "_CONNECT_SECONDS", 0.25)
