"""A machine did not do what it was asked."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sluiceway.core.trouble.letter import SluicewayError

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import PurePath

    from sluiceway.core.remote.shell import Completed

_LAST_LINES = 20


@dataclass(kw_only=True, eq=False)
class RemoteError(SluicewayError):
    """A machine did not do what it was asked."""

    exit_code: ClassVar[int] = 4
    machine: str


@dataclass(kw_only=True, eq=False)
class Unreachable(RemoteError):
    """No connection came about; nothing was started there."""

    reason: str

    def __str__(self) -> str:
        """Name the machine and what the network said."""
        return (
            f"could not reach {self.machine}: {self.reason}. Nothing was started there. "
            "Check the host name, the port and the network, then try again."
        )


@dataclass(kw_only=True, eq=False)
class ConnectionRefused(Unreachable):
    """The machine is there, but nothing listens on that port."""


@dataclass(kw_only=True, eq=False)
class ConnectionLost(RemoteError):
    """The connection broke under a command: its outcome is unknown."""

    attempted: str
    reason: str

    def __str__(self) -> str:
        """Name what was under way, and that nobody knows how it ended."""
        return (
            f"the connection to {self.machine} broke ({self.reason}) during: {self.attempted}. "
            "Whether that was done is unknown: look before doing it again."
        )


@dataclass(kw_only=True, eq=False)
class HostKeyUnknown(RemoteError):
    """The machine's key is not the one we were told to expect."""

    known_hosts: str
    reason: str

    def __str__(self) -> str:
        """Name the machine, the file, and the safe way to add a key."""
        return (
            f"{self.machine} showed a host key that is not trusted ({self.reason}); trusted keys are read from "
            f"{self.known_hosts}. Nothing was sent. If you know this machine, compare its key with what its operators "
            "publish, then add it there (ssh-keyscan prints it)."
        )


@dataclass(kw_only=True, eq=False)
class AuthenticationFailed(RemoteError):
    """The machine does not accept who we say we are."""

    user: str
    tried: str
    reason: str

    def __str__(self) -> str:
        """Name the user and what was offered."""
        return (
            f"{self.machine} did not let {self.user} in ({self.reason}); offered: {self.tried}. "
            "Check the user name and that this key, password or code is the one the machine expects."
        )


@dataclass(kw_only=True, eq=False)
class CommandTimedOut(RemoteError):
    """A command took longer than it was given, and was stopped."""

    attempted: str
    limit: timedelta

    def __str__(self) -> str:
        """Name the command and its limit."""
        return (
            f"no answer from {self.machine} within {self.limit.total_seconds():g} s to: {self.attempted}. "
            "It was told to stop, but may have had its effect: look before doing it again."
        )


@dataclass(kw_only=True, eq=False)
class CommandFailed(RemoteError):
    """A command ran and ended with an exit code or a signal; carries all that the result carries."""

    completed: Completed

    def __str__(self) -> str:
        """Name the command, how it ended, and the last lines it said."""
        done = self.completed
        ending = f"signal {done.signal}" if done.signal else f"exit code {done.exit_code}"
        said = done.stderr.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        tail = "\n".join(said) or "(it said nothing on stderr)"
        return f"on {self.machine}, {shlex.join(done.command.argv)} ended with {ending}:\n{tail}"


@dataclass(kw_only=True, eq=False)
class SlurmRefused(RemoteError):
    """Slurm answered, and will not do what it was asked."""

    attempted: str
    reason: str

    def __str__(self) -> str:
        """Name what was asked, and Slurm's own words."""
        return f"Slurm on {self.machine} refused to {self.attempted}: {self.reason}"


@dataclass(kw_only=True, eq=False)
class SessionLost(RemoteError):
    """The allocation that a session holds has ended, or has not enough time left; the next one is a new session."""

    session: str
    reason: str

    def __str__(self) -> str:
        """Name the session, and what became of it."""
        return (
            f"the session {self.session} on {self.machine} holds no allocation for this step: {self.reason}. "
            "A step that was running has not been run again; open a new session, or one that renews itself."
        )


@dataclass(kw_only=True, eq=False)
class UpstreamFailed(RemoteError):
    """A public server did not give what it was asked for, however often."""

    url: str
    tries: int
    reason: str

    def __str__(self) -> str:
        """Name the address, how often it was asked, and what came back the last time."""
        return (
            f"{self.url} did not come in {self.tries} tries; the last time: {self.reason}. What was kept of it before "
            "is still there. Try again later; what has arrived is not brought a second time."
        )


@dataclass(kw_only=True, eq=False)
class HubMoved(RemoteError):
    """Somebody else has published to the same place on a hub since it was looked at."""

    dataset: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Name both commits, and say that theirs stands."""
        return (
            f"{self.dataset} on {self.machine} is not at commit {self.expected} any more, on which this release builds "
            f"({self.found}). Their commit stands, and nothing of ours was added. Publish again: the release is then "
            "compared with theirs."
        )


@dataclass(kw_only=True, eq=False)
class PendingVisibility(RemoteError):
    """A file was written, and a shared file system does not show it yet."""

    source: PurePath
    limit: timedelta

    def __str__(self) -> str:
        """Name the file, how long it was waited for, and that nothing has failed."""
        return (
            f"pending_visibility: {self.machine} does not show {str(self.source)!r} after "
            f"{self.limit.total_seconds():g} s, although it was written. File servers can be late with new files: "
            "nothing has failed, and nothing was given up. Ask for the same again, and it goes on from here."
        )


@dataclass(kw_only=True, eq=False)
class EngineFailed(RemoteError):
    """Ray, Spark or Dask did not come up on the nodes it was to span; nothing of it is left there."""

    launcher: str
    reason: str

    def __str__(self) -> str:
        """Name the engine, and the end of what its nodes said."""
        return f"{self.launcher} did not come up on {self.machine}, and nothing of it is left there: {self.reason}"


@dataclass(kw_only=True, eq=False)
class EngineLost(RemoteError):
    """An engine that came up was lost, or lost its workers, before it had done what it was asked."""

    attempted: str
    reason: str

    def __str__(self) -> str:
        """Name the engine, what it was to do and what became of it, and how to go on."""
        return (
            f"{self.machine} did not {self.attempted}: {self.reason}. See that it runs, and ask for the same again: "
            "what was kept before is not worked out a second time."
        )


@dataclass(kw_only=True, eq=False)
class TransferFailed(RemoteError):
    """A file could not be brought over; the file of that name is as it was before."""

    source: PurePath
    target: PurePath
    reason: str

    def __str__(self) -> str:
        """Name both ends and what went wrong."""
        return (
            f"could not copy {str(self.source)!r} to {str(self.target)!r} ({self.machine}): {self.reason}. "
            "What stood at the target before is still there."
        )
