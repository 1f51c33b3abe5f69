"""A Prefect server of our own: for commands that need one and find none, and for `sluiceway up`."""

from __future__ import annotations

import inspect
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.deployments.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Where it has died, that is seen at once; a machine that is busy takes its time.
_START_LIMIT = timedelta(minutes=5)
_TICK = timedelta(milliseconds=500)
# Where Prefect has it by itself.
_DATABASE = "prefect.db"
_ASYNCHRONOUS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How a server runs: the address that it has, where it listens, its folder, its database, and with pages or not."""

    url: str
    home: Path
    host: str = "127.0.0.1"
    pages: bool = True
    database: str | None = field(default=None, repr=False)

    @property
    def port(self) -> str:
        """The port, as it stands in the address."""
        return self.url.rpartition(":")[2]

    def daemon(self) -> Daemon:
        """Give the server as a program that can be started."""
        return Daemon(
            name="the Prefect server",
            argv=(sys.executable, "-m", "prefect", "server", "start", "--host", self.host, "--port", self.port),
            variables=self._variables(),
            log=self.home / "server.log",
            # Several may run in one home, each at an address of its own.
            pid_file=self.home / f"server-{self.port}.pid",
            shell=LocalShell(),
        )

    def _variables(self) -> dict[str, str]:
        variables = {
            "PREFECT_HOME": str(self.home),
            # Without it the pages ask the default port, wherever they were loaded from.
            "PREFECT_SERVER_UI_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_UI_ENABLED": str(self.pages).lower(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        if self.database is not None:
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = asynchronous(self.database)
        elif "?" in str(self.home):
            # What follows it in the URL that Prefect would write would be options; in SQLite's own it can be escaped.
            own = quote(str(self.home.absolute() / _DATABASE))
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///file:{own}?uri=true"
        return variables


def asynchronous(database: str) -> str:
    """Name the driver that Prefect's server wants in a database's URL, where none is named.

    >>> asynchronous("postgresql://prefect@db/prefect")
    'postgresql+asyncpg://prefect@db/prefect'
    """
    kind, _, rest = database.partition("://")
    return f"{_ASYNCHRONOUS.get(kind, kind)}://{rest}"


def address() -> str:
    """Choose the address of a server that nothing else uses."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{trial.getsockname()[1]}"


@asynccontextmanager
async def running(url: str, *, home: Path, pages: bool = True) -> AsyncIterator[None]:
    """Run a Prefect server at this address, with its database in `home`; flows inside the block use it."""
    daemon = Serving(url=url, home=home, pages=pages).daemon()
    try:
        await daemon.start()
        with temporary_settings({PREFECT_API_URL: f"{url}/api"}):
            await until_healthy(daemon)
            try:
                yield
            finally:
                await _send_what_is_left()
    finally:
        await daemon.stop()


async def until_healthy(server: Daemon) -> None:
    """Wait until the server that settings name answers, or raise DaemonFailed where this daemon will not get there."""
    clock = SystemClock()
    deadline = clock.now() + _START_LIMIT
    async with get_client() as client:
        while await client.api_healthcheck() is not None:
            if clock.now() > deadline or not await server.is_alive():
                raise server.failed_to("become healthy")
            await clock.sleep(_TICK)


async def _send_what_is_left() -> None:
    """Wait for logs and events: Prefect sends them in the background, and they must arrive while there is a server."""
    await APILogHandler.aflush()
    draining = EventsWorker.drain_all(at_exit=False)
    if inspect.isawaitable(draining):
        await draining
