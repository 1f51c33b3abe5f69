"""`sluiceway up` and `sluiceway register`: Prefect with everything of ours in it, here or on a server that is there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def up(
    host: Annotated[
        str, typer.Option("--host", help="Where the server listens; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="On which port.")] = 4200,
    database: Annotated[
        str | None,
        typer.Option("--database", help="The server's database, such as postgresql://USER@HOST/NAME; else a file."),
    ] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Start no refresh.")] = False,
) -> None:
    """Run Prefect's server, a worker and all deployments until Ctrl-C; a refresh does what is missing meanwhile."""
    from sluiceway.core import settings
    from sluiceway.deployments.up import Asked, run_up

    home = settings.load().home.absolute()
    asked = Asked(home=home, folder=Path.cwd(), host=host, port=port, database=database, refresh=not no_run)
    run_up(asked)


def register(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where flow runs start, on the worker's machine; else this folder.")
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option("--notify", help="The notification block that failures are told to, such as slack-webhook/ops."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Give a Prefect server our block types, work pool, deployments and automations; again, it changes nothing."""
    from sluiceway.deployments import direct_or_flow
    from sluiceway.deployments.register import Wishes
    from sluiceway.deployments.register import register as tell

    server = direct_or_flow.server(flow=False)
    if server is None:
        raise typer.BadParameter("no Prefect server is known: set PREFECT_API_URL, or start one with `sluiceway up`")
    with direct_or_flow.connected(server):
        done = asyncio.run(tell(Wishes(folder=(folder or Path.cwd()).absolute(), notify=notify)))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in done]))
        return
    for each in done:
        typer.echo(f"{each.change}\t{each.kind}\t{each.name}")
