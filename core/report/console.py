"""The terminal: where sluiceway prints for people, and the handler that shows core's events there."""

from __future__ import annotations

from rich.console import Console
from rich.logging import RichHandler

from sluiceway.core.events import show_by


def for_results() -> Console:
    """Give the console on standard output, for what was asked for."""
    return Console(highlight=False, soft_wrap=True)


def for_remarks() -> Console:
    """Give the console on standard error, for errors, progress and everything else that is not the answer."""
    return Console(stderr=True, highlight=False)


def show_events(level: str) -> None:
    """Show core's events on standard error, from this level on."""
    show_by(RichHandler(console=for_remarks(), show_path=False, log_time_format="[%X]"), level=level)
