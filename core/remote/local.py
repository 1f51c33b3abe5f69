"""A Shell on this machine: the same promises as over SSH, with no connection to lose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import TransferFailed
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed, Shell, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import PurePosixPath

# What a POSIX shell answers when it cannot start a program.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_END_SECONDS = 2


class LocalShell(Shell):
    """Commands run as children of this process, each in a process group of its own."""

    @property
    def machine(self) -> str:
        """The machine's name, for messages."""
        return "this machine"

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        """Run a command to its end; when time is up or the caller is cancelled, its whole process group is killed."""
        try:
            process = await _spawn(command)
        except FileNotFoundError as error:
            return self._not_started(command, _NOT_FOUND, error)
        except PermissionError as error:
            return self._not_started(command, _NOT_EXECUTABLE, error)
        async with contextlib.AsyncExitStack() as undo:
            # Whoever stops waiting, for lateness or by being cancelled, leaves nothing running.
            undo.push_async_callback(_end_group, process)
            async with time_limit(timeout, machine=self.machine, attempted=str(command)):
                stdout, stderr = await process.communicate(command.stdin)
            undo.pop_all()
        exit_code, ended_by = _ending(process.returncode)
        return Completed(
            machine=self.machine,
            command=command,
            exit_code=exit_code,
            signal=ended_by,
            stdout=stdout,
            stderr=stderr,
        )

    async def put(self, source: Path, target: PurePosixPath, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file; the target appears whole or not at all."""
        await self._copy_in_time(source, Path(target), timeout=timeout)

    async def get(self, source: PurePosixPath, target: Path, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file; the target appears whole or not at all."""
        await self._copy_in_time(Path(source), target, timeout=timeout)

    async def _copy_in_time(self, source: Path, target: Path, *, timeout: timedelta) -> None:
        attempted = f"copy of {str(source)!r} to {str(target)!r}"
        async with time_limit(timeout, machine=self.machine, attempted=attempted):
            await asyncio.to_thread(self._copy, source, target)

    def _copy(self, source: Path, target: Path) -> None:
        try:
            with staged_beside(target) as staged:
                shutil.copyfile(source, staged)
                shutil.copymode(source, staged)
        except OSError as error:
            raise TransferFailed(machine=self.machine, source=source, target=target, reason=str(error)) from error

    def _not_started(self, command: Command, exit_code: int, error: OSError) -> Completed:
        said = f"{command.argv[0]}: {error.strerror}\n".encode(errors="surrogateescape")
        return Completed(
            machine=self.machine, command=command, exit_code=exit_code, signal=None, stdout=b"", stderr=said
        )


@contextlib.contextmanager
def staged_beside(target: Path) -> Iterator[Path]:
    """Give a file to fill; it takes the target's name, flushed to disk, when the block ends well, else it goes."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    os.close(handle)
    staged = Path(name)
    try:
        yield staged
        with staged.open("rb") as written:
            os.fsync(written.fileno())
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


async def _spawn(command: Command) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command.argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )


async def _end_group(process: asyncio.subprocess.Process) -> None:
    # The group may outlive its leader: a shell that is gone has left its children.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that left the group may hold the pipes open; it is not waited for.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.communicate()


def _ending(returncode: int | None) -> tuple[int | None, str | None]:
    if returncode is None or returncode >= 0:
        return returncode, None
    try:
        return None, signal.Signals(-returncode).name.removeprefix("SIG")
    except ValueError:
        # Real-time signals have numbers only.
        return None, str(-returncode)
