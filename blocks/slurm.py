"""The Prefect blocks of the places where runs run: a Slurm cluster, and its twin, this machine.

Both trigger the same kind of run, so that a flow which was tried here runs there once another block is loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

# The module, not the class: what is a block by a name of this file is registered as one of ours. Hence no argument of
# the type either, for which pydantic would put a class here.
from prefect.blocks import abstract
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import Field, HttpUrl, field_validator

from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.runs import place, run
from sluiceway.core.runs.clusters import ClusterFields, ClusterSettings, Jump
from sluiceway.core.runs.hosts import cluster_named, host_at, runs_here
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sluiceway.core.runs.host import Attempt, JobHost
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.job import JobId
    from sluiceway.core.slurm.resources import Resources

_MANUAL = HttpUrl("https://slurm.schedmd.com/sbatch.html")
_ENVIRONMENT = Field(
    default="", description="The environment that a triggered request runs in where it names none itself."
)
_LAUNCHER = Field(
    default="",
    description="How a triggered request is started that does not say so itself: single, or beside dask, ray or spark.",
)
_OPTIONS: Any = Field(default_factory=dict, description="Options of that launcher, such as threads.")
_COMMAND = Field(default=(), description="The program and its arguments that trigger() runs unless it is given others.")


class TriggeredRun(abstract.JobRun[RunReceipt]):
    """A run that was triggered: on its way, or found to have succeeded before."""

    def __init__(self, block: SlurmJob | LocalJob, staged: Attempt | RunReceipt, job: JobId | None) -> None:
        """Know the run's receipt, or its attempt and its job."""
        self._block = block
        self._receipt = staged if isinstance(staged, RunReceipt) else None
        self._attempt = None if isinstance(staged, RunReceipt) else staged
        self.job_id = staged.job_id if isinstance(staged, RunReceipt) else str(job)
        self._job = job

    # Prefect annotates that this gives a logger.
    async def wait_for_completion(self) -> None:  # type: ignore[override]
        """Wait for the run's end, and bring home what it made; a run that failed has ended as well."""
        if self._attempt is None or self._job is None or self._receipt is not None:
            return
        runs = runs_here()
        async with self._block.reach(runs) as host:
            ending = await run.await_end(self._attempt, self._job, host=host)
            self._receipt = await run.collect(self._attempt, ending, runs=runs, host=host)

    async def fetch_result(self) -> RunReceipt:
        """Give the receipt of the run, or raise RunFailed where its work is not done."""
        await self.wait_for_completion()
        if self._receipt is None:
            raise AssertionError("a run that has ended has a receipt")
        return self._receipt.require_success()

    async def cancel(self) -> None:
        """End the job, and come back when it has ended."""
        if self._attempt is None or self._job is None:
            return
        runs = runs_here()
        async with self._block.reach(runs) as host:
            await run.cancel(self._attempt.folder, self._job, runs=runs, host=host)


class SlurmJob(abstract.JobBlock, ClusterFields):  # type: ignore[type-arg]
    """A Slurm cluster: how it is reached, and what jobs there ask for unless told otherwise.

    Example:
        Run a command on a cluster, and see what it made:
        ```python
        from sluiceway.blocks.slurm import SlurmJob
        from sluiceway.core.runs.request import RunRequest

        cluster = SlurmJob.load("BLOCK_NAME")
        run = await cluster.trigger(RunRequest(command=("hostname",)))
        receipt = await run.fetch_result()
        ```
    """

    _block_type_name = "Slurm cluster"
    _block_type_slug = "slurm-job"
    _documentation_url = _MANUAL

    command: tuple[str, ...] = _COMMAND
    environment: str = _ENVIRONMENT
    launcher: str = _LAUNCHER
    launcher_options: dict[str, Any] = _OPTIONS

    @field_validator("jumps")
    @classmethod
    def _require_no_secret_in_a_list(cls, jumps: tuple[Jump, ...]) -> tuple[Jump, ...]:
        if any(each.password or each.passphrase for each in jumps):
            raise ValueError(
                "Prefect hides secrets of a block, but not those inside of lists: let the machines on the way take a "
                "key or the ssh agent, or describe this cluster in clusters.toml"
            )
        return jumps

    @property
    def settings(self) -> ClusterSettings:
        """The cluster's fields without the block around them."""
        return ClusterSettings(**{name: getattr(self, name) for name in ClusterFields.model_fields})

    @property
    def place(self) -> place.Cluster:
        """The place's name: the block's, or where it was not saved, one made of how the cluster is reached."""
        way = self.settings.way
        reached = "" if way is None else "/".join(each.machine for each in way.chain)
        return place.Cluster(self._block_document_name or f"unsaved-{hashlib.sha256(reached.encode()).hexdigest()[:8]}")

    def reach(self, runs: Runs, *, wish: Resources | None = None) -> AbstractAsyncContextManager[JobHost]:
        """Give the cluster as a place for attempts."""
        return host_at(self.place, runs, wish=wish, find=self._find)

    async def trigger(
        self, request: RunRequest | None = None, *, resources: Resources | None = None, fresh: bool = False
    ) -> TriggeredRun:
        """Submit a request unless it has succeeded before or is on its way; without one, the block's own command."""
        return await _trigger(self, request or RunRequest(command=self.command), resources=resources, fresh=fresh)

    async def _find(self, _name: str) -> ClusterSettings:
        return self.settings


