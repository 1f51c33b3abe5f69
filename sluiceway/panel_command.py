"""`sluiceway panel`: what is in a reference panel, and the table that scoring needs of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from rich.progress import Progress
from rich.table import Table

from sluiceway.core import settings
from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics import variants as tables
from sluiceway.core.genetics.build import Build, Region
from sluiceway.core.genetics.genotypes import genotype_frame
from sluiceway.core.genetics.panel import Panel, open_panel
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.samples import FEMALE, MALE, UNKNOWN
from sluiceway.core.genetics.variants import VariantTable
from sluiceway.core.report import console

app = typer.Typer(no_args_is_help=True, help="Reference panels: their people, variants and genotypes.")

Prefix = Annotated[Path, typer.Argument(help="What the names of its files begin with, or one of the files.")]
OfBuild = Annotated[Build | None, typer.Option("--build", help="Its build, where its files do not tell it.")]
Labels = Annotated[str | None, typer.Option("--labels", help="The column of the sample file to take for population.")]
Relatives = Annotated[Path | None, typer.Option("--relatives", help="A list of the people to leave out as relatives.")]
Place = Annotated[str, typer.Option("--region", help="A chromosome, or a stretch such as 11:69M-70M.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def prepare(
    prefix: Prefix, build: OfBuild = None, labels: Labels = None, relatives: Relatives = None, as_json: AsJson = False
) -> None:
    """Make the table of variants and frequencies that scoring needs, unless it is there already."""
    table = _table(open_panel(prefix, build=build, population=labels, unrelated=relatives))
    facts = {
        "folder": str(table.folder),
        "entries": table.key.size,
        "variants": table.n_variants,
        "left_out": table.left_out,
        "panel": table.digest,
    }
    _print_facts(facts, as_json=as_json)


@app.command()
def info(
    prefix: Prefix, build: OfBuild = None, labels: Labels = None, relatives: Relatives = None, as_json: AsJson = False
) -> None:
    """Say what is in a panel: people, populations, variants, missing calls, build and digest."""
    panel = open_panel(prefix, build=build, population=labels, unrelated=relatives)
    table = _table(panel)
    _print_facts({**_of_people(panel), **_of_variants(panel, table)}, as_json=as_json)


@app.command()
def samples(
    prefix: Prefix,
    population: Annotated[str | None, typer.Option("--population", help="Only people of this population.")] = None,
    labels: Labels = None,
    relatives: Relatives = None,
    as_json: AsJson = False,
) -> None:
    """List a panel's people, one line each, with columns between tabs."""
    panel = open_panel(prefix, population=labels, unrelated=relatives)
    people = panel.samples.table
    if population is not None:
        people = people.filter(pl.col("population") == population)
        if people.is_empty():
            there = ", ".join(sorted(panel.samples.table["population"].unique()))
            reason = f"nobody's population is {population!r}; there are {there}"
            raise PanelUnusable(path=panel.samples_file, reason=reason)
    _print_rows(people, as_json=as_json)


@app.command()
def variants(prefix: Prefix, region: Place, build: OfBuild = None, as_json: AsJson = False) -> None:
    """List the variants of a region, one line for each ALT allele, with columns between tabs."""
    wanted = Region.parse(region)
    table = _table(open_panel(prefix, build=build))
    rows = table.rows_in(wanted)
    told = {
        "multiallelic": table.multiallelic[rows],
        "ploidy": [Ploidy(each).name for each in table.ploidy[rows]],
        "frequency": table.frequency[rows],
        "missing": table.missing[rows],
    }
    columns = pl.DataFrame(told, schema_overrides={"ploidy": pl.String}).with_columns(
        pl.col("frequency").fill_nan(None)
    )
    _print_rows(table.names(rows).hstack(columns), as_json=as_json)


@app.command()
def genotypes(
    prefix: Prefix,
    region: Place,
    sample: Annotated[list[str] | None, typer.Option("--sample", help="Only this person; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List copies of each ALT allele in a region, a column per person; as plink2 writes it, one copy of one is 2."""
    wanted = Region.parse(region)
    panel = open_panel(prefix)
    frame = genotype_frame(panel, _table(panel), wanted, sample)
    if as_json:
        variant = ["id", "chromosome", "position", "ref", "alt"]
        frame = frame.unpivot(index=variant, variable_name="sample", value_name="copies")
    _print_rows(frame, as_json=as_json)


def _table(panel: Panel) -> VariantTable:
    with Progress(console=console.for_remarks(), transient=True) as progress:
        bar = progress.add_task("measuring frequencies", total=None, visible=False)
        return tables.prepare(
            panel,
            settings.load().cache_dir / "panels",
            tell=lambda done, of: progress.update(bar, completed=done, total=of, visible=True),
        )


def _of_people(panel: Panel) -> dict[str, object]:
    people = panel.samples.table
    counted = people.group_by("population").agg(all=pl.len(), unrelated=pl.col("unrelated").sum()).sort("population")
    sexes = {"women": FEMALE, "men": MALE, "unknown": UNKNOWN}
    return {
        "samples": panel.samples.n,
        "unrelated": panel.samples.n_unrelated,
        "unrelated_rule": panel.samples.unrelated_rule,
        "sexes": {name: int((people["sex"] == number).sum()) for name, number in sexes.items()},
        "population_column": panel.samples.population_column,
        "populations": {name: {"all": n, "unrelated": alone} for name, n, alone in counted.iter_rows()},
    }


def _of_variants(panel: Panel, table: VariantTable) -> dict[str, object]:
    first = table.allele == 1
    calls = int(first.sum()) * panel.samples.n
    ploidies = np.bincount(table.ploidy[first], minlength=len(Ploidy))
    return {
        "variants": table.n_variants,
        "left_out": table.left_out,
        "multiallelic": int((table.multiallelic & first).sum()),
        "ploidies": {each.name: int(ploidies[each]) for each in Ploidy},
        "missing_rate": int(table.missing[first].sum(dtype=np.int64)) / calls if calls else None,
        "build": panel.build,
        "files": [str(file) for file in (panel.genotypes, panel.variants, panel.samples_file)],
        "digest": panel.digest,
    }


def _print_facts(facts: dict[str, object], *, as_json: bool) -> None:
    out = console.for_results()
    if as_json:
        out.print_json(json.dumps(facts))
        return
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _text(value))
    out.print(table)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_text(each).replace(chr(10), ', ')}" for name, each in value.items())
    if isinstance(value, list):
        return "\n".join(str(each) for each in value)
    return "not told" if value is None else str(value)


def _print_rows(rows: pl.DataFrame, *, as_json: bool) -> None:
    """Print for programs and pipes: a table drawn with lines would be in their way."""
    text = rows.write_json() if as_json else rows.write_csv(separator="\t", null_value="", quote_style="never")
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
