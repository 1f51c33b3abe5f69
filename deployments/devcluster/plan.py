"""What one devcluster consists of: decided at its first start, kept in its folder, never guessed again."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluiceway.core.errors import FolderUnusable
from sluiceway.deployments.devcluster.folder import ClusterFolder

# sun_path in unix(7) is 108 bytes with its end mark; the longest socket name below the root has 30.
_LONGEST_ROOT = 75


# Nodes and a user are called after it.
NAME = re.compile(r"^[a-z][a-z0-9]{0,11}$")


class Tracker(StrEnum):
    """How Slurm finds all processes of a job."""

    CGROUP_V1_FREEZER = "cgroup"
    PLAIN = "linuxproc"


_HOW = {
    Tracker.CGROUP_V1_FREEZER: "cgroup v1 freezer",
    Tracker.PLAIN: "the plain process tracker: one that leaves the job's session outlives it",
}


class Node(BaseModel):
    """One compute node: a slurmd with a host name and an address of its own."""

    model_config = ConfigDict(frozen=True)

    name: str
    address: str
    port: int
    gpus: int = 0


class Ports(BaseModel):
    """The ports of everything but the nodes."""

    model_config = ConfigDict(frozen=True)

    controller: int
    accounting: int
    login: int
    jump: int


class Plan(BaseModel):
    """What one devcluster consists of."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=NAME.pattern, description="The cluster's name; nodes and user are called after it.")
    root: Path
    host: str
    tracker: Tracker
    ports: Ports
    nodes: tuple[Node, ...]
    cpus_per_node: int = 4
    memory_mib_per_node: int = 16_000
    max_array_size: int = 101

    @property
    def folder(self) -> ClusterFolder:
        """Where its files are."""
        return ClusterFolder(root=self.root)

    @property
    def user(self) -> str:
        """The ordinary user whose jobs run here."""
        return f"{self.name}user"

    @property
    def summary(self) -> str:
        """One line for a person."""
        size = f"{len(self.nodes)} nodes of {self.cpus_per_node} CPUs and {self.memory_mib_per_node} MiB"
        return f"{size}; a job's processes are found by {_HOW[self.tracker]}"


def require_usable(root: Path) -> None:
    """Refuse a folder whose path Slurm's files or sockets cannot hold, or which holds something else."""
    if not root.is_absolute() or not re.fullmatch(r"[\w./-]+", str(root), re.ASCII):
        raise FolderUnusable(folder=root, reason="its path must be absolute, of letters, digits and . _ - / only")
    if len(str(root)) > _LONGEST_ROOT:
        raise FolderUnusable(
            folder=root, reason=f"its path is longer than {_LONGEST_ROOT} characters; sockets need short ones"
        )
    if root.exists() and not root.is_dir():
        raise FolderUnusable(folder=root, reason="it is not a folder")
    if root.is_dir() and any(root.iterdir()) and not ClusterFolder(root=root).plan.is_file():
        raise FolderUnusable(folder=root, reason="it is not empty and holds no devcluster")


def stored(root: Path) -> Plan | None:
    """Read the plan of a folder; none where no devcluster was started yet."""
    path = ClusterFolder(root=root).plan
    if not path.is_file():
        return None
    try:
        return Plan.model_validate_json(path.read_text())
    except ValidationError as error:
        raise FolderUnusable(
            folder=root, reason=f"its {path.name} cannot be read ({error.errors()[0]['msg']})"
        ) from error


def nodes(name: str, *, count: int, first_port: int) -> tuple[Node, ...]:
    """Lay out the nodes: the last one has two GPUs."""
    return tuple(
        Node(
            name=f"{name}{number}",
            address=f"127.0.0.{10 + number}",
            port=first_port + number - 1,
            gpus=2 if number == count else 0,
        )
        for number in range(1, count + 1)
    )
