"""Engines as Prefect tasks, for flows that work with one over several steps: started once, warm for all of them.

An engine is held in an allocation on a cluster, which is a session (`core.slurm.session`), or on this machine; where
this machine is itself a node of an allocation, all of its nodes have a part.
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from prefect import task
from prefect.artifacts import acreate_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.blocks.slurm import cluster_of_block
from sluiceway.core.environments.entering import ENGINES, words_here
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.launch.held import Connection, Holding, held_here
from sluiceway.core.launch.launcher import EngineLauncher
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.place import Cluster, Local, parse
from sluiceway.core.runs.sessions import entering
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.shell import Command, Completed, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where an engine is held, and in what: as the tasks of this module are told."""

    on: str
    resources: Resources | None = None
    python: str | None = None
    env: str | None = None


class Engine:
    """An engine that runs: `async with await start_dask(...) as engine`, or end it with `await engine.end()`."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._stack = AsyncExitStack()
        self._holding: Holding
        self.connection: Connection
        self.session: Session | None = None
        self.address = ""
        self.dashboard = ""

    @property
    def inside(self) -> str:
        """Where the engine is for whatever runs in its allocation; `address` and `dashboard` are for this machine."""
        return self.connection.address

    @property
    def variables(self) -> dict[str, str]:
        """By which variables a program that runs beside the engine finds it, where its launcher says so."""
        return self.connection.variables

    async def __aenter__(self) -> Self:
        """Use it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        await self.end()

    async def end(self) -> None:
        """End the engine, and release its allocation."""
        await self._stack.aclose()

    async def run(self, command: Command, *, needs: timedelta = timedelta()) -> Completed:
        """Run a program beside the engine, on its first node, where it finds the engine by its variables.

        On a cluster it is a step of the allocation, and no client's connection has to last as long as it does.

        Args:
            command: The program; in what it runs is what the engine runs in.
            needs: How much time it needs; SessionLost where the allocation has less.
        """
        beside = self.connection.beside(command)
        if self.session is None:
            return await self._holding.run(beside)
        head = str(self.connection.nodes[0]["node"])
        return await self.session.run(beside, options=("--nodes=1", "--ntasks=1", f"--nodelist={head}"), needs=needs)

    async def begin(self, launcher: EngineLauncher, where: Where) -> None:
        """Start it, and wait until it is ready; what was begun ends where it does not become so."""
        async with AsyncExitStack() as stack:
            self._holding = holding = await self._held(where, stack)
            self.connection = await stack.enter_async_context(holding.engine(launcher))
            self.address = await _from_here(self.connection.client or self.connection.address, holding.shell, stack)
            self.dashboard = await _from_here(self.connection.dashboard, holding.shell, stack)
            self._stack = stack.pop_all()

    async def _held(self, where: Where, stack: AsyncExitStack) -> Holding:
        runtime = await runtime_named(where.env)
        # Of an environment it is the first one on its PATH.
        python = where.python or ("python3" if runtime else None)
        match parse(where.on):
            case Local():
                holding = stack.enter_context(held_here(python or "python3"))
                return holding if runtime is None else await _inside(holding, runtime, stack)
            case Cluster(name):
                known = await cluster_of_block(name)
                access = await access_to(known, SystemClock())
                folder = access.base / ENGINES / secrets.token_hex(8)
                wish = known.resources_for(where.resources or Resources())
                enters = await entering(runtime, access, wish, folder)
                session = Session(access.cluster, resources=wish, folder=folder / "allocation", enters=enters)
                self.session = await stack.enter_async_context(session)
                used = python or known.python
                return Holding(shell=access.shell, clock=access.clock, folder=folder, run=session.run, python=used)
            case place:
                raise PlaceUnusable(place=str(place), reason="an engine is held by local, or a cluster")


