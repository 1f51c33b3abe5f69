"""A program that runs a script and kills itself with SIGKILL: once a step is done, or once a process was started."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sluiceway.core.remote import local
from sluiceway.core.runs.request import Content, RunRequest
from tests.core.runs.here import Here

SPAWNED = "process started, answer lost"


class Death(logging.Handler):
    """Kills this process when an event of that step is told."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step

    def emit(self, record: logging.LogRecord) -> None:
        if record.__dict__["event"].step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


async def spawn_and_die(*_command: Any) -> None:
    await spawn(*_command)
    os.kill(os.getpid(), signal.SIGKILL)


spawn = local._spawn


def main(folder: Path, script: Path, step: str) -> None:
    if step == SPAWNED:
        local._spawn = spawn_and_die  # type: ignore[assignment]
    log = logging.getLogger("sluiceway")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Death(step)]
    request = RunRequest(script=Content.of(script, what="the script"), outputs=("made.txt",))
    asyncio.run(Here(folder).run(request))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
