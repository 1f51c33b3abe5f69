"""The command `sluiceway`: a sub-command for each capability, errors as one paragraph, exit codes that mean something.

Exit codes: 0 done; 1 the work failed; 2 what was asked for cannot be done as written; 3 this machine lacks what is
needed; 4 a machine did not do what it was asked; 130 interrupted.

Commands import what they work with when they run: nobody waits for all of it to read a page of help.
"""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from sluiceway import (
    artifacts_command,
    catalog_command,
    cluster_command,
    env_command,
    jobs_command,
    lift_command,
    logs_command,
    panel_command,
    provenance_command,
    query_command,
    refresh_command,
    registry_command,
    reproduce_command,
    run_command,
    score_command,
    session_command,
    up_command,
)
from sluiceway.core.errors import SluicewayError
from sluiceway.core.report import console
from sluiceway.deployments.devcluster import command as devcluster

_INTERRUPTED = 130
_ALLOCATIONS_BETWEEN_COLLECTIONS = 100_000
_shows_tracebacks = ContextVar("_shows_tracebacks", default=False)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Work on Slurm from Prefect, with proof; and every polygenic score against every reference person.",
    epilog=(
        "Exit codes: 0 done, 1 the work failed, 2 asked for what cannot be done, 3 this machine lacks something, "
        "4 another machine did not do as asked, 130 interrupted."
    ),
)
app.add_typer(devcluster.app, name="devcluster")
app.add_typer(panel_command.app, name="panel")
app.add_typer(catalog_command.app, name="catalog")
app.add_typer(jobs_command.app, name="jobs")
app.add_typer(artifacts_command.app, name="artifacts")
app.add_typer(registry_command.runs_app, name="runs")
app.add_typer(registry_command.registry_app, name="registry")
app.add_typer(env_command.app, name="env")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        typer.echo(version("sluiceway"))
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and every event.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up what every command shares."""
    from sluiceway.core import settings

    _shows_tracebacks.set(debug)
    console.show_events("DEBUG" if debug else settings.load().log_level)


app.command()(score_command.score)
app.command()(refresh_command.refresh)
app.command()(lift_command.lift)
app.command()(query_command.query)
app.command()(provenance_command.status)
app.command()(provenance_command.verify)
app.command()(provenance_command.explain)
app.command()(artifacts_command.gc)
app.command()(reproduce_command.reproduce)
app.command()(reproduce_command.lineage)
app.command()(reproduce_command.export)
app.command()(registry_command.events)
app.command()(run_command.run)
app.command()(logs_command.logs)
app.command()(run_command.cancel)
app.command()(cluster_command.attach)
app.command()(cluster_command.shell)
app.command()(cluster_command.doctor)
app.command()(session_command.session)
app.command()(up_command.up)
app.command()(up_command.register)


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option("--out", help="The folder for its data and its results.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Without Prefect and without a pause.")] = False,
) -> None:
    """Score invented scores on an invented panel, from end to end, and say where the report is."""
    from sluiceway.deployments import demo as demonstration

    demonstration.run_demo(out=out, headless=headless)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error of ours is one paragraph, any other is a bug and shows its traceback."""
    # What a command imports stays until it ends: looking through all of it for garbage again and again costs more.
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    try:
        app(args=arguments)
    except asyncio.CancelledError:
        raise SystemExit(_INTERRUPTED) from None
    except SluicewayError as error:
        if _shows_tracebacks.get():
            raise
        remarks = console.for_remarks()
        remarks.print("[bold red]error:[/bold red]", end=" ")
        remarks.print(str(error), markup=False, emoji=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from error
