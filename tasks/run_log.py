"""Shows core's events in the log of the Prefect run in which they happen, and passes on those that others wait for."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger, get_run_logger

from sluiceway.core.events import ROOT, Event, show_by
from sluiceway.tasks.run_events import pass_on


class RunLogHandler(logging.Handler):
    """Hands each event to the logger of the current task or flow run, or to Prefect's own outside of one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one event on."""
        in_run = FlowRunContext.get() is not None or TaskRunContext.get() is not None
        log = get_run_logger() if in_run else get_logger(ROOT)
        log.log(record.levelno, "%s", record.getMessage())
        event = getattr(record, "event", None)
        if in_run and isinstance(event, Event):
            pass_on(event)


def show_events() -> None:
    """Show core's events in run logs from now on."""
    show_by(RunLogHandler())
