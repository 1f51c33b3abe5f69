"""`sluiceway up`: Prefect's server with its pages, a worker, and all our deployments, for as long as the command runs.

The server and the worker are programs of their own: one that dies is started again. When the command ends, however it
is told to, both end, and whatever runs the worker has started. Jobs that these have submitted or started go on, by
design: the next reconcile collects them.
"""

from __future__ import annotations

import asyncio
import json
import platform
import signal
import sys
from collections import Counter, deque
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from sluiceway.core.errors import PortTaken
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.report import console
from sluiceway.core.store.durable import write_whole
from sluiceway.core.store.lock import exclusive
from sluiceway.deployments import register
from sluiceway.deployments.daemon import Daemon
from sluiceway.deployments.devcluster.machine import is_free
from sluiceway.deployments.direct_or_flow import UP
from sluiceway.deployments.processes import listener_on
from sluiceway.deployments.server import Serving, until_healthy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

    from sluiceway.core.remote.clock import Clock

_TICK: Final = timedelta(seconds=1)
_MOST_STARTS: Final = 5
_PER: Final = timedelta(minutes=10)
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - what a user may ask for
_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user asks of `up`.

    Args:
        home: Our home; the server's and the worker's files go below it.
        folder: Where flow runs start.
        host: Where the server listens.
        port: On which port.
        database: The URL of the server's database; without one, a file in our home.
        refresh: Whether to start a refresh, which does what is missing.
    """

    home: Path
    folder: Path
    host: str = "127.0.0.1"
    port: int = 4200
    database: str | None = field(default=None, repr=False)
    refresh: bool = True

    @property
    def url(self) -> str:
        """Where people find the pages: a server that listens everywhere is found by the machine's name."""
        return f"http://{platform.node() if self.host in _EVERYWHERE else self.host}:{self.port}"

    @property
    def api(self) -> str:
        """Where programs on this machine find the API, whether or not its name leads anywhere."""
        return f"http://{'127.0.0.1' if self.host in _EVERYWHERE else self.host}:{self.port}/api"

    @property
    def serving(self) -> Serving:
        """How the server runs."""
        return Serving(url=self.url, home=self.home / "prefect", host=self.host, database=self.database)


def run_up(asked: Asked) -> None:
    """Be up until Ctrl-C, or until told to end."""
    if not is_free(asked.port):
        holder = listener_on(asked.port) or "another program"
        raise PortTaken(
            port=asked.port, purpose="Prefect's server", holder=holder, instead="choose another with --port"
        )
    with exclusive(asked.home / "up", purpose=f"up at {asked.url}"):
        answer = console.for_results()
        answer.print(f"Prefect: [bold]{asked.url}[/bold]")
        answer.file.flush()
        with temporary_settings({PREFECT_API_URL: asked.api}):
            asyncio.run(_until_told(asked))


async def _until_told(asked: Asked) -> None:
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    told = asyncio.Event()

    def end() -> None:
        # Once is enough: whoever is impatient must not leave anything behind.
        if main is not None and not told.is_set():
            told.set()
            main.cancel()

    for each in _ENDS:
        loop.add_signal_handler(each, end)
    try:
        await _serve(asked)
    except asyncio.CancelledError:
        if not told.is_set():
            raise
        _remark("ended; nothing of it runs any more")


async def _serve(asked: Asked) -> None:
    clock, server, worker = SystemClock(), asked.serving.daemon(), _worker(asked)
    async with AsyncExitStack() as ending:
        ending.push_async_callback(server.stop)
        await server.start()
        await until_healthy(server)
        done = await register.register(register.Wishes(folder=asked.folder))
        _tell(done)
        ending.push_async_callback(worker.stop_with_all, clock)
        await worker.start()
        with _announced(asked):
            if asked.refresh:
                _remark(await _refresh())
            _remark("up; Ctrl-C ends it")
            await _kept_alive([server, worker], clock)


def _worker(asked: Asked) -> Daemon:
    home = asked.home / "prefect"
    return Daemon(
        name="the worker",
        argv=(
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", register.POOL, "--type", "process", "--install-policy", "never"),
        ),
        variables={
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": asked.api,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        },
        log=home / "worker.log",
        pid_file=home / f"worker-{asked.port}.pid",
        shell=LocalShell(),
    )


def _tell(done: list[register.Registered]) -> None:
    counted = Counter(each.change for each in done)
    said = ", ".join(f"{number} {word}" for word, number in counted.items())
    _remark(f"blocks, deployments and automations: {said}")


@contextmanager
def _announced(asked: Asked) -> Iterator[None]:
    """Let every verb find the server meanwhile."""
    place = asked.home / UP
    write_whole(place, json.dumps({"api": asked.api}).encode())
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


async def _refresh() -> str:
    """Start a refresh unless one is on its way: it plans by content, and does what is missing."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("refresh-catalog/refresh")
        if await _is_on_its_way(client, deployment.id):
            return "a refresh is on its way already"
        run = await client.create_flow_run_from_deployment(deployment.id)
    return f"a refresh was started: {run.name}"


async def _is_on_its_way(client: PrefectClient, deployment: UUID) -> bool:
    found = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING]))
        ),
        limit=1,
    )
    return bool(found)


async def _kept_alive(daemons: list[Daemon], clock: Clock) -> None:
    """Start again what dies; what dies again and again is an error."""
    starts: dict[str, deque[datetime]] = {each.name: deque(maxlen=_MOST_STARTS) for each in daemons}
    while True:
        await clock.sleep(_TICK)
        for each in daemons:
            if await each.is_alive():
                continue
            before = starts[each.name]
            if len(before) == _MOST_STARTS and clock.now() - before[0] < _PER:
                raise each.failed_to("stay alive")
            before.append(clock.now())
            _remark(f"{each.name} has died; starting it again (its log: {each.log})")
            await each.start()


def _remark(text: str) -> None:
    console.for_remarks().print(text, soft_wrap=True, markup=False)
