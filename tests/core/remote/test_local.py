"""This machine's Shell keeps every promise, and leaves no process behind."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.errors import CommandTimedOut
from sluiceway.core.remote.local import LocalShell, staged_beside
from sluiceway.core.remote.shell import Command
from tests.core.remote.promises import ShellPromises


@pytest.fixture
def shell() -> LocalShell:
    return LocalShell()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> PurePosixPath:
    return PurePosixPath(tmp_path_factory.mktemp("there"))


class TestLocalShell(ShellPromises):
    """Every promise of a Shell, on this machine."""


def is_running(pid: int) -> bool:
    """Whether a process lives on; one that has just been killed is given a moment."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(100):
        if not status.exists() or "State:\tZ" in status.read_text():
            return False
        time.sleep(0.01)
    return True


async def test_a_timeout_ends_the_children_of_a_command_too(shell: LocalShell, tmp_path: Path) -> None:
    """Red on: core/remote/local.py: `undo.push_async_callback(_end_group, process)` -> `pass`."""
    noted = tmp_path / "pid"
    command = Command.script('sleep 61 & echo $! >"$1"; wait', str(noted))
    with pytest.raises(CommandTimedOut):
        await shell.run(command, timeout=timedelta(seconds=0.5))
    assert not is_running(int(noted.read_text()))


async def test_a_timeout_ends_children_that_outlive_the_command(shell: LocalShell, tmp_path: Path) -> None:
    """Red on: core/remote/local.py: `undo.push_async_callback(_end_group, process)` -> `pass`."""
    noted = tmp_path / "pid"
    with pytest.raises(CommandTimedOut):
        await shell.run(Command.script('sleep 62 & echo $! >"$1"', str(noted)), timeout=timedelta(seconds=0.5))
    assert not is_running(int(noted.read_text()))


@pytest.mark.parametrize(("number", "named"), [("15", "TERM"), ("35", "35"), ("63", "63")])
async def test_a_signal_is_its_name_or_where_it_has_none_its_number(shell: LocalShell, number: str, named: str) -> None:
    done = await shell.run(Command.script("kill -$1 $$", number))
    assert (done.exit_code, done.signal) == (None, named)


async def test_a_cancelled_caller_leaves_no_process(shell: LocalShell, tmp_path: Path) -> None:
    """Red on: core/remote/local.py: `undo.push_async_callback(_end_group, process)` -> `pass`."""
    noted = tmp_path / "pid"
    running = asyncio.create_task(shell.run(Command.script('echo $$ >"$1"; exec sleep 61', str(noted))))
    while not (noted.exists() and noted.read_text()):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_running(int(noted.read_text()))


async def test_a_program_that_may_not_run_is_exit_code_126(shell: LocalShell, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")
    done = await shell.run(Command.of(str(tmp_path / "program")))
    assert (done.exit_code, done.stderr) == (126, f"{tmp_path}/program: Permission denied\n".encode())


async def test_arguments_that_are_not_utf8_arrive_as_bytes(shell: LocalShell) -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    done = await shell.run(Command.of("printf", "%s", name))
    assert (done.stdout, done.text) == (b"caf\xe9", name)


def write_half(target: Path) -> None:
    with staged_beside(target) as staged:
        staged.write_text("half")
        target.parent.read_text()


def test_a_file_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.write_text("before")
    with pytest.raises(IsADirectoryError):
        write_half(target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
