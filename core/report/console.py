"""The terminal: where sluiceway prints for people, and the handler that shows core's events there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler

from sluiceway.core.events import show_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def for_results() -> Console:
    """Give the console on standard output, for what was asked for."""
    return Console(highlight=False, soft_wrap=True)


def for_remarks() -> Console:
    """Give the console on standard error, for errors, progress and everything else that is not the answer."""
    return Console(stderr=True, highlight=False)


def show_events(level: str) -> None:
    """Show core's events on standard error, from this level on."""
    show_by(RichHandler(console=for_remarks(), show_path=False, log_time_format="[%X]"), level=level)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each kind of work that tells how far it is."""
    from rich.progress import (  # noqa: PLC0415 - most commands show none
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=for_remarks(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        yield advance
