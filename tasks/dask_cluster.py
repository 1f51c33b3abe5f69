"""The Dask cluster of a run: one that is there, the allocation's own, one of Slurm jobs, or one of this machine.

The first of these wins: a scheduler that is named, by `dask:ADDRESS` or by DASK_SCHEDULER_ADDRESS, is used and never
ended; inside of an allocation, its nodes are the workers; `dask@NAME` starts workers as Slurm jobs of that cluster, as
many as there is work for, beside a scheduler on its login node, which is reached over the SSH connection alone; else
there are workers on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import shlex
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from sluiceway.core import settings
from sluiceway.core.environments.uses import DASK
from sluiceway.core.errors import CommandFailed, EngineLost, PlaceUnusable, RemoteError, Unreachable
from sluiceway.core.events import tell
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.held import Connection, held_here
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.access import Access, access_to
from sluiceway.core.runs.hosts import cluster_named
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks import jobqueue_side

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from sluiceway.core.runs.hosts import FindCluster
    from sluiceway.core.runs.place import Dask

    T = TypeVar("T")

log = logging.getLogger(__name__)

_PATIENCE = "30s"
_PAUSE, _END_LIMIT = timedelta(seconds=0.3), timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A Dask cluster: its address from here, why it is this one, and the way to it where it is on a Slurm cluster."""

    address: str
    why: str
    access: Access | None = None
    loop: Background | None = None


class Choice(StrEnum):
    """Which Dask cluster a run works with; the first that there is wins."""

    NAMED = "it was named"
    VARIABLE = "DASK_SCHEDULER_ADDRESS names it"
    ALLOCATION = "this is Slurm's job"
    JOBS = "was asked for"
    HERE = "there is no other"


def chosen(place: Dask, around: settings.Foreign) -> Choice:
    """Choose by what was asked for, and by what there is around this process."""
    if place.address is not None:
        return Choice.NAMED
    if around.dask_scheduler_address is not None:
        return Choice.VARIABLE
    if around.slurm_job_id is not None:
        return Choice.ALLOCATION
    return Choice.HERE if place.cluster is None else Choice.JOBS


@contextmanager
def dask_cluster(place: Dask, *, workers: int, find: FindCluster = cluster_named) -> Iterator[Found]:
    """Give the Dask cluster of a run, as long as the block lasts.

    Args:
        place: What was asked for.
        workers: How many workers on this machine, or at most as Slurm jobs.
        find: Who knows the clusters.
    """
    around = settings.Foreign()
    choice = chosen(place, around)
    with contextlib.ExitStack() as stack:
        match choice:
            case Choice.NAMED:
                found = Found(address=place.address or "", why=choice)
            case Choice.VARIABLE:
                found = Found(address=around.dask_scheduler_address or "", why=choice)
            case Choice.ALLOCATION:
                loop = stack.enter_context(background())
                address = stack.enter_context(loop.held(_in_allocation()))
                found = Found(address=address, why=f"{choice} {around.slurm_job_id}")
            case Choice.JOBS:
                loop = stack.enter_context(background())
                access, address = stack.enter_context(loop.held(_of_jobs(place, find, workers)))
                found = Found(address=address, why=f"{place} {choice}", access=access, loop=loop)
            case _:
                found = Found(address=stack.enter_context(_here(workers)), why=choice)
        tell(log, "dask cluster chosen", address=found.address, because=found.why)
        yield found


@contextmanager
def dask_client(address: str, *, name: str) -> Iterator[Any]:
    """Give a client of a scheduler; when it closes, the scheduler stays."""
    from distributed import Client  # noqa: PLC0415 - takes most of a second

    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise Unreachable(machine=name, reason=str(error)) from error
    level = logging.NOTSET
    try:
        yield client
    except EngineLost:
        # It looks for the scheduler yet, and would say by a traceback that it has stopped.
        level = logging.CRITICAL + 1
        raise
    finally:
        with _from(level, logging.getLogger("distributed.client")):
            client.close()  # type: ignore[no-untyped-call]


@contextmanager
def _from(level: int, of: logging.Logger) -> Iterator[None]:
    """Let somebody say only what has at least this level, as long as the block lasts."""
    before = of.level
    of.setLevel(max(level, before))
    try:
        yield
    finally:
        of.setLevel(before)


@contextmanager
def _here(workers: int) -> Iterator[str]:
    from distributed import LocalCluster  # noqa: PLC0415 - takes most of a second

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@asynccontextmanager
async def _in_allocation() -> AsyncIterator[str]:
    """Start a scheduler on this node, and a worker on every node of the allocation, with all that it has there."""
    with held_here(sys.executable) as holding:
        async with holding.engine(DaskLauncher()) as connection:
            yield connection.address


@asynccontextmanager
async def _of_jobs(place: Dask, find: FindCluster, most: int) -> AsyncIterator[tuple[Access, str]]:
    """Start a scheduler on a cluster's login node, and workers as jobs; give the way there, and the forwarded port."""
    access = await access_to(await find(place.cluster or ""), SystemClock())
    folder = access.base / DASK / secrets.token_hex(8)
    program = folder / "jobqueue_side.py"
    (await access.shell.run(Command.of("mkdir", "-p", "--", str(folder)))).require_success()
    await access.shell.write(program, _program())
    order = json.dumps(order_for(access, folder, most=most))
    running = asyncio.create_task(access.shell.run(Command.of(access.settings.python, str(program), order)))
    try:
        connection = await _told(access, folder, running, place)
        parts = urlsplit(connection.address)
        async with access.shell.forward(parts.hostname or "", parts.port or 0) as (host, port):
            yield access, f"{parts.scheme}://{host}:{port}"
    finally:
        await _end(access, folder, running)


