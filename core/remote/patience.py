"""How long to keep trying: pauses that grow, up to a longest one, until a total is used up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Pauses between tries, doubling from the first to the longest, together no longer than the total.

    >>> seconds = Patience(first=timedelta(seconds=1), longest=timedelta(seconds=3), total=timedelta(seconds=9))
    >>> [pause.total_seconds() for pause in seconds.pauses()]
    [1.0, 2.0, 3.0, 3.0]
    """

    first: timedelta = timedelta(seconds=0.25)
    longest: timedelta = timedelta(seconds=15)
    total: timedelta = timedelta(seconds=60)

    def pauses(self) -> Iterator[timedelta]:
        """Give each pause in turn; the end means: give up."""
        pause, spent = self.first, timedelta()
        while spent + pause <= self.total:
            yield pause
            spent += pause
            pause = min(2 * pause, self.longest)
