"""The launcher of a Dask cluster beside a payload: a scheduler in the batch process, and workers on every node."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sluiceway.core.launch.launcher import EngineLauncher


class DaskLauncher(EngineLauncher):
    """Dask's scheduler, and one worker on each node with all that the job has there; the payload finds the scheduler.

    Workers offer Dask the resources `cpus`, `memory` (bytes) and `gpus`, as far as the job has them on that node.
    """

    name: ClassVar[str] = "dask"
    program: ClassVar[str] = "dask_side.py"

    threads: int | None = Field(default=None, ge=1, description="Threads of a worker; else one for each CPU.")
    memory: str | None = Field(
        default=None, pattern=r"^\d+(\.\d+)?\s*([KMGT]i?B?)$", description="Memory of a worker; else the node's share."
    )
    nanny: bool = Field(default=True, description="Whether a worker that is killed is started again on its node.")
    resources: dict[str, float] = Field(default_factory=dict, description="Further resources that each worker offers.")
