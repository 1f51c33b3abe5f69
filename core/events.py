"""Structured events: what core tells while it works, as records of the standard logging module.

An event is one line for a person and, on the same record, the step, the run it belongs to and its figures for a
program. Who shows them is not core's business: the console and Prefect's run logger are handlers of the logger
"sluiceway", one at a time, so that nothing is told twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

Figure = str | int | float | None

ROOT = "sluiceway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: in which step of which run, with which figures.

    >>> str(Event(step="job submitted", run_id="3f2a", figures={"job_id": "812", "seconds": 0.21}))
    'job submitted run=3f2a job_id=812 seconds=0.21'
    """

    step: str
    run_id: str | None
    figures: dict[str, Figure]

    def __str__(self) -> str:
        """Give the line a person reads."""
        run = [f"run={self.run_id}"] if self.run_id else []
        return " ".join([self.step, *run, *(f"{name}={value}" for name, value in self.figures.items())])


def tell(
    log: logging.Logger,
    step: str,
    /,
    *,
    level: int = logging.INFO,
    run_id: str | None = None,
    **figures: Figure,
) -> None:
    """Tell an event to whoever listens; the record's attribute `event` holds it whole."""
    event = Event(step=step, run_id=run_id, figures=figures)
    log.log(level, "%s", event, extra={"event": event}, stacklevel=2)


def show_by(handler: logging.Handler, *, level: int | str = logging.INFO) -> None:
    """Let this handler, and no other, show core's events from this level on."""
    log = logging.getLogger(ROOT)
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
