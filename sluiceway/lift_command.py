"""`sluiceway lift`: a scoring file of one build rewritten for the other."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def lift(
    file: Annotated[Path, typer.Argument(help="A scoring file of GRCh37 or GRCh38, whose header says which.")],
    chain: Annotated[Path, typer.Option("--chain", help="A chain file, such as hg19ToHg38.over.chain.gz.")],
    out: Annotated[Path, typer.Option("--out", help="The scoring file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Rewrite a scoring file for the other build, as the catalogue harmonises its own; refuse one that mostly fails."""
    from sluiceway.core.catalog.lifted_file import lift_scoring_file
    from sluiceway.core.errors import InputMissing
    from sluiceway.core.genetics.chain import read_chains

    for what, path in (("the scoring file", file), ("the chain file", chain)):
        if not path.is_file():
            raise InputMissing(what=what, path=path)
    chains = read_chains(chain)
    outcome = lift_scoring_file(file, chains, out)
    if as_json:
        typer.echo(json.dumps({**asdict(outcome), "build": chains.target}))
        return
    typer.echo(
        f"{outcome.lifted} of {outcome.rows} rows are on {chains.target}, {outcome.flipped} of them on the other "
        f"strand; {outcome.rows - outcome.placed} had no place before."
    )
