"""An event loop in a thread of its own, for code that waits for nothing while it computes but must renew its claims."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Answer = TypeVar("Answer")


class Background:
    """A loop that runs beside its caller, for as long as the block lasts."""

    def __init__(self) -> None:
        """Prepare it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="registry", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End what still runs there, and the thread."""
        self.call(_cancel_all_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Do something there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def blocking(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Do something that waits, from code that cannot, whether or not a loop runs in this thread."""
    with Background() as background:
        return background.call(work)


async def _cancel_all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