async def _inside(holding: Holding, runtime: Runtime, stack: AsyncExitStack) -> Holding:
    """Let what is held on this machine run in an environment."""
    shell = holding.shell
    enters = await stack.enter_async_context(words_here(runtime, shell, holding.clock))
    return replace(holding, run=lambda command: shell.run(replace(command, argv=(*enters, *command.argv))))


async def _from_here(url: str, shell: Shell, stack: AsyncExitStack) -> str:
    """Give the same URL as this machine reaches it."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        return url
    host, port = await stack.enter_async_context(shell.forward(parts.hostname, parts.port))
    return parts._replace(netloc=f"{host}:{port}").geturl()


async def started(name: str, where: Where, options: Mapping[str, Any]) -> Engine:
    """Start an engine by its launcher's name, for the tasks of this module; its dashboard is an artifact of the run."""
    launcher = launcher_named(name, options)
    if not isinstance(launcher, EngineLauncher):
        raise PlaceUnusable(place=where.on, reason=f"{name} starts no engine")
    engine = Engine()
    await engine.begin(launcher, where)
    # Without a run there is no page, and Prefect would start a server just for this.
    if engine.dashboard and TaskRunContext.get() is not None:
        about = f"{name.capitalize()}'s dashboard"
        await acreate_link_artifact(engine.dashboard, key=f"{name}-dashboard", description=about)
    return engine


@task(cache_policy=NO_CACHE)
async def start_dask(
    on: str = "local",
    *,
    resources: Resources | None = None,
    python: str | None = None,
    env: str | None = None,
    **options: Any,
) -> Engine:
    """Start a Dask cluster, one worker on each node, and give where it is: `engine.address` is the scheduler.

    Args:
        on: `local`, or the name of a cluster, where an allocation is held for it.
        resources: What to ask of the cluster.
        python: A Python there that has Dask; else the one on PATH here, or of the cluster's settings there.
        env: The environment that has Dask, by the name of its block or of its table in clusters.toml.
        options: Options of the launcher, such as `nodes`, `threads` or `memory`.
    """
    return await started("dask", Where(on=on, resources=resources, python=python, env=env), options)


@task(cache_policy=NO_CACHE)
async def start_ray(
    on: str = "local",
    *,
    resources: Resources | None = None,
    python: str | None = None,
    env: str | None = None,
    **options: Any,
) -> Engine:
    """Start a Ray cluster on all nodes, and give where it is: `engine.address` is for Ray's client, from anywhere.

    `ray.init(engine.address)` needs the Python and Ray of the cluster; jobs submitted to `engine.dashboard` need
    neither. What `engine.run` runs beside the engine finds the cluster by `ray.init()`, and needs nothing here.

    Args:
        on: `local`, or the name of a cluster, where an allocation is held for it.
        resources: What to ask of the cluster.
        python: A Python there that has Ray; else the one on PATH here, or of the cluster's settings there.
        env: The environment that has Ray, by the name of its block or of its table in clusters.toml.
        options: Options of the launcher, such as `nodes`, `cpus` or `object_store`.
    """
    return await started("ray", Where(on=on, resources=resources, python=python, env=env), options)


@task(cache_policy=NO_CACHE)
async def start_spark(
    on: str = "local",
    *,
    resources: Resources | None = None,
    python: str | None = None,
    env: str | None = None,
    **options: Any,
) -> Engine:
    """Start a Spark cluster, one worker on each node, and give where it is: `engine.address` is the master.

    With the option `connect`, it is a server of Spark Connect, which a flow uses from wherever it runs. Without it,
    programs beside the engine use the cluster, by `engine.variables`.

    Args:
        on: `local`, or the name of a cluster, where an allocation is held for it.
        resources: What to ask of the cluster.
        python: A Python there that has Spark; else the one on PATH here, or of the cluster's settings there.
        env: The environment that has Spark, by the name of its block or of its table in clusters.toml.
        options: Options of the launcher, such as `nodes`, `memory` or `connect`.
    """
    return await started("spark", Where(on=on, resources=resources, python=python, env=env), options)
