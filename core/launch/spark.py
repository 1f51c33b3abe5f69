"""The launcher of a Spark cluster beside a payload: a master in the batch process, and a worker on every node."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sluiceway.core.launch.launcher import EngineLauncher

_MEMORY = r"^[1-9]\d*[mMgGtT]$"


class SparkLauncher(EngineLauncher):
    """Spark's master, and one worker on each node with what the job has there; the payload is the driver.

    A payload whose first word ends with .py or .jar is given to spark-submit; any other finds the master by itself.
    """

    name: ClassVar[str] = "spark"
    program: ClassVar[str] = "spark_side.py"

    cores: int | None = Field(default=None, ge=1, description="Cores that a worker offers; else one for each CPU.")
    memory: str | None = Field(
        default=None, pattern=_MEMORY, description="Memory that a worker offers executors; else what its node can."
    )
    driver_memory: str = Field(default="1g", pattern=_MEMORY, description="The heap of the driver, on the first node.")
    main_class: str | None = Field(default=None, pattern=r"^[\w.$]+$", description="The class of a .jar to run.")
    conf: dict[str, str] = Field(default_factory=dict, description="Further properties of Spark, for the driver.")
    connect: bool = Field(default=False, description="Whether to serve Spark Connect, which then has all executors.")
