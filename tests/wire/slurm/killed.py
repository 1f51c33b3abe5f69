"""A program that runs something on the cluster `west`, and kills itself when a step is done, or not yet heard of."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import runtime_of
from sluiceway.core.launch.single import SingleLauncher
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command, Completed
from sluiceway.core.remote.ssh import SshShell
from sluiceway.core.runs.answers import Answer
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import Calls, Item
from sluiceway.core.runs.hosts import array_host_at, host_at, runs_here
from sluiceway.core.runs.place import Cluster
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Content, RunRequest, inputs_of
from sluiceway.core.runs.run import run
from tests.core.runs.called import counted
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


async def launch(folder: Path) -> RunReceipt:
    """Do the same by a launcher, in an environment that is there."""
    environment = environment_of("here", {"kind": "path", "path": sys.prefix}, where="a test")
    asked = replace(request(folder), launcher=SingleLauncher(), runtime=await runtime_of(environment))
    runs, place = runs_here(), Cluster("west")
    async with host_at(place, runs) as host:
        return await run(asked, runs=runs, host=host, place=place)


async def call(folder: Path) -> list[Answer]:
    """Make three calls there."""
    runs, place = runs_here(), Cluster("west")
    items = [Item(arguments=(str(folder / "count"), number)) for number in range(3)]
    async with array_host_at(place, runs) as host:
        arrays = Arrays(runs=runs, host=host, place=place)
        return await arrays.answers(Calls(function=counted, items=items, python=sys.executable))


WORK: dict[str, Callable[[Path], Coroutine[Any, Any, object]]] = {"script": live, "launcher": launch, "calls": call}


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


def main(folder: Path, step: str, work: str = "script") -> None:
    if step in LOST:
        die_after(LOST[step])
    log = logging.getLogger("sluiceway")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Death(step)]
    asyncio.run(WORK[work](folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