class LocalJob(abstract.JobBlock):  # type: ignore[type-arg]
    """This machine as the twin of a cluster, for trying a flow without one.

    Example:
        Run a command here, as it would run on a cluster:
        ```python
        from sluiceway.blocks.slurm import LocalJob
        from sluiceway.core.runs.request import RunRequest

        here = LocalJob.load("BLOCK_NAME")
        run = await here.trigger(RunRequest(command=("hostname",)))
        receipt = await run.fetch_result()
        ```
    """

    _block_type_name = "Slurm's local twin"
    _block_type_slug = "local-job"
    _documentation_url = _MANUAL

    command: tuple[str, ...] = _COMMAND
    environment: str = _ENVIRONMENT
    launcher: str = _LAUNCHER
    launcher_options: dict[str, Any] = _OPTIONS

    @property
    def place(self) -> place.Local:
        """This machine."""
        return place.Local()

    def reach(self, runs: Runs, *, wish: Resources | None = None) -> AbstractAsyncContextManager[JobHost]:
        """Give this machine as a place for attempts; it has no limits to ask for."""
        return host_at(self.place, runs, wish=wish)

    async def trigger(
        self, request: RunRequest | None = None, *, resources: Resources | None = None, fresh: bool = False
    ) -> TriggeredRun:
        """Start a request unless it has succeeded before or is on its way; without one, the block's own command."""
        return await _trigger(self, request or RunRequest(command=self.command), resources=resources, fresh=fresh)


async def cluster_of_block(name: str) -> ClusterSettings:
    """Give a cluster by the name of its block where Prefect has an API and knows it, else from clusters.toml."""
    # Without a URL, loading a block would start a server just for that.
    if get_current_settings().api.url is None:
        return await cluster_named(name)
    try:
        block: SlurmJob = await SlurmJob.aload(name)
    except ValueError as error:
        # Any other has no such cause: the block is there, and cannot be used.
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        try:
            return await cluster_named(name)
        except PlaceUnusable as unknown:
            reason = f"Prefect knows no block slurm-job/{name}, and {unknown.reason}"
            raise PlaceUnusable(place=name, reason=reason) from error
    return block.settings


def reach(where: Place, runs: Runs, *, wish: Resources | None = None) -> AbstractAsyncContextManager[JobHost]:
    """Give the host of any place: a block's cluster, one of clusters.toml, or this machine."""
    return host_at(where, runs, wish=wish, find=cluster_of_block)


async def _trigger(
    block: SlurmJob | LocalJob, request: RunRequest, *, resources: Resources | None, fresh: bool
) -> TriggeredRun:
    runs = runs_here()
    if request.runtime is None and block.environment:
        request = replace(request, runtime=await runtime_named(block.environment))
    if request.launcher is None and block.launcher:
        launcher = launcher_named(block.launcher, block.launcher_options, resources=resources)
        request = replace(request, launcher=launcher)
    async with block.reach(runs, wish=resources) as host:
        staged = await run.stage(request, runs=runs, host=host, place=block.place, fresh=fresh)
        job = None if isinstance(staged, RunReceipt) else await run.submit(staged, runs=runs, host=host)
    return TriggeredRun(block, staged, job)
