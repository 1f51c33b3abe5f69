"""The launcher of a Ray cluster beside a payload: a head where the payload runs, a worker on each other node."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sluiceway.core.launch.launcher import EngineLauncher


class RayLauncher(EngineLauncher):
    """Ray on every node of the job, each with all that the job has there; the payload finds it by `ray.init()`.

    Nodes are called in Ray as in Slurm, and offer Ray the CPUs, GPUs and memory that the job has on them.
    """

    name: ClassVar[str] = "ray"
    program: ClassVar[str] = "ray_side.py"

    cpus: int | None = Field(default=None, ge=0, description="CPUs that each node offers; else those of the job there.")
    object_store: int | None = Field(
        default=None, ge=75 << 20, description="Bytes of each node's object store; else 0.3 of its memory."
    )
    resources: dict[str, float] = Field(default_factory=dict, description="Further resources that each node offers.")
    dashboard: bool = Field(default=True, description="Whether the head shows Ray's dashboard, if it has ray[default].")
