"""Shows what a job says on the page of its run in Prefect: lines in its log, the rest as artifacts, within bounds."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.logging import get_run_logger

from sluiceway.core.runs.host import Waiting
from sluiceway.core.runs.messages import Artifact, Link, LogLine, Metric, Progress, Result, Unreadable
from sluiceway.core.runs.run import Line

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.run import Heard

_MOST_LINES, _PER = 500, timedelta(seconds=10)
_PAUSE = timedelta(seconds=2)


class RunPage:
    """Is told all that a job says; to be called inside a flow or a task."""

    def __init__(self, clock: Clock, *, log: Path) -> None:
        """Show at most so much per time by this clock; the whole log is in that file."""
        self._clock = clock
        self._file = log
        self._log = get_run_logger()
        self._since = clock.now()
        self._lines = 0
        self._left_out = 0
        self._bars: dict[str, tuple[UUID, datetime]] = {}
        self._behind: dict[str, Progress] = {}

    async def __call__(self, heard: Heard) -> None:
        """Show one thing."""
        match heard:
            case Progress():
                await self._progress(heard)
            case Artifact():
                await self._artifact(heard)
            case Link():
                key, told = f"run-{_slug(heard.name)}", f"{_clean(heard.name)}; `sluiceway jobs open` leads there"
                await acreate_link_artifact(_clean(heard.url), key=key, description=told)
            case _:
                self._line(*_told(heard))

    async def finish(self) -> None:
        """Show what was held back."""
        for progress in self._behind.values():
            artifact, _ = self._bars[progress.what]
            await aupdate_progress_artifact(artifact, progress=_share(progress), description=_text(progress))
        self._say_what_was_left_out()

    def _line(self, level: int, text: str) -> None:
        now = self._clock.now()
        if now - self._since >= _PER:
            self._say_what_was_left_out()
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines > _MOST_LINES and level < logging.WARNING:
            self._left_out += 1
        else:
            self._log.log(level, "%s", _clean(text))

    def _say_what_was_left_out(self) -> None:
        if self._left_out:
            self._log.warning("%d lines were left out here; all are in %s", self._left_out, self._file)
            self._left_out = 0

    async def _progress(self, progress: Progress) -> None:
        shown, now = self._bars.get(progress.what), self._clock.now()
        if shown is None:
            key = f"run-progress-{_slug(progress.what)}"
            artifact = await acreate_progress_artifact(_share(progress), key=key, description=_text(progress))
            self._bars[progress.what] = artifact, now
        elif now - shown[1] >= _PAUSE:
            self._behind.pop(progress.what, None)
            await aupdate_progress_artifact(shown[0], progress=_share(progress), description=_text(progress))
            self._bars[progress.what] = shown[0], now
        else:
            self._behind[progress.what] = progress

    async def _artifact(self, artifact: Artifact) -> None:
        key, told = f"run-{_slug(artifact.name)}", _clean(artifact.name)
        if artifact.table is not None:
            await acreate_table_artifact(list(artifact.table), key=key, description=told)
        elif artifact.markdown is not None:
            await acreate_markdown_artifact(_clean(artifact.markdown), key=key, description=told)


def _told(heard: Line | Waiting | Metric | Result | LogLine | Unreadable) -> tuple[int, str]:
    """Give the line of the log, and its level."""
    match heard:
        case Line():
            return logging.INFO, heard.text if heard.stream == "stdout" else f"{heard.stream}: {heard.text}"
        case Waiting():
            return logging.INFO, f"waiting: {heard.reason}"
        case Metric():
            step = "" if heard.step is None else f" (step {heard.step})"
            return logging.INFO, f"{heard.name} = {heard.value:g}{step}"
        case Result():
            return logging.INFO, f"result: {heard.value!r}"
        case LogLine():
            return logging.getLevelNamesMapping()[heard.level.upper()], heard.text
        case Unreadable():
            return logging.WARNING, f"a message of the payload cannot be read, {heard.reason}: {heard.text}"


def _share(progress: Progress) -> float:
    return max(0.0, min(100.0, 100 * progress.done / progress.of)) if progress.of > 0 else 0.0


def _text(progress: Progress) -> str:
    return _clean(f"{progress.what}: {progress.done:g} of {progress.of:g}")


def _slug(name: str) -> str:
    """Give the name as a key of Prefect's may be: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def _clean(text: str) -> str:
    """Give the text without halves of characters, which the server would refuse."""
    return text.encode("utf-8", "replace").decode()
