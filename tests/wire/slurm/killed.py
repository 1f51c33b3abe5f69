"""A program that runs a script on the cluster `west`, and kills itself when a step is done, or not yet heard of."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command, Completed
from sluiceway.core.remote.ssh import SshShell
from sluiceway.core.runs.hosts import host_at, runs_here
from sluiceway.core.runs.place import Cluster
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Content, RunRequest, inputs_of
from sluiceway.core.runs.run import run
from tests.core.runs.killed import Death

# What is in the text of a command whose answer this process does not live to hear.
LOST = {"files brought, answer lost": "tar -xf", "job submitted, answer lost": 'timeout 300 "$@"'}


def request(folder: Path) -> RunRequest:
    """Ask for the folder's script, with its large input."""
    script = Content.of(folder / "script.sh", what="the script")
    return RunRequest(script=script, inputs=inputs_of([folder / "large.bin"]), outputs=("made.txt",))


async def live(folder: Path) -> RunReceipt:
    """Do all of it on the cluster."""
    runs, place = runs_here(), Cluster("west")
    async with host_at(place, runs) as host:
        return await run(request(folder), runs=runs, host=host, place=place)


def die_after(mark: str) -> None:
    """Let this process die when such a command has done its work there."""
    for kind in (LocalShell, SshShell):
        _let_die(kind, kind.run, mark)


def _let_die(kind: Any, done_by: Any, mark: str) -> None:
    async def run_and_die(self: Any, command: Command, **limits: Any) -> Completed:
        done: Completed = await done_by(self, command, **limits)
        if any(mark in word for word in command.argv):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    kind.run = run_and_die


def main(folder: Path, step: str) -> None:
    if step in LOST:
        die_after(LOST[step])
    log = logging.getLogger("sluiceway")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Death(step)]
    asyncio.run(live(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
