"""What `sluiceway panel` tells of a reference panel."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from rich.progress import Progress
from rich.table import Table

from sluiceway.core import settings
from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics import variants as tables
from sluiceway.core.genetics.genotypes import genotype_frame
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.samples import FEMALE, MALE, UNKNOWN
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluiceway.core.catalog.panel_archive import PanelHere
    from sluiceway.core.genetics.build import Region
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.genetics.variants import VariantTable


def tell_of_table(panel: Panel, *, as_json: bool) -> None:
    """Make a panel's table of variants unless it is there, and say what is in it."""
    table = _table(panel)
    facts: dict[str, object] = {
        "folder": str(table.folder),
        "entries": table.key.size,
        "variants": table.n_variants,
        "left_out": table.left_out,
        "panel": table.digest,
    }
    _print_facts(facts, as_json=as_json)


def tell_of_fetched(fetched: PanelHere, panel: Panel, *, as_json: bool) -> None:
    """Make the table of a panel that was brought, and say how to name it and what is in it."""
    table = _table(panel)
    told = {"prefix": str(panel.prefix), "archive": fetched.url, "md5": fetched.md5}
    _print_facts({**told, **_of_people(panel), **_of_variants(panel, table)}, as_json=as_json)


def tell_of_panel(panel: Panel, *, as_json: bool) -> None:
    """Say what is in a panel."""
    table = _table(panel)
    _print_facts({**_of_people(panel), **_of_variants(panel, table)}, as_json=as_json)


def list_people(panel: Panel, population: str | None, *, as_json: bool) -> None:
    """List everybody, or those of one population."""
    people = panel.samples.table
    if population is not None:
        people = people.filter(pl.col("population") == population)
        if people.is_empty():
            there = ", ".join(sorted(panel.samples.table["population"].unique()))
            reason = f"nobody's population is {population!r}; there are {there}"
            raise PanelUnusable(path=panel.samples_file, reason=reason)
    _print_rows(people, as_json=as_json)


def list_variants(panel: Panel, region: Region, *, as_json: bool) -> None:
    """List the entries of a region."""
    table = _table(panel)
    rows = table.rows_in(region)
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


def list_genotypes(panel: Panel, region: Region, people: Sequence[str] | None, *, as_json: bool) -> None:
    """List copies of each ALT allele in a region: a column per person, or as JSON a row for each."""
    frame = genotype_frame(panel, _table(panel), region, people)
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
