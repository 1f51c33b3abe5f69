"""Environments shipped over connections that break: each is there once, and whole, all the same."""

from __future__ import annotations

import os
import platform
import sys
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.environments import provision
from sluiceway.core.environments.cache import EnvironmentCache, Packed
from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of
from sluiceway.core.errors import EnvironmentUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.ssh import SshShell
from sluiceway.core.runs.access import access_to
from tests.conftest import User
from tests.core.environments.made import UV, Bench, recorded_uv, requirements
from tests.wire.login_node import LoginNode
from tests.wire.test_access import settings


async def test_a_connection_that_breaks_while_it_ships_is_waited_out(
    login_node: LoginNode, shell: SshShell, folder: PurePosixPath, tmp_path: Path
) -> None:
    """It is sent again, from the beginning, and nothing of the first try stays.

    Red on: core/environments/cache.py:
    `except (ConnectionLost, CommandTimedOut, errors.Unreachable) as` -> `except CommandTimedOut as`.
    """
    (tmp_path / "tool").write_bytes(bytes(1 << 20))
    cache = EnvironmentCache(shell, SystemClock(), folder=folder / "environments", python=sys.executable)
    wanted, packed = Bench(tmp_path).wanted(tmp_path / "tool"), []

    async def pack(has_zstd: bool) -> Packed:
        packed.append(has_zstd)
        return await wanted.pack(has_zstd)

    login_node.faults.cut_in_file = 1
    kept = await cache.provide(replace(wanted, pack=pack))
    assert len(packed) == 2
    assert (Path(kept.tree) / "tool").stat().st_size == 1 << 20
    left = [each.name for each in Path(folder).rglob("*") if each.is_file() and each.suffix not in {".lock", ".sealed"}]
    assert left == ["tool"]


async def test_an_answer_that_is_lost_after_the_work_is_found_done(
    login_node: LoginNode, shell: SshShell, folder: PurePosixPath, tmp_path: Path
) -> None:
    """Red on: core/environments/cache.py: `if kept is not None: return kept` -> `return kept`."""
    (tmp_path / "tool").write_bytes(b"x")
    cache = EnvironmentCache(shell, SystemClock(), folder=folder / "environments", python=sys.executable)
    wanted, packed = Bench(tmp_path).wanted(tmp_path / "tool"), []

    async def pack(has_zstd: bool) -> Packed:
        packed.append(has_zstd)
        made = await wanted.pack(has_zstd)
        # The next answer is the install's.
        login_node.faults.lose_answers = 1
        return made

    kept = await cache.provide(replace(wanted, pack=pack))
    assert len(packed) == 1
    assert (Path(kept.tree) / "tool").read_bytes() == b"x"


OWN = platform.machine()
OTHER = "aarch64" if OWN == "x86_64" else "x86_64"


async def described(**fields: Any) -> Runtime:
    return await runtime_of(environment_of("mine", fields, where="a test"))


@pytest.fixture
def called(login_node: LoginNode, user: User) -> Path:
    """A cluster whose login node is of this machine's kind, with partitions of both; and how uv was called."""
    login_node.slurm.set_partitions(usual=[OWN, OWN], other=[OTHER], mixed=[OWN, OTHER])
    called = recorded_uv(user.folder / "bin")
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    user.export("UV_CACHE_DIR", str(user.folder / "uv"))
    user.export("PATH", f"{called.parent}:{UV}:{os.environ['PATH']}")
    return called


async def test_what_is_built_is_for_the_partitions_nodes_and_not_for_the_login_node(
    login_node: LoginNode, user: User, called: Path
) -> None:
    """Red on: core/environments/provision.py: `return found[0] if found else ""` -> `return this_machine()`."""
    access = await access_to(settings(login_node), SystemClock())
    made = await described(kind="uv", requirements=requirements(user.folder), python="/usr/bin/python3")
    trees = []
    for partition, asked in ((None, False), ("other", True)):
        called.unlink(missing_ok=True)
        trees.append((await provision.at_cluster(made, access, partition)).path)
        assert (f"--python-platform {OTHER}-unknown-linux-gnu" in called.read_text()) == asked
    assert trees[0] != trees[1]


async def test_what_is_not_for_the_partitions_nodes_is_refused_and_so_are_nodes_of_two_kinds(
    login_node: LoginNode, user: User, called: Path
) -> None:
    """The program is of the login node's architecture.

    Red on: core/environments/provision.py: `if len(found) > 1:` -> `if False:`.
    """
    access = await access_to(settings(login_node), SystemClock())
    with tarfile.open(user.folder / "packed.tar", "w") as archive:
        archive.add(os.path.realpath(sys.executable), arcname="bin/tool")
    made = await described(kind="archive", archive=user.folder / "packed.tar")
    with pytest.raises(EnvironmentUnusable, match=f"programs for {OWN}, .* asked for are {OTHER}"):
        await provision.at_cluster(made, access, "other")
    with pytest.raises(EnvironmentUnusable, match=r"partition mixed .* are aarch64 and x86_64; ask for a partition"):
        await provision.at_cluster(made, access, "mixed")
    assert (await provision.at_cluster(made, access, "usual")).machine == OWN
