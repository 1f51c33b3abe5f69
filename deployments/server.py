"""A Prefect server of our own, for commands that need one and find none."""

from __future__ import annotations

import inspect
import socket
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from sluiceway.core.errors import DaemonFailed
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sluiceway.core.remote.shell import Shell

_START_LIMIT = timedelta(seconds=120)
_TICK = timedelta(milliseconds=500)
# It leads a session of its own, so that its process id names everything it starts.
_START = """
set -eu
mkdir -p -- "$1"
log=$1/server.log pid=$2
rm -f -- "$pid"
shift 2
setsid --fork sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$pid" "$@" >>"$log" 2>&1 </dev/null
until [ -s "$pid" ]; do sleep 0.01; done
"""
# A start that was interrupted may not have written the process id yet, or never will. The end waits until the server is
# gone, so that the next one finds its database free.
_STOP = """
for try in $(seq 20); do if [ -s "$1" ]; then break; fi; sleep 0.1; done
group=$(cat -- "$1" 2>/dev/null) || exit 0
rm -f -- "$1"
kill -s TERM -- "-$group" 2>/dev/null || exit 0
for try in $(seq 100); do kill -s 0 -- "-$group" 2>/dev/null || exit 0; sleep 0.1; done
kill -s KILL -- "-$group"
"""
_IS_ALIVE = 'kill -s 0 -- "-$(cat -- "$1")"'


def address() -> str:
    """Choose the address of a server that nothing else uses."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{trial.getsockname()[1]}"


@asynccontextmanager
async def running(url: str, *, home: Path, pages: bool = True) -> AsyncIterator[None]:
    """Run a Prefect server at this address, with its database in `home`; flows inside the block use it."""
    shell = LocalShell()
    # Several may run in one home, each at an address of its own.
    pid_file = home / f"server-{_port(url)}.pid"
    try:
        start = Command.script(_START, str(home), str(pid_file), *_server(url, home, pages=pages))
        (await shell.run(start)).require_success()
        with temporary_settings({PREFECT_API_URL: f"{url}/api"}):
            await _until_healthy(shell, pid_file)
            try:
                yield
            finally:
                await _send_what_is_left()
    finally:
        (await shell.run(Command.script(_STOP, str(pid_file)))).require_success()


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def _server(url: str, home: Path, *, pages: bool) -> tuple[str, ...]:
    settings = {
        "PREFECT_HOME": str(home),
        # Without it the pages ask the default port, wherever they were loaded from.
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_ENABLED": str(pages).lower(),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    start = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", _port(url))
    return ("env", *(f"{name}={value}" for name, value in settings.items()), sys.executable, *start)


async def _send_what_is_left() -> None:
    """Wait for logs and events: Prefect sends them in the background, and they must arrive while there is a server."""
    await APILogHandler.aflush()
    draining = EventsWorker.drain_all(at_exit=False)
    if inspect.isawaitable(draining):
        await draining


async def _until_healthy(shell: Shell, pid_file: Path) -> None:
    clock = SystemClock()
    deadline = clock.now() + _START_LIMIT
    async with get_client() as client:
        while await client.api_healthcheck() is not None:
            is_alive = (await shell.run(Command.script(_IS_ALIVE, str(pid_file)))).succeeded
            if clock.now() > deadline or not is_alive:
                log = pid_file.with_name("server.log")
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise DaemonFailed(daemon="the Prefect server", attempted="become healthy", log=log, tail=tail)
            await clock.sleep(_TICK)
