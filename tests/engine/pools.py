"""A work pool for one kind of worker, whose deployments are flows that a test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Scheduled
from prefect.workers.base import BaseWorker


class WorkPool:
    """A work pool, a worker that takes what there is in it, and the flows that are deployed to it."""

    worker: ClassVar[type[BaseWorker[Any, Any, Any]]]
    flows: ClassVar[str]

    def __init__(self, client: PrefectClient, folder: Path) -> None:
        self.client, self.folder, self.name = client, folder, f"pool-{uuid4().hex[:8]}"

    async def make(self) -> None:
        """Make the pool, and write the flows."""
        template = self.worker.get_default_base_job_template()
        pool = WorkPoolCreate(name=self.name, type=self.worker.type, base_job_template=template)
        await self.client.create_work_pool(pool, overwrite=True)
        (self.folder / "flows.py").write_text(self.flows)

    async def asked_for(self, flow: str, parameters: dict[str, Any], variables: dict[str, Any]) -> UUID:
        """Ask for a flow run of a deployment, as a person does."""
        deployment = await self.client.create_deployment(
            flow_id=await self.client.create_flow_from_name(flow),
            name=f"{flow}-{uuid4().hex[:8]}",
            path=str(self.folder),
            entrypoint=f"flows.py:{flow}",
            work_pool_name=self.name,
            job_variables=variables,
        )
        asked = await self.client.create_flow_run_from_deployment(deployment, parameters=parameters, state=Scheduled())
        return asked.id

    async def work(self) -> None:
        """Let a worker take what there is, and see it to its end."""
        await self.worker(work_pool_name=self.name, prefetch_seconds=20).start(run_once=True, printer=lambda _: None)
