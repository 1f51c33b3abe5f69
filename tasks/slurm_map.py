"""What `.map` of a function gives: one Prefect task run for all items, and a future for each of them.

A task run for each of thousands of items is more than Prefect's server keeps up with. So the items are states inside of
one task run's result, which fails if one of them did; each has a future all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect.futures import PrefectFuture, PrefectFutureList, PrefectTaskRunFuture
from prefect.results import get_result_store
from prefect.states import Completed, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prefect.client.schemas.objects import State

    from sluiceway.core.runs.answers import Answer

R = TypeVar("R")


class ItemFuture(PrefectTaskRunFuture[R]):
    """What one item of a map will come to; its task run is that of all items."""

    def __init__(self, whole: PrefectFuture[Any], index: int) -> None:
        """Wait for the item of this number among those of a task run."""
        super().__init__(whole.task_run_id)
        self._whole = whole
        self._index = index

    @property
    def state(self) -> State[Any]:
        """The item's state once all have ended, else that of the task run."""
        return self._final_state or self._whole.state

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all items have ended, or for so many seconds."""
        self._whole.wait(timeout)
        if self._final_state is None and self._whole.state.is_final():
            found = self._whole.result(raise_on_failure=False)
            # Where the task run itself came to nothing, so did each item.
            self._final_state = found[self._index] if isinstance(found, list) else Failed(data=found)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:  # noqa: FBT001, FBT002 - Prefect's
        """Give what the function returned for this item; raise what it raised, or give it where that is asked for."""
        self.wait(timeout)
        if self._final_state is None:
            raise TimeoutError(f"item {self._index} did not end within {timeout} seconds")
        found: Any = self._final_state.data
        if not self._final_state.is_failed():
            return cast("R", found.result)
        if raise_on_failure:
            raise found
        return cast("R", found)

    def add_done_callback(self, fn: Callable[[PrefectFuture[R]], None]) -> None:
        """Call a function with this once all items have ended."""

        def call(_whole: PrefectFuture[Any]) -> None:
            self.wait()
            fn(self)

        self._whole.add_done_callback(call)


def futures_of(whole: PrefectFuture[Any], n_items: int) -> PrefectFutureList[Any]:
    """Give the futures of all items of a task run, in their order."""
    futures: list[PrefectFuture[Any]] = [ItemFuture(whole, index) for index in range(n_items)]
    # Prefect's own code makes them like this; its types have no __next__ for it.
    return PrefectFutureList(futures)  # type: ignore[abstract]


def state_of(answers: Sequence[Answer]) -> State[Any]:
    """Give the task run's state: every item's own, and failed where one of them is."""
    states = [_state(each) for each in answers]
    failed = [index for index, each in enumerate(states) if each.is_failed()]
    if not failed:
        return Completed(message=f"{len(states)} calls returned", data=states)
    first = states[failed[0]].message
    return Failed(message=f"{len(failed)} of {len(states)} calls failed; item {failed[0]}: {first}", data=states)


def _state(answer: Answer) -> State[Any]:
    try:
        # A record, for bare data of none would look like data that is gone.
        return Completed(data=get_result_store().create_result_record(answer.value()))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this item's and fails no other
        return Failed(message=f"{type(error).__name__}: {error}", data=error)
