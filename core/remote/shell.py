"""What core may ask of a machine: run a command, bring files over. One protocol for every kind of machine.

A command is a tuple of arguments, never a string put together from outside values. Where several commands must go in
one round trip, the text is a constant script and its values are positional, so quoting happens in one place:

>>> Command.script('mkdir -p -- "$1" && ls -- "$1"', "my $(rm -rf ~) folder").argv
('sh', '-c', 'mkdir -p -- "$1" && ls -- "$1"', 'sh', 'my $(rm -rf ~) folder')
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from abc import abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString, Protocol

from sluiceway.core.errors import CommandFailed, CommandTimedOut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path, PurePosixPath

NO_LIMIT = timedelta.max

# The bytes are counted before the file gets its name: a connection cut half-way ends stdin just like a full stop does.
_STAGE_STDIN = """
set -eu
umask 077
staged=$(mktemp -- "$1.XXXXXXXX")
trap 'rm -f -- "$staged"' EXIT
trap 'exit 130' HUP INT TERM
cat >"$staged"
arrived=$(wc -c <"$staged")
if [ "$arrived" -ne "$2" ]; then
    echo "only $arrived of $2 bytes arrived" >&2
    exit 74
fi
"""
_WRITE: LiteralString = (
    _STAGE_STDIN
    + """
chmod -- "$3" "$staged"
sync -- "$staged"
mv -fT -- "$staged" "$1"
trap - EXIT
"""
)
_APPEND: LiteralString = (
    _STAGE_STDIN
    + """
cat -- "$staged" >>"$1"
sync -- "$1"
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments, and what it reads on standard input."""

    argv: tuple[str, ...]
    stdin: bytes = b""

    @classmethod
    def of(cls, *argv: str, stdin: bytes = b"") -> Command:
        """Make a command of a program and its arguments."""
        return cls(argv=argv, stdin=stdin)

    @classmethod
    def script(cls, text: LiteralString, *values: str, stdin: bytes = b"") -> Command:
        """Make a command of a constant shell script; the values become $1, $2 and so on."""
        return cls(argv=("sh", "-c", text, "sh", *values), stdin=stdin)

    def __str__(self) -> str:
        """Give one line for a log or an error: long scripts are cut, standard input is left out."""
        words = " ".join(shlex.join(self.argv).split())
        return words if len(words) <= 200 else f"{words[:197]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended: with an exit code or by a signal, never both."""

    machine: str
    command: Command
    exit_code: int | None
    signal: str | None
    stdout: bytes
    stderr: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the exit code is zero."""
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 survive as surrogates, as they do in file names."""
        return self.stdout.decode(errors="surrogateescape")

    def require_success(self) -> Completed:
        """Return this result, or raise CommandFailed with everything it carries."""
        if not self.succeeded:
            raise CommandFailed(machine=self.machine, completed=self)
        return self


class Shell(Protocol):
    """A machine on which commands run. Relative paths start in the user's home, or here in the working directory."""

    @property
    @abstractmethod
    def machine(self) -> str:
        """The machine's name, for messages."""

    @abstractmethod
    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        """Run a command to its end; only trouble on the way raises, a failing command is a result."""

    @abstractmethod
    async def put(self, source: Path, target: PurePosixPath, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file from here to there; the target appears whole or not at all."""

    @abstractmethod
    async def get(self, source: PurePosixPath, target: Path, *, timeout: timedelta = NO_LIMIT) -> None:
        """Copy a file from there to here; the target appears whole or not at all."""

    async def write(
        self, target: PurePosixPath, content: bytes, *, mode: int = 0o600, timeout: timedelta = NO_LIMIT
    ) -> None:
        """Write a small file there in one round trip; it appears whole or not at all."""
        command = Command.script(_WRITE, str(target), str(len(content)), f"{mode:o}", stdin=content)
        (await self.run(command, timeout=timeout)).require_success()

    async def append(self, target: PurePosixPath, content: bytes, *, timeout: timedelta = NO_LIMIT) -> None:
        """Append to a file there in one round trip; a cut connection appends nothing."""
        command = Command.script(_APPEND, str(target), str(len(content)), stdin=content)
        (await self.run(command, timeout=timeout)).require_success()

    @contextlib.asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """Give where a port is reached from here that the machine reaches: here, that is where it is."""
        yield host, port

    async def read(self, source: PurePosixPath, *, timeout: timedelta = NO_LIMIT) -> bytes:
        """Read a small file there."""
        return (await self.run(Command.of("cat", "--", str(source)), timeout=timeout)).require_success().stdout


@contextlib.asynccontextmanager
async def time_limit(limit: timedelta, *, machine: str, attempted: str) -> AsyncIterator[None]:
    """Give the work in this block so long; when it takes longer, raise CommandTimedOut."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            yield
    except TimeoutError:
        raise CommandTimedOut(machine=machine, attempted=attempted, limit=limit) from None
