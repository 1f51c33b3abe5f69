"""Tells the log of a flow run what its job prints: each line once, whichever worker hears it, and within bounds."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from sluiceway.core.runs.host import Waiting
from sluiceway.core.runs.run import Line

if TYPE_CHECKING:
    import logging
    from types import TracebackType
    from uuid import UUID

    from sluiceway.blocks.worker_notes import Notes
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.run import Heard

    Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_MOST_LINES, _PER = 500, timedelta(seconds=10)
_KEPT_EVERY = timedelta(seconds=2)


class Teller:
    """Is told all that a job says; lines that an earlier worker has told are passed over."""

    def __init__(self, log: Log, notes: Notes, flow_run: UUID, *, clock: Clock) -> None:
        """Show at most so much per time by this clock."""
        self._log, self._notes, self._flow_run, self._clock = log, notes, flow_run, clock
        self._told = notes.told(flow_run)
        self._heard: Counter[str] = Counter()
        self._since = self._kept = clock.now()
        self._lines = self._left_out = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note how far this came."""
        self._say_what_was_left_out()
        self._keep()

    async def __call__(self, heard: Heard) -> None:
        """Tell one thing; a flow run tells Prefect of its progress by itself."""
        match heard:
            case Line():
                self._heard[heard.stream] += 1
                if self._heard[heard.stream] > self._told.get(heard.stream, 0):
                    self._line(heard.text if heard.stream == "stdout" else f"{heard.stream}: {heard.text}")
            case Waiting():
                self._log.info("waiting: %s", heard.reason)
            case _:
                pass

    def _line(self, text: str) -> None:
        now = self._clock.now()
        if now - self._since >= _PER:
            self._say_what_was_left_out()
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines > _MOST_LINES:
            self._left_out += 1
        else:
            # Halves of characters are refused by the server.
            self._log.info("%s", text.encode("utf-8", "replace").decode())
        if now - self._kept >= _KEPT_EVERY:
            self._keep()
            self._kept = now

    def _say_what_was_left_out(self) -> None:
        if self._left_out:
            self._log.warning("%d lines were left out here; the job's own files have all", self._left_out)
            self._left_out = 0

    def _keep(self) -> None:
        names = {*self._heard, *self._told}
        lines = {name: max(self._heard[name], self._told.get(name, 0)) for name in sorted(names)}
        self._notes.keep_told(self._flow_run, lines)
