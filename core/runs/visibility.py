"""A shared file system shows new files late: whoever reads waits for what is known to be written, and then says so."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from sluiceway.core.errors import PendingVisibility

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import PurePath

    from sluiceway.core.remote.clock import Clock

    T = TypeVar("T")

# acdirmax in nfs(5) is a minute.
LIMIT: Final = timedelta(seconds=75)
_FIRST, _LONGEST = timedelta(milliseconds=100), timedelta(seconds=5)


async def until_visible(
    look: Callable[[], Awaitable[T | None]], *, clock: Clock, machine: str, source: PurePath, limit: timedelta = LIMIT
) -> T:
    """Give what is seen once anything is, or raise PendingVisibility: it is late, and nobody can say that it failed.

    Args:
        look: Gives none as long as the file does not show.
        clock: Tells the time.
        machine: Which machine looks.
        source: The file.
        limit: How long it may be late.
    """
    deadline, pause = clock.now() + limit, _FIRST
    while (seen := await look()) is None:
        if clock.now() >= deadline:
            raise PendingVisibility(machine=machine, source=source, limit=limit)
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST)
    return seen
