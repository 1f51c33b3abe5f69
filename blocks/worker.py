"""The slurm worker for Prefect work pools: a flow run becomes a Slurm job, submitted over SSH by the Slurm layer.

A flow run that was handed to a worker is one run of ours with one attempt, so it is never lost nor doubled: a worker
that is killed leaves a note and the job, and the next one finds the job by its name, sees it to its end, and puts the
flow run's state right where its own process could not.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound, ObjectNotFound
from prefect.workers.base import BaseWorker, BaseWorkerResult

from sluiceway.blocks.slurm import cluster_of_block, reach
from sluiceway.blocks.worker_ends import state_after, status_of
from sluiceway.blocks.worker_notes import Note, Notes
from sluiceway.blocks.worker_order import (
    SlurmJobConfiguration,
    SlurmVariables,
    known_request,
    request_for,
    require_api,
    require_reached,
    submission_of,
    template,
)
from sluiceway.blocks.worker_told import Teller
from sluiceway.core.errors import OutputBusy, RunUnknown
from sluiceway.core.registry.asker import Asker, asking
from sluiceway.core.runs import listing, place, run
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.hosts import runs_here

# Pydantic reads annotations while the program runs.
from sluiceway.core.slurm.job import EndingKind  # noqa: TC001
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from uuid import UUID

    from anyio.abc import TaskStatus
    from prefect.client.schemas.objects import FlowRun

    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.slurm.job import JobId

_PAUSE = timedelta(seconds=1)
_LOOKED_EVERY = timedelta(seconds=5)
# For how long a worker may be busy with a flow run before it has noted it.
_ORPHANED = timedelta(minutes=5)
_PAGE = 200


class SlurmWorkerResult(BaseWorkerResult):
    """How the job of a flow run ended, as its node and Slurm tell."""

    ending: EndingKind
    why: str


@dataclass(slots=True)
class _Watched:
    """A flow run that this process sees to, and its job once there is one."""

    attempt: Attempt | None = None
    job: JobId | None = None
    grace: timedelta = timedelta(seconds=30)
    wanted_since: datetime | None = None
    is_cancelled: bool = False


class SlurmWorker(BaseWorker[SlurmJobConfiguration, SlurmVariables, SlurmWorkerResult]):
    """Makes a Slurm job of each flow run of its work pool."""

    type = "slurm"
    job_configuration = SlurmJobConfiguration
    job_configuration_variables = SlurmVariables
    _display_name = "Slurm"
    _description = "Run each flow run as a Slurm job, submitted over SSH. The nodes have to reach the Prefect API."
    _documentation_url = "https://slurm.schedmd.com/sbatch.html"
    _logo_url = ""

    def __init__(self, *given: Any, **options: Any) -> None:
        """Take what every worker takes."""
        super().__init__(*given, **options)
        self._watched: dict[UUID, _Watched] = {}
        self._looks_for_cancelled = False

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """Give the form of a new work pool."""
        return template()

    async def run(
        self, flow_run: FlowRun, configuration: SlurmJobConfiguration, task_status: TaskStatus[Any] | None = None
    ) -> SlurmWorkerResult:
        """Submit a flow run's job, and see it to its end; where this is cancelled, the job lives on."""
        async with self._seen_to(flow_run.id) as watched:
            watched.grace = timedelta(seconds=configuration.cancel_grace_seconds)
            await self._submit(flow_run, configuration, watched)
            if task_status is not None:
                task_status.started(_pid_of(watched))
            return await self._see_through(flow_run, watched)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: SlurmJobConfiguration,  # noqa: ARG002 - the pid says where the job is
        grace_seconds: int = 30,  # noqa: ARG002 - Slurm has a grace of its own
    ) -> None:
        """Cancel a flow run's job, and come back when Slurm says that it is over."""
        where, _, token = infrastructure_pid.partition(":")
        runs = runs_here()
        try:
            folder, _ = listing.attempt_of(runs, token.split("-")[1] if token.count("-") else "")
        except RunUnknown as error:
            raise InfrastructureNotAvailable(f"{infrastructure_pid} was submitted from another home") from error
        async with reach(place.parse(where), runs) as host:
            job = await host.find(folder)
            if job is None:
                raise InfrastructureNotFound(f"{where} knows no job {token}")
            await run.cancel(folder, job, runs=runs, host=host)

    async def sync_with_backend(self) -> None:
        """Say that this worker lives, and go on with what a worker that died left."""
        await super().sync_with_backend()
        if self._work_pool is not None and self._client is not None:
            await self._look_around()

    # -- submitting

    async def _submit(self, flow_run: FlowRun, configuration: SlurmJobConfiguration, watched: _Watched) -> None:
        """Submit the job of a flow run, under the same name however often this is done."""
        await self._require_api(configuration)
        runs, submission = runs_here(), await self._submission(flow_run.id)
        request = await request_for(configuration, flow_run.id, submission)
        self._notes.write(
            Note(
                flow_run=flow_run.id,
                submission=submission,
                key=request.key,
                pool=self._work_pool_name,
                place=configuration.cluster,
            )
        )
        async with reach(configuration.where, runs, wish=configuration.resources) as host:
            staged = await run.stage(request, runs=runs, host=host, place=configuration.where, fresh=True)
            if not isinstance(staged, Attempt):
                raise AssertionError("what is asked for afresh is not given as it was")  # noqa: TRY004 - it cannot be
            watched.attempt = staged
            watched.job = await run.submit(staged, runs=runs, host=host)
        self.get_flow_run_logger(flow_run).info("job %s on %s, %s", watched.job, staged.place, staged.folder.token)

    async def _submit_again(self, note: Note, folder: AttemptFolder, flow_run: FlowRun, watched: _Watched) -> None:
        """Submit what was staged, unless it was submitted; its folder is the same whatever has changed meanwhile."""
        configuration = await self._configured(flow_run)
        runs, request = runs_here(), await request_for(configuration, flow_run.id, note.submission)
        watched.attempt = Attempt(request=request, folder=folder, place=note.place)
        async with reach(place.parse(note.place), runs, wish=configuration.resources) as host:
            watched.job = await run.submit(watched.attempt, runs=runs, host=host)

    async def _configured(self, flow_run: FlowRun) -> SlurmJobConfiguration:
        return await self.job_configuration.resolve_for_flow_run(
            flow_run,
            client=self.client,
            work_pool=self.work_pool,
            worker_name=self.name,
            worker_id=self.backend_id,
        )

    async def _require_api(self, configuration: SlurmJobConfiguration) -> None:
        url = require_api(configuration)
        if isinstance(configuration.where, place.Cluster) and configuration.check_api:
            cluster = await cluster_of_block(configuration.cluster)
            access = await access_to(cluster, runs_here().clock)
            await require_reached(url, cluster=configuration.cluster, shell=access.shell, python=cluster.python)

    async def _submission(self, flow_run: UUID) -> UUID:
        return submission_of(await self.client.read_flow_run_states(flow_run))

    # -- to the end

    async def _see_through(self, flow_run: FlowRun, watched: _Watched) -> SlurmWorkerResult:
        """Wait for the end of a job, telling what it prints, and put the flow run's state right."""
        runs, attempt, job = runs_here(), watched.attempt, watched.job
        if attempt is None or job is None:
            raise AssertionError("what is seen to its end has begun")
        logger = self.get_flow_run_logger(flow_run)
        async with reach(place.parse(attempt.place), runs) as host:
            with Teller(logger, self._notes, flow_run.id, clock=runs.clock) as teller:
                ending = await run.await_end(attempt, job, host=host, heard=teller)
            receipt = await run.collect(attempt, ending, runs=runs, host=host)
        return await self._report(flow_run.id, receipt)

    async def _report(self, flow_run: UUID, receipt: RunReceipt) -> SlurmWorkerResult:
        """Put the state of a flow run right whose job has ended, and forget the note."""
        found, note = await self.client.read_flow_run(flow_run), self._notes.read(flow_run)
        is_meant = note is None or await self._submission(flow_run) == note.submission
        said = state_after(receipt, found.state) if is_meant else None
        logger = self.get_flow_run_logger(found)
        if said is None:
            level = logging.INFO if receipt.succeeded else logging.WARNING
            logger.log(level, "job %s on %s %s", receipt.job_id, receipt.place, receipt.why)
        else:
            logger.warning("%s", said.message)
            # By force: one that says that it crashed is told why, and one that is cancelling has no process left.
            await self.client.set_flow_run_state(flow_run, said, force=True)
        self._notes.forget(flow_run)
        status = status_of(receipt, found.state) if is_meant else 0
        pid = f"{receipt.place}:{receipt.job_id}"
        return SlurmWorkerResult(identifier=pid, status_code=status, ending=receipt.ending, why=receipt.why)

    # -- what others left, and what is to end

    async def _look_around(self) -> None:
        """Adopt flow runs that nobody sees to."""
        pending = await self._flow_runs(StateType.PENDING)
        noted = {each.flow_run: each for each in self._notes.all()}
        taken = {*self._watched, *self._submitting_flow_run_ids}
        for flow_run in pending:
            if flow_run.id not in {*taken, *noted} and _is_orphan(flow_run):
                self._begin(self._adopt_orphan, flow_run)
        for note in noted.values():
            if note.flow_run not in taken:
                self._begin(self._adopt, note)

    async def _flow_runs(self, kind: StateType) -> list[FlowRun]:
        """Give the flow runs of this pool that are in a state of this type."""
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[kind]))
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name]))
        found: list[FlowRun] = []
        while True:
            page = await self.client.read_flow_runs(
                work_pool_filter=pool, flow_run_filter=FlowRunFilter(state=state), limit=_PAGE, offset=len(found)
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def _adopt_orphan(self, flow_run: FlowRun) -> None:
        await self.run(flow_run, await self._configured(flow_run))

    async def _adopt(self, note: Note) -> None:
        """Go on with a flow run where the worker that submitted it stopped."""
        # Another process may see to it.
        with contextlib.suppress(OutputBusy):
            async with self._seen_to(note.flow_run, waits=False) as watched:
                try:
                    flow_run = await self.client.read_flow_run(note.flow_run)
                except ObjectNotFound:
                    self._notes.forget(note.flow_run)
                    return
                await self._go_on(note, flow_run, watched)

    async def _go_on(self, note: Note, flow_run: FlowRun, watched: _Watched) -> None:
        runs = runs_here()
        run_folder = runs.folder(note.key)
        receipt, folder = runs.receipt(run_folder), runs.last(run_folder)
        if receipt is not None:
            await self._report(flow_run.id, receipt)
            return
        logger = self.get_flow_run_logger(flow_run)
        if folder is None or run.intent_of(folder) is None:
            if _is_wanted(flow_run):
                await self._submit(flow_run, await self._configured(flow_run), watched)
        elif _is_wanted(flow_run) and content_of(Path(folder.job)) is None:
            await self._submit_again(note, folder, flow_run, watched)
        else:
            await self._find(note, folder, flow_run, watched)
        if watched.job is None:
            self._notes.forget(flow_run.id)
            return
        logger.info("worker %r goes on with job %s on %s", self.name, watched.job, note.place)
        if flow_run.state is not None and flow_run.state.is_pending() and watched.attempt is not None:
            await self.client.update_flow_run(flow_run.id, infrastructure_pid=_pid_of(watched))
        await self._see_through(flow_run, watched)

    async def _find(self, note: Note, folder: AttemptFolder, flow_run: FlowRun, watched: _Watched) -> None:
        """Find the job of an attempt; where there is none, nothing was submitted."""
        runs = runs_here()
        async with reach(place.parse(note.place), runs) as host:
            watched.job = await host.find(folder)
        request = known_request(flow_run.id, note.submission)
        watched.attempt = Attempt(request=request, folder=folder, place=note.place)

    async def _cancel_what_is_to_be(self) -> None:
        """Look for flow runs that are cancelled, for as long as any is seen to."""
        if self._looks_for_cancelled:
            return
        self._looks_for_cancelled = True
        try:
            while self._watched:
                await runs_here().clock.sleep(_LOOKED_EVERY)
                with contextlib.suppress(httpx.HTTPError):
                    for flow_run in await self._flow_runs(StateType.CANCELLING):
                        if flow_run.id in self._watched:
                            self._cancel_in_time(flow_run, self._watched[flow_run.id])
        finally:
            self._looks_for_cancelled = False

    def _cancel_in_time(self, flow_run: FlowRun, watched: _Watched) -> None:
        """Cancel a job whose flow run has had its time to end by itself; one that has not begun needs none."""
        if watched.job is None or watched.is_cancelled:
            return
        now = runs_here().clock.now()
        watched.wanted_since = watched.wanted_since or now
        if flow_run.start_time is None or now - watched.wanted_since >= watched.grace:
            watched.is_cancelled = True
            self._begin(self._cancel_job, flow_run, watched)

    async def _cancel_job(self, flow_run: FlowRun, watched: _Watched) -> None:
        attempt, job, runs = watched.attempt, watched.job, runs_here()
        if attempt is None or job is None:
            return
        self.get_flow_run_logger(flow_run).info("cancelling job %s on %s", job, attempt.place)
        async with reach(place.parse(attempt.place), runs) as host:
            await run.cancel(attempt.folder, job, runs=runs, host=host)

    def _begin(self, act: Any, *given: Any) -> None:
        """Do something beside all else, as long as this worker runs; what goes wrong is told, and tried again."""

        async def told() -> None:
            try:
                await act(*given)
            except Exception:
                # One flow run's trouble is no other's.
                self._logger.exception("could not see to a flow run; it is tried again")

        if self._runs_task_group is not None:
            self._runs_task_group.start_soon(told)

    # -- who sees to what

    @property
    def _notes(self) -> Notes:
        return Notes(home=runs_here().home, pool=self._work_pool_name)

    @contextlib.asynccontextmanager
    async def _seen_to(self, flow_run: UUID, *, waits: bool = True) -> AsyncIterator[_Watched]:
        """Be the one process that sees to a flow run, waiting for another one where there is."""
        watched = _Watched()
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._notes.alone(flow_run))
                    break
                except OutputBusy:
                    if not waits:
                        raise
                await runs_here().clock.sleep(_PAUSE)
            self._watched[flow_run] = watched
            held.callback(self._watched.pop, flow_run, None)
            self._begin(self._cancel_what_is_to_be)
            held.callback(asking.reset, asking.set(Asker(flow_run_id=str(flow_run))))
            yield watched


def _pid_of(watched: _Watched) -> str:
    """Give by what a flow run's job is known: its cluster, and its name there."""
    if watched.attempt is None:
        raise AssertionError("what was submitted has an attempt")
    return f"{watched.attempt.place}:{watched.attempt.folder.token}"


def _is_orphan(flow_run: FlowRun) -> bool:
    """Whether a worker took this flow run, and died before it had noted so."""
    if flow_run.state is None or flow_run.infrastructure_pid:
        return False
    return runs_here().clock.now() - flow_run.state.timestamp >= _ORPHANED


def _is_wanted(flow_run: FlowRun) -> bool:
    """Whether a job that was not submitted is to be."""
    return flow_run.state is not None and (flow_run.state.is_pending() or flow_run.state.is_running())
