"""A Python function as a Prefect task whose body runs at a place: this machine, or a cluster's nodes.

    @slurm_task(on="west", resources=Resources(cpus=4, memory="16G", time="2h"))
    def align(sample: str) -> int: ...

In a flow it is called, submitted and mapped as any task is; `align.fn(...)` and `align.each(...)` do the same without
Prefect's server. A map is one task run and Slurm's own arrays (`tasks.slurm_map`). What is done already is found by the
calls' own key (`core.runs.function`), whoever asks, besides what Prefect caches.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.callables import expand_mapping_parameters, get_call_parameters, parameters_to_args_kwargs
from prefect.utilities.engine import resolve_inputs_sync

from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.blocks.slurm import cluster_of_block
from sluiceway.core.runs import callers, run
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import STANDS_FOR, Calls, Item, answer_of, has_returned
from sluiceway.core.runs.hosts import array_host_at, host_at, runs_here
from sluiceway.core.runs.place import Local, Place, parse
from sluiceway.core.runs.retries import Retries
from sluiceway.tasks import output_page, run_log
from sluiceway.tasks.asker import asked_here
from sluiceway.tasks.run_page import RunPage
from sluiceway.tasks.slurm_cancel import this_flow_run
from sluiceway.tasks.slurm_map import futures_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFutureList

    from sluiceway.core.runs.answers import Answer
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.runs.run import Runs
    from sluiceway.core.slurm.resources import Resources

_MOST_SHOWN = 10

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a function's calls run, and with what."""

    place: Place
    resources: Resources | None = None
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    pack: int = 1
    throttle: int | None = None
    retries: Retries | None = None
    env: str | None = None

    @property
    def python(self) -> str | None:
        """The interpreter there; none where the one on PATH is meant."""
        if self.env is not None:
            return None
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

    def map(  # type: ignore[override]  # it takes what Prefect's takes, and its overloads say no more
        self,
        *arguments: Any,
        return_state: bool = False,
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        deferred: bool = False,
        **named: Any,
    ) -> PrefectFutureList[Any] | list[State[Any]]:
        """Call the function for each item, all in one task run, as arrays where the place has them.

        What is iterable is mapped over, unless it is `unmapped`; everything else every call gets.
        """
        if deferred:
            return cast("PrefectFutureList[Any]", super().map(*arguments, wait_for=wait_for, deferred=True, **named))
        given = get_call_parameters(self.fn, arguments, named, apply_defaults=False)
        upstream = [each for each in given.values() if isinstance(each, PrefectFuture)]
        items = expand_mapping_parameters(self.fn, resolve_inputs_sync(given, max_depth=0))
        whole: PrefectFuture[Any] = self._array.submit(items, wait_for=[*upstream, *(wait_for or ())])
        futures = futures_of(whole, len(items))
        if not return_state:
            return futures
        futures.wait()
        return [each.state for each in futures]

    def each(self, *arguments: Any, **named: Any) -> list[Answer]:
        """Call the function for each item, as `map` does but without Prefect, and give all answers."""
        given = get_call_parameters(self.fn, arguments, named, apply_defaults=False)
        return self._answers(expand_mapping_parameters(self.fn, given))

    @property
    def _array(self) -> Task[..., Any]:
        """The task of a whole map; what is done already, its key finds."""

        def array(items: list[dict[str, Any]]) -> State[Any]:
            return state_of(self._answers(items))

        return Task(
            array,
            name=f"{self.name}.map",
            description=self.description,
            tags=self.tags,
            cache_policy=NO_CACHE,
            retries=self.retries,
            retry_delay_seconds=self.retry_delay_seconds,
        )

    def _answers(self, items: Iterable[dict[str, Any]]) -> list[Answer]:
        calls = self.where.calls(self.function, *(_item(self.function, each) for each in items))
        return run_coro_as_sync(_call_each(calls, self.where)) if calls.items else []

    def with_options(self, **options: Any) -> SlurmTask[P, R]:
        """Give the same task with other options of Prefect's."""
        task = copy.copy(self)
        vars(task).update(vars(super().with_options(**options)))
        return task


