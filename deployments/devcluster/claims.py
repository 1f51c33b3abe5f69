"""Which ports the devclusters of this machine have claimed, in one file that only one of them changes at a time.

A port that is free now may be another cluster's a moment later: of one that comes up just now, or that is down and
will come up again.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.deployments.devcluster.folder import ClusterFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

# Root's own, and gone when the machine starts anew: until then no cluster is up.
CLAIMS = Path("/run/sluiceway-devcluster-ports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A row of ports, and whose they are: a cluster's in this folder, or about to be, while this process lives."""

    first: int
    count: int
    process: int
    root: Path

    @classmethod
    def parse(cls, line: str) -> Claim:
        """Read a line as it is written.

        >>> str(Claim.parse("21000 8 4711 /var/lib/sluiceway-devcluster"))
        '21000 8 4711 /var/lib/sluiceway-devcluster'
        """
        first, count, process, root = line.split(maxsplit=3)
        return cls(first=int(first), count=int(count), process=int(process), root=Path(root))

    def __str__(self) -> str:
        """Give the line."""
        return f"{self.first} {self.count} {self.process} {self.root}"

    @property
    def ports(self) -> range:
        """The ports."""
        return range(self.first, self.first + self.count)

    @property
    def holds(self) -> bool:
        """Whether there is such a cluster, or one may still be made."""
        return ClusterFolder(root=self.root).plan.is_file() or Path("/proc", str(self.process)).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What other clusters have claimed, while nobody else can claim anything."""

    others: tuple[Claim, ...]
    mine: list[Claim] = field(default_factory=list)

    def holder(self, port: int) -> Path | None:
        """Give the folder of the cluster that has claimed a port."""
        return next((claim.root for claim in self.others if port in claim.ports), None)

    def add(self, claim: Claim) -> None:
        """Claim ports."""
        self.mine.append(claim)


@contextmanager
def opened(root: Path, *, file: Path = CLAIMS) -> Iterator[Claims]:
    """Let the cluster of a folder see what others have claimed, and claim its own instead of what it had."""
    with file.open("a+") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        written.seek(0)
        found = map(Claim.parse, written.read().splitlines())
        claims = Claims(others=tuple(claim for claim in found if claim.root != root and claim.holds))
        yield claims
        written.truncate(0)
        written.writelines(f"{claim}\n" for claim in (*claims.others, *claims.mine))
