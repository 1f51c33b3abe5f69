"""What starts a payload: one interface for a single command, several tasks, and every engine that spans nodes.

A launcher is chosen by name and options, which are part of a run's key. What it needs where the payload runs travels
with the run as small programs of the standard library (`files`), and it puts words in front of the payload (`command`);
both run inside of the payload's environment, so that an engine's own programs come from there.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

_SHARED = ("nodeside.py", "allocation.py", "addresses.py", "children.py", "holder.py", "ports.py")


class Launcher(BaseModel):
    """How a payload is started; its fields are its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    @property
    def identity(self) -> dict[str, Any]:
        """What of it is part of a run's key: its name and the options that are not as usual."""
        return {"name": self.name, **self.model_dump(mode="json", exclude_defaults=True)}

    @abstractmethod
    def files(self) -> Mapping[str, bytes]:
        """Give the programs that travel, by name."""

    @abstractmethod
    def command(self, payload: tuple[str, ...], *, programs: PurePosixPath) -> tuple[str, ...]:
        """Give what is run instead of the payload; its programs lie in that folder there."""


class EngineLauncher(Launcher):
    """A launcher that starts an engine on the job's nodes, by a program that uses `nodeside.launch`."""

    program: ClassVar[str]

    nodes: int = Field(default=1, ge=1, description="How many nodes this machine plays where there is no Slurm.")
    ready_seconds: float = Field(default=180, gt=0, description="How long the nodes may take to join.")

    def files(self) -> Mapping[str, bytes]:
        """Give the programs that travel, by name."""
        return {name: Path(__file__).with_name(name).read_bytes() for name in (self.program, *_SHARED)}

    def command(self, payload: tuple[str, ...], *, programs: PurePosixPath) -> tuple[str, ...]:
        """Start the engine, and the payload beside it; all options go along, the usual ones too."""
        return ("python3", "-I", str(programs / self.program), json.dumps(self.model_dump(mode="json")), *payload)
