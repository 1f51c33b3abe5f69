"""This machine cannot run what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sluiceway.core.trouble.letter import SluicewayError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True, eq=False)
class DevclusterError(SluicewayError):
    """This machine cannot run what was asked for."""

    exit_code: ClassVar[int] = 3


@dataclass(kw_only=True, eq=False)
class RootNeeded(DevclusterError):
    """The devcluster's daemons need root."""

    attempted: str

    def __str__(self) -> str:
        """Say why root, and what still works without."""
        return (
            f"{self.attempted} needs root: Slurm's node daemons start each job as its own user. "
            "Use sudo, or a machine where you are root (a container will do)."
        )


@dataclass(kw_only=True, eq=False)
class PackagesMissing(DevclusterError):
    """Debian packages are missing."""

    packages: tuple[str, ...]

    def __str__(self) -> str:
        """Give the command that installs them."""
        return (
            f"these programs' packages are missing: {', '.join(self.packages)}. Install them with: "
            f"apt-get install --no-install-recommends {' '.join(self.packages)}"
        )


@dataclass(kw_only=True, eq=False)
class PortTaken(DevclusterError):
    """Another program listens on a port that was asked for."""

    port: int
    purpose: str
    holder: str = "another program"
    instead: str = (
        "when the cluster is first made, choose other ports with --first-port or leave it out to have free ones chosen"
    )

    def __str__(self) -> str:
        """Name the port, its purpose, and who has it."""
        return (
            f"port {self.port}, meant for {self.purpose}, is taken by {self.holder}. Stop that program, or, "
            f"{self.instead}."
        )


@dataclass(kw_only=True, eq=False)
class NameUnusable(DevclusterError):
    """A cluster cannot have that name here."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Name the name and the reason."""
        return f"a devcluster cannot be called {self.name!r}: {self.reason}. Choose another with --name."


@dataclass(kw_only=True, eq=False)
class FolderUnusable(DevclusterError):
    """The folder is not empty, not ours, or has a path that cannot be used."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        """Name the folder and the reason."""
        return f"the folder {str(self.folder)!r} cannot hold a devcluster: {self.reason}. Name another with --folder."


@dataclass(kw_only=True, eq=False)
class DaemonFailed(DevclusterError):
    """A daemon did not come up, or did not go down."""

    daemon: str
    attempted: str
    log: Path
    tail: str

    def __str__(self) -> str:
        """Name the daemon, its log, and the log's last lines."""
        return f"{self.daemon} did not {self.attempted}. The end of its log {self.log}:\n{self.tail or '(empty)'}"
