"""Whether a verb works directly or as a Prefect flow run, and with which server: one rule for all verbs.

A verb is a flow run when PREFECT_API_URL is set, when `up.json` in our home names a server that answers, or when that
is asked for; then a server is started where there is none. Prefect takes seconds to import, so nothing here does it
before a flow run is certain.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import urlsplit

from sluiceway.core import settings
from sluiceway.core.errors import Unreachable
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prefect import Flow
    from rich.console import Console

UP = "up.json"
"""What a server that was started for all verbs leaves in our home: `{"api": "http://127.0.0.1:4200/api"}`."""

_MOMENT = 0.4
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server: the address of its API, and whether it is ours to start and to stop."""

    api: str
    is_ours: bool = False

    @property
    def pages(self) -> str:
        """Where Prefect's pages are."""
        return self.api.removesuffix("/api")


@overload
def server(*, flow: Literal[True]) -> Server: ...
@overload
def server(*, flow: bool) -> Server | None: ...
def server(*, flow: bool) -> Server | None:
    """Give the server that a verb's flow run goes to; none where the verb works directly.

    Args:
        flow: Whether a flow run is wanted in any case.
    """
    configured = settings.Foreign().prefect_api_url
    if configured is not None:
        return Server(api=configured)
    home = settings.load().home
    found = _left_by_up(home / UP)
    if found is not None or not flow:
        return found
    from sluiceway.deployments.server import address  # noqa: PLC0415 - imports Prefect

    return Server(api=f"{address()}/api", is_ours=True)


@contextmanager
def connected(server: Server) -> Iterator[None]:
    """Let flows inside the block run on this server; one of ours runs as long as the block."""
    if not server.is_ours and (reason := _silence(server.api, "", patience=_PATIENCE)) is not None:
        raise Unreachable(machine=f"Prefect's server {server.api}", reason=reason)
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415

    with ExitStack() as stack:
        if server.is_ours:
            stack.enter_context(_running(server, home=settings.load().home / "prefect"))
        stack.enter_context(temporary_settings({PREFECT_API_URL: server.api}))
        yield


def telling_its_page(flow: Flow[..., Any], to: Console) -> Flow[..., Any]:
    """Give the flow so that a run of it begins with one line: where its page is."""
    from prefect.utilities.urls import url_for  # noqa: PLC0415

    # Prefect gives a hook these names, and no others.
    def tell(flow: object, flow_run: Any, state: object) -> None:  # noqa: ARG001
        to.print(f"Prefect: {url_for(flow_run)}", soft_wrap=True, markup=False)

    return flow.with_options(on_running=[tell])


@contextmanager
def _running(server: Server, *, home: Path) -> Iterator[None]:
    from sluiceway.deployments.server import running  # noqa: PLC0415

    # It is no child that would go by itself: whoever ends us in any way ends it too.
    with _interrupted_by(signal.SIGTERM, signal.SIGHUP), asyncio.Runner() as runner:
        serving = running(server.pages, home=home)
        runner.run(serving.__aenter__())
        try:
            # The loop stands still meanwhile, so that a flow may have one of its own.
            yield
        finally:
            runner.run(serving.__aexit__(None, None, None))


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Take these signals for Ctrl-C."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _left_by_up(path: Path) -> Server | None:
    """Give the server that a file names; one that does not answer at once is passed over, with a remark."""
    try:
        api = str(json.loads(path.read_text())["api"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        _remark(f"{path} names no server; working without Prefect")
        return None
    reason = _silence(api, "/health", patience=_MOMENT)
    if reason is None:
        return Server(api=api)
    _remark(f"the Prefect server of {path} does not answer at {api} ({reason}); working without it")
    return None


def _silence(api: str, path: str, *, patience: float) -> str | None:
    """Ask an API, and tell why there is no answer; none where there is one, whatever it says."""
    try:
        parts = urlsplit(api)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=patience)
        try:
            connection.request("GET", f"{parts.path}{path}")
            connection.getresponse()
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None


def _remark(text: str) -> None:
    console.for_remarks().print(text, soft_wrap=True, markup=False)
