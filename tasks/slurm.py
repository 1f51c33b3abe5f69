"""A Python function as a Prefect task whose body runs at a place: this machine, or a cluster's nodes.

    @slurm_task(on="west", resources=Resources(cpus=4, memory="16G", time="2h"))
    def align(sample: str) -> int: ...

In a flow it is called and submitted as any task is; `align.fn(...)` does the same without Prefect's server. What is
done already is found by the call's own key (`core.runs.function`), whoever asks, besides what Prefect caches.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.utilities.asyncutils import run_coro_as_sync

from sluiceway.blocks.slurm import cluster_of_block
from sluiceway.core.runs import run
from sluiceway.core.runs.function import STANDS_FOR, Calls, Item, answer_of
from sluiceway.core.runs.hosts import host_at, runs_here
from sluiceway.core.runs.place import Local, Place, parse
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.tasks import run_log
from sluiceway.tasks.run_page import RunPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.slurm.resources import Resources

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a function's calls run, and with what."""

    place: Place
    resources: Resources | None = None
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str | None:
        """The interpreter there; none where the one on PATH is meant."""
        if self.environment is None:
            return sys.executable if isinstance(self.place, Local) else None
        return f"{self.environment.rstrip('/')}/bin/python"

    def calls(self, function: Callable[..., Any], *items: Item) -> Calls:
        """Give calls of a function as they are made there."""
        return Calls(function=function, items=items, python=self.python, variables=self.variables)


class SlurmTask(Task[P, R]):
    """A Prefect task whose body runs at a place; `function` is the function itself, which runs where it is called."""

    def __init__(self, function: Callable[P, R], *, where: Where, **options: Any) -> None:
        """Make a task of a function; the options are those of every Prefect task."""
        self.where = where
        self.function = function
        super().__init__(_body(function, where), **options)

    def with_options(self, **options: Any) -> SlurmTask[P, R]:
        """Give the same task with other options of Prefect's."""
        task = copy.copy(self)
        vars(task).update(vars(super().with_options(**options)))
        return task


def slurm_task(
    *,
    on: str = "local",
    resources: Resources | None = None,
    environment: str | None = None,
    variables: Mapping[str, str] | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], SlurmTask[P, R]]:
    """Make a function a Prefect task whose body runs at a place.

    Args:
        on: Where it runs: `local`, or the name of a cluster.
        resources: What a job there asks for.
        environment: The folder of a Python environment there, of the same minor version as this one; left out, it is
            the Python on PATH there, and this very one on this machine.
        variables: What is set in the function's environment there.
        options: The options of every Prefect task, such as `retries`.
    """
    where = Where(place=parse(on), resources=resources, environment=environment, variables=dict(variables or {}))
    return lambda function: SlurmTask(function, where=where, **options)


def _body(function: Callable[P, R], where: Where) -> Callable[P, R]:
    """Give what looks like the function, and calls it at the place."""

    def ask(arguments: tuple[Any, ...], named: dict[str, Any]) -> RunRequest:
        if _in_a_run():
            run_log.show_events()
        return where.calls(function, Item(arguments=arguments, named=named)).request()

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def body(*arguments: Any, **named: Any) -> Any:
            return await _call(await asyncio.to_thread(ask, arguments, named), where)

    else:

        @functools.wraps(function)
        def body(*arguments: Any, **named: Any) -> Any:
            # Prefect's own loop for such callers: all calls share one connection and one watcher in it.
            return run_coro_as_sync(_call(ask(arguments, named), where))

    # Called inside of another call, it is the plain function.
    setattr(body, STANDS_FOR, function)
    return cast("Callable[P, R]", body)


async def _call(request: RunRequest, where: Where) -> Any:
    """Run a call to its end, showing what it says on the task run's page, and give its answer."""
    runs = runs_here()
    async with host_at(where.place, runs, wish=where.resources, find=cluster_of_block) as host:
        staged = await run.stage(request, runs=runs, host=host, place=where.place)
        if isinstance(staged, RunReceipt):
            return _answer_in(staged)
        page = RunPage(runs.clock, log=Path(staged.folder.stdout)) if _in_a_run() else None
        job = await run.submit(staged, runs=runs, host=host)
        ending = await run.await_end(staged, job, host=host, heard=page or run.nobody)
        if page is not None:
            await page.finish()
        return _answer_in(await run.collect(staged, ending, runs=runs, host=host))


def _answer_in(receipt: RunReceipt) -> Any:
    """Give what the function returned or raise what it raised; raise RunFailed where it came to neither."""
    if not receipt.outputs:
        raise receipt.failure
    return answer_of(receipt.path(receipt.outputs[0]), receipt.failure)


def _in_a_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None
