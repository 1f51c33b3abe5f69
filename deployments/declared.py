"""The deployments that prefect.yaml declares, read once into values: one list for `prefect deploy` and for us."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

FILE: Final = Path(__file__).with_name("prefect.yaml")
"""The project's prefect.yaml, which an installed copy has, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One deployment as it was declared."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    pool: str
    queue: str
    job_variables: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    strategy: ConcurrencyLimitStrategy = ConcurrencyLimitStrategy.ENQUEUE
    schedules: tuple[DeploymentScheduleCreate, ...] = ()

    @property
    def module(self) -> str:
        """The flow by its module, which is found wherever sluiceway is installed.

        >>> Declared(name="gc", entrypoint="flows/gc.py:gc", description="", tags=(), pool="", queue="").module
        'sluiceway.flows.gc.gc'
        """
        file, _, flow = self.entrypoint.partition(":")
        return ".".join(("sluiceway", *Path(file).with_suffix("").parts, flow))


def declared(file: Path = FILE) -> list[Declared]:
    """Read the deployments of a prefect.yaml."""
    return [_read(each) for each in yaml.safe_load(file.read_text())["deployments"]]


def _read(each: dict[str, Any]) -> Declared:
    pool, limit = each["work_pool"], each.get("concurrency_limit") or {}
    return Declared(
        name=each["name"],
        entrypoint=each["entrypoint"],
        description=each["description"],
        tags=tuple(each["tags"]),
        pool=pool["name"],
        queue=pool["work_queue_name"],
        job_variables=pool.get("job_variables") or {},
        limit=limit.get("limit"),
        strategy=ConcurrencyLimitStrategy(limit.get("collision_strategy", "ENQUEUE")),
        schedules=tuple(_schedule(given) for given in each.get("schedules", ())),
    )


def _schedule(given: dict[str, Any]) -> DeploymentScheduleCreate:
    if "cron" in given:
        when: CronSchedule | IntervalSchedule = CronSchedule(cron=given["cron"], timezone=given.get("timezone"))
    else:
        when = IntervalSchedule(interval=timedelta(seconds=given["interval"]), timezone=given.get("timezone"))
    return DeploymentScheduleCreate(
        schedule=when,
        active=given.get("active", True),
        parameters=given.get("parameters", {}),
        slug=given["slug"],
    )
