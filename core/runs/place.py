"""Where something runs: parsed once from the text of `--on`, or of a flow's parameter `on`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sluiceway.core.errors import PlaceUnusable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Local:
    """This machine."""

    def __str__(self) -> str:
        """Write it as `--on` takes it."""
        return "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dask:
    """Dask: workers on this machine, a scheduler that runs already, or workers on a cluster's nodes."""

    address: str | None = None
    cluster: str | None = None

    def __str__(self) -> str:
        """Write it as `--on` takes it."""
        return f"dask:{self.address}" if self.address else f"dask@{self.cluster}" if self.cluster else "dask"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that has Slurm, by the name it has in the settings or as a block."""

    name: str

    def __str__(self) -> str:
        """Write it as `--on` takes it."""
        return self.name


Place = Local | Dask | Cluster


def parse(text: str) -> Place:
    """Read a place, or raise PlaceUnusable.

    >>> [parse(each) for each in ("local", "dask", "west")]
    [Local(), Dask(address=None, cluster=None), Cluster(name='west')]
    >>> parse("dask:tcp://10.0.0.1:8786").address, parse("dask@west").cluster
    ('tcp://10.0.0.1:8786', 'west')
    """
    if text.startswith("dask:") and re.fullmatch(r"[a-z]+://\S+", text.removeprefix("dask:")):
        return Dask(address=text.removeprefix("dask:"))
    if text.startswith("dask@") and _NAME.fullmatch(text.removeprefix("dask@")):
        return Dask(cluster=text.removeprefix("dask@"))
    if text == "dask":
        return Dask()
    if text == "local":
        return Local()
    if text.lower() in {"local", "dask"} or not _NAME.fullmatch(text):
        raise PlaceUnusable(place=text, reason="it is no place's name")
    return Cluster(text)
