"""Environments shipped over connections that break: each is there once, and whole, all the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sluiceway.core.environments.cache import EnvironmentCache, Packed
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.ssh import SshShell
from tests.core.environments.made import Bench
from tests.wire.login_node import LoginNode


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
