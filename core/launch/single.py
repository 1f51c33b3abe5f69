"""The launcher of a payload by itself, or as several tasks at once, as MPI programs are started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sluiceway.core.launch.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

_PROGRAMS = ("single_side.py", "children.py")


class SingleLauncher(Launcher):
    """The payload itself; more than one task of it are started by srun, which also tells them of each other."""

    name: ClassVar[str] = "single"

    tasks: int = Field(default=1, ge=1, description="How many tasks; without Slurm, as many processes here.")
    mpi: str | None = Field(
        default=None, pattern=r"^[\w.-]+$", description="How srun is to set up MPI, such as pmix; see srun --mpi=list."
    )

    @property
    def identity(self) -> dict[str, Any]:
        """What of it is part of a run's key: one task is what runs are without a launcher."""
        return Launcher.identity.fget(self) if self.tasks > 1 else {}  # type: ignore[attr-defined]

    def files(self) -> Mapping[str, bytes]:
        """Give the programs that travel, by name."""
        return {name: Path(__file__).with_name(name).read_bytes() for name in _PROGRAMS if self.tasks > 1}

    def command(self, payload: tuple[str, ...], *, programs: PurePosixPath) -> tuple[str, ...]:
        """Give the payload, or what starts its tasks."""
        if self.tasks == 1:
            return payload
        return ("python3", "-I", str(programs / "single_side.py"), str(self.tasks), self.mpi or "", *payload)
