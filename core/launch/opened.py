"""The dashboard of a run's engine, reached from this machine over the connection that there is to its cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sluiceway.core.errors import CommandFailed, RequestInvalid
from sluiceway.core.launch.held import Connection
from sluiceway.core.remote.local import LocalShell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.folder import AttemptFolder


@contextlib.asynccontextmanager
async def dashboard(folder: AttemptFolder, access: Access | None) -> AsyncIterator[str]:
    """Give the URL of an attempt's dashboard, which leads there as long as the block lasts.

    Args:
        folder: The attempt's folder on this machine.
        access: The cluster that it runs on; none where it runs here.

    Raises:
        RequestInvalid: It has no engine, or none that is ready, or that one has ended.
    """
    shell: Shell = LocalShell() if access is None else access.shell
    connection = await _connection(folder if access is None else folder.at(access.base), shell)
    parts = urlsplit(connection.dashboard)
    if connection.state != "ready" or parts.hostname is None:
        raise _none(folder, f"its {connection.launcher} shows none, or is {connection.state}")
    async with shell.forward(parts.hostname, parts.port or 80) as (host, port):
        yield parts._replace(netloc=f"{host}:{port}").geturl()


async def _connection(folder: AttemptFolder, shell: Shell) -> Connection:
    try:
        return Connection.of(await shell.read(folder.connection))
    except CommandFailed as error:
        raise _none(folder, "it was started beside no engine, or that is not ready yet") from error


def _none(folder: AttemptFolder, why: str) -> RequestInvalid:
    return RequestInvalid(what="a dashboard of the run", value=folder.run.run_id, reason=why)
