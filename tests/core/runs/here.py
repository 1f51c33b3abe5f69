"""Runs on this machine, for tests: a home in a test's folder, scripts, and what was heard of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.folder import AttemptFolder
from sluiceway.core.runs.local_job import LocalJob
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Content, RunRequest
from sluiceway.core.runs.run import Heard, Runs, run


@dataclass
class Here:
    """One machine's runs."""

    folder: Path
    heard: list[Heard] = field(default_factory=list)

    @property
    def runs(self) -> Runs:
        return Runs(home=self.folder / "home", clock=SystemClock())

    @property
    def host(self) -> LocalJob:
        return LocalJob(self.runs.home, shell=LocalShell(), clock=self.runs.clock, grace_seconds=1)

    def request(self, text: str, **asked: Any) -> RunRequest:
        """Ask for a script of this text."""
        script = self.folder / "script.sh"
        script.write_text(text)
        return RunRequest(script=Content.of(script, what="the script"), **asked)

    async def run(self, request: RunRequest, *, fresh: bool = False) -> RunReceipt:
        return await run(request, runs=self.runs, host=self.host, place=Local(), fresh=fresh, heard=self.hear)

    async def hear(self, heard: Heard) -> None:
        self.heard.append(heard)

    def attempt(self, request: RunRequest, number: int = 1) -> AttemptFolder:
        return self.runs.folder(request.key).attempt(number)

    def attempts(self, request: RunRequest) -> list[int]:
        folder = self.runs.folder(request.key)
        return [each.number for each in folder.attempts(each.name for each in Path(folder.path).iterdir())]


async def until(path: Path) -> str:
    """Wait for a file that has something in it."""
    async with asyncio.timeout(30):
        while not path.is_file() or not path.read_text():
            await asyncio.sleep(0.01)
    return path.read_text()
