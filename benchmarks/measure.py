"""A figure, and a watch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something measured, beside the same done by another where there is one; a ratio above 1 says ours took longer."""

    what: str
    ours: float
    unit: str
    beside: str = ""
    theirs: float | None = None

    @property
    def cells(self) -> tuple[str, str, str]:
        """What a table shows: ours, theirs, ratio."""
        ours = f"{self.ours:.3g} {self.unit}"
        if self.theirs is None:
            return ours, "", ""
        return ours, f"{self.beside}: {self.theirs:.3g} {self.unit}", f"{self.ours / self.theirs:.2f}"


class Stopwatch:
    """Seconds from the beginning of a block to its end."""

    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
