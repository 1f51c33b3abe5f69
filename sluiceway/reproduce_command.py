"""`sluiceway reproduce`, `lineage` and `export`: making an output again, what it came from, giving it away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sluiceway.core.provenance.lineage import Lineage

_OUTPUT = typer.Argument(help="An output.")
_JSON = typer.Option("--json", help="Print JSON instead of lines.")


def reproduce(
    output: Annotated[Path, _OUTPUT],
    on: Annotated[str, typer.Option("--on", help="Where: local, or a cluster's name.")] = "local",
    relative: Annotated[
        float, typer.Option("--relative", min=0, help="How far numbers in tables may be apart, as a share of them.")
    ] = 1e-9,
    absolute: Annotated[float, typer.Option("--absolute", min=0, help="And how far besides.")] = 1e-12,
    env: Annotated[str | None, typer.Option("--env", help="The environment that its script ran in.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Make an output again from its manifest, in a folder of its own, and compare; exits with 1 if it is another."""
    from sluiceway import resource_options as asks
    from sluiceway.core import settings

    settings.leave_processors_to_us()
    from sluiceway.core.provenance.reproduce import Tolerance
    from sluiceway.core.remote.clock import SystemClock
    from sluiceway.core.runs import place
    from sluiceway.core.runs.rerun import Reproducer

    again = Reproducer(
        clock=SystemClock(),
        place=place.parse(on),
        tolerance=Tolerance(relative=relative, absolute=absolute),
        reach=asks.reach,
        runtime=asks.runtime(env),
    )
    reproduction = asyncio.run(again.reproduce(output))
    if as_json:
        typer.echo(json.dumps({**reproduction.comparison.as_json(), "folder": str(reproduction.folder)}))
    else:
        from sluiceway.core.provenance.reproduce import lines

        for line in lines(reproduction.comparison):
            typer.echo(line)
        typer.echo(f"{len(reproduction.comparison.files)} files compared; kept in {reproduction.folder}")
    if not reproduction.comparison.is_reproduced:
        raise typer.Exit(1)


def lineage(
    output: Annotated[Path, _OUTPUT],
    up: Annotated[bool, typer.Option("--up", help="What it came from; so it is by default.")] = False,
    down: Annotated[bool, typer.Option("--down", help="What came from it, of all that the ledger knows.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw it to this file, .svg or .png.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell what an output came from, or what came from it: outputs, inputs, and the addresses that those came from."""
    from sluiceway.core.provenance.ledger import ledger_here
    from sluiceway.core.provenance.lineage import Direction, Tracer
    from sluiceway.core.remote.clock import SystemClock

    if picture is not None and picture.suffix not in {".svg", ".png"}:
        raise typer.BadParameter("name a file that ends with .svg or .png", param_hint="--picture")
    tracer = Tracer(history=ledger_here(SystemClock()).history())
    chosen = [way for way, wanted in ((Direction.UP, up), (Direction.DOWN, down)) if wanted] or [Direction.UP]
    traced = [tracer.trace(output, way) for way in chosen]
    if as_json:
        found = {str(each.direction): each.as_json() for each in traced}
        typer.echo(json.dumps(found if len(traced) > 1 else traced[0].as_json()))
    else:
        from sluiceway.core.report import lineage as drawing

        for each in traced:
            typer.echo("\n".join(drawing.lines(each)))
    if picture is not None:
        _draw(traced, picture)


def _draw(traced: list[Lineage], picture: Path) -> None:
    from sluiceway.core.report import lineage as drawing
    from sluiceway.core.store.durable import write_whole

    if len(traced) > 1:
        raise typer.BadParameter("a picture shows one way; choose one of --up and --down", param_hint="--picture")
    content = drawing.png(traced[0]) if picture.suffix == ".png" else drawing.svg(traced[0]).encode()
    write_whole(picture.absolute(), content)


def export(
    outputs: Annotated[list[Path], typer.Argument(help="Outputs, or folders of them.")],
    to: Annotated[Path, typer.Option("--to", help="A folder that is not there yet, or a file that ends with .zip.")],
    name: Annotated[str, typer.Option("--name", help="What it is called.")] = "Outputs with their provenance",
    licence: Annotated[str | None, typer.Option("--license", help="The address of its licence.")] = None,
) -> None:
    """Write outputs as a Workflow Run RO-Crate that anybody can verify with Python alone: manifests, code, ledger."""
    from sluiceway.core.provenance.crate import Told
    from sluiceway.core.provenance.crate import export as write
    from sluiceway.core.provenance.ledger import ledger_here
    from sluiceway.core.provenance.outputs import outputs_in
    from sluiceway.core.remote.clock import SystemClock

    found = list(outputs_in(outputs))
    write(found, to, history=ledger_here(SystemClock()).history(), told=Told(name=name, licence=licence))
    typer.echo(f"{len(found)} outputs in {to}; python3 verify.py there verifies them")