def _program() -> bytes:
    return Path(jobqueue_side.__file__).read_bytes()


def order_for(access: Access, folder: PurePosixPath, *, most: int) -> dict[str, Any]:
    """Say how dask-jobqueue is to ask Slurm for a worker: for all that the cluster's settings say, and nothing else."""
    asked = access.settings.resources_for(Resources())
    cpus, mebibytes = asked.cpus or 1, _mebibytes(asked)
    offered = {"cpus": cpus, "memory": mebibytes << 20, "gpus": _gpus(asked)}
    words = ["--resources", ",".join(f"{name}={value}" for name, value in offered.items())]
    interface = access.settings.dask_interface
    cluster: dict[str, Any] = {
        "cores": cpus,
        "processes": 1,
        "memory": f"{mebibytes} MiB",
        "python": shlex.quote(access.settings.python),
        "job_name": f"sw-dask-{folder.name}",
        # Everything that is asked for is said once, as it is for every other job.
        "job_directives_skip": ["#SBATCH -n ", "#SBATCH --cpus-per-task", "#SBATCH --mem", "#SBATCH -t "],
        "job_extra_directives": [_quoted(each) for each in _directives(asked, cpus, folder)],
        "worker_extra_args": words,
        "local_directory": "/tmp",  # noqa: S108 - of a node: workers make folders of their own in it
        "scheduler_options": {"dashboard_address": ":0"},
        **({} if interface is None else {"interface": interface}),
    }
    return {"folder": str(folder), "cluster": cluster, "adapt": {"minimum_jobs": 1, "maximum_jobs": most}}


def _directives(asked: Resources, cpus: int, folder: PurePosixPath) -> tuple[str, ...]:
    return "--ntasks=1", *asked.model_copy(update={"cpus": cpus}).options, f"--output={folder}/worker-%J.txt"


def _quoted(option: str) -> str:
    # A backslash escapes for sbatch even between quotes.
    escaped = option.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mebibytes(asked: Resources) -> int:
    if asked.memory is not None and asked.memory.mebibytes:
        return asked.memory.mebibytes
    if asked.memory_per_cpu is not None:
        return asked.memory_per_cpu.mebibytes * (asked.cpus or 1)
    raise PlaceUnusable(
        place="dask", reason="a worker's memory must be known: give the cluster's settings `resources` a memory"
    )


def _gpus(asked: Resources) -> int:
    return int((asked.gpus or "0").rpartition(":")[2])


async def _told(access: Access, folder: PurePosixPath, running: asyncio.Task[Any], place: Dask) -> Connection:
    """Wait until the scheduler is there; or raise PlaceUnusable with what went wrong."""
    while not running.done():
        with contextlib.suppress(CommandFailed):
            return Connection.of(await access.shell.read(folder / jobqueue_side.CONNECTION))
        await access.clock.sleep(_PAUSE)
    done = await running
    said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    hint = ""
    if done.exit_code == jobqueue_side.UNUSABLE:
        hint = "; let `python` in the cluster's settings be one on the login node that has it, and the nodes as well"
    raise PlaceUnusable(place=str(place), reason=f"no Dask scheduler came up there: {said[0]}{hint}")


async def _end(access: Access, folder: PurePosixPath, running: asyncio.Task[Any]) -> None:
    """Let the scheduler end its jobs and itself; where it is not reached, it notices that nobody listens."""
    with contextlib.suppress(RemoteError, TimeoutError):
        over = str(folder / jobqueue_side.OVER)
        await access.shell.run(Command.of("touch", "--", over), timeout=_END_LIMIT)
        async with asyncio.timeout(_END_LIMIT.total_seconds()):
            await running
        await access.shell.run(Command.of("rm", "-rf", "--", str(folder)), timeout=_END_LIMIT)


class Background:
    """An event loop in a thread of its own, for whoever works without one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop, which runs."""
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there, and give what comes of it; whoever is interrupted interrupts it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    @contextmanager
    def held(self, manager: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an asynchronous block there, and leave it at the end of this one."""
        value = self.run(_entered(manager))
        try:
            yield value
        finally:
            self.run(_left(manager))


async def _entered(manager: contextlib.AbstractAsyncContextManager[T]) -> T:
    return await manager.__aenter__()


async def _left(manager: contextlib.AbstractAsyncContextManager[T]) -> None:
    await manager.__aexit__(None, None, None)


@contextmanager
def background() -> Iterator[Background]:
    """Give a loop that runs as long as the block lasts; what is left in it then is cancelled."""
    begun: list[asyncio.AbstractEventLoop] = []
    over: list[asyncio.Event] = []
    ready = threading.Event()

    async def live() -> None:
        begun.append(asyncio.get_running_loop())
        over.append(asyncio.Event())
        ready.set()
        await over[0].wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="sluiceway-background", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield Background(begun[0])
    finally:
        begun[0].call_soon_threadsafe(over[0].set)
        thread.join()