def slurm_task(  # noqa: PLR0913 - one per option
    *,
    on: str = "local",
    resources: Resources | None = None,
    environment: str | None = None,
    variables: Mapping[str, str] | None = None,
    pack: int = 1,
    throttle: int | None = None,
    retries_by_cause: Retries | int = 0,
    env: str | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], SlurmTask[P, R]]:
    """Make a function a Prefect task whose body runs at a place.

    Args:
        on: Where it runs: `local`, or the name of a cluster.
        resources: What a job there asks for.
        environment: The folder of a Python environment there, of the same minor version as this one; left out, it is
            the Python on PATH there, and this very one on this machine.
        variables: What is set in the function's environment there.
        pack: How many items of a map one element of an array makes, one after the other.
        throttle: How many elements of a map run at once; left out, it is as many as the cluster lets run, and one for
            each processor on this machine.
        retries_by_cause: How often what lacked memory or time, was preempted, or lost its node is made again, asked for
            better: a call, or of a map those elements alone.
        env: The environment that it runs in there, by the name of its block or of its table in clusters.toml.
        options: The options of every Prefect task, such as `retries`.
    """
    where = Where(
        place=parse(on),
        resources=resources,
        environment=environment,
        variables=dict(variables or {}),
        pack=pack,
        throttle=throttle,
        retries=_policy(retries_by_cause),
        env=env,
    )
    return lambda function: SlurmTask(function, where=where, **options)


def _policy(retries: Retries | int) -> Retries | None:
    if isinstance(retries, Retries):
        return retries
    return Retries(most=retries) if retries else None


def _body(function: Callable[P, R], where: Where) -> Callable[P, R]:
    """Give what looks like the function, and calls it at the place."""

    def ask(arguments: tuple[Any, ...], named: dict[str, Any]) -> RunRequest:
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
    _show_events()
    request = replace(request, runtime=await runtime_named(where.env))
    folder = runs.folder(request.key)
    page = _page(runs, log=Path(folder.path))
    noted = callers.waiting(runs, this_flow_run(), folder.key)
    async with host_at(where.place, runs, wish=where.resources, find=cluster_of_block) as host:
        with noted, asked_here():
            receipt = await run.run(
                request, runs=runs, host=host, place=where.place, heard=page or run.nobody, retries=where.retries
            )
    if page is not None:
        await page.finish()
        await output_page.show_here(receipt.folder)
    return _answer_in(receipt)


async def _call_each(calls: Calls, where: Where) -> list[Answer]:
    """Run a map to its end, showing what its elements say on the task run's page, and give all answers."""
    runs = runs_here()
    _show_events()
    calls = replace(calls, runtime=await runtime_named(where.env))
    page = _page(runs, log=runs.home)
    found = array_host_at(where.place, runs, wish=where.resources, find=cluster_of_block, throttle=where.throttle)
    async with found as host:
        arrays = Arrays(
            runs=runs,
            host=host,
            place=where.place,
            pack=where.pack,
            throttle=where.throttle,
            heard=page or run.nobody,
            retries=where.retries,
            caller=this_flow_run(),
        )
        answers = await arrays.answers(calls)
    if page is not None:
        await page.finish()
        for each in _attempts(answers):
            await output_page.show_here(each)
    return answers


def _attempts(answers: list[Answer]) -> list[Path]:
    """Give the attempts that answers are of, each once; of very many, the first."""
    # An answer lies in its element's folder, and that in the attempt's.
    found = dict.fromkeys(each.path.parents[2] for each in answers if each.path is not None)
    return list(found)[:_MOST_SHOWN]


def _item(function: Callable[..., Any], given: dict[str, Any]) -> Item:
    arguments, named = parameters_to_args_kwargs(function, given)
    return Item(arguments=arguments, named=named)


def _answer_in(receipt: RunReceipt) -> Any:
    """Give what the function returned or raise what it raised; raise RunFailed where it came to neither."""
    answers = [receipt.path(each) for each in receipt.outputs]
    # A job that was ended after it had answered has not succeeded all the same.
    if not answers or (has_returned(answers[0]) and not receipt.succeeded):
        raise receipt.failure
    return answer_of(answers[0], receipt.failure)


def _show_events() -> None:
    if _in_a_run():
        run_log.show_events()


def _page(runs: Runs, *, log: Path) -> RunPage | None:
    """Give the page that shows what is said; none outside of a run of Prefect's."""
    return RunPage(runs.clock, log=log) if _in_a_run() else None


def _in_a_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None
