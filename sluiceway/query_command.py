"""`sluiceway query`: a question in SQL about a folder of results."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    import polars as pl

_SHOWN: Final = 100


def query(
    sql: Annotated[str, typer.Argument(help="One statement that reads, such as 'FROM quality'.")],
    out: Annotated[Path, typer.Argument(help="A folder of results; each parquet file in it is a table.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write the answer to this file instead.")] = None,
) -> None:
    """Ask a folder of results a question in SQL; nothing is changed, and no other file is read."""
    from sluiceway.core.publish import query as questions
    from sluiceway.core.report import console
    from sluiceway.core.store.durable import write_whole

    if as_json + as_csv + (parquet is not None) > 1:
        raise typer.BadParameter("choose one of --json, --csv and --parquet")
    answer = questions.query(out, sql)
    if parquet is not None:
        content = io.BytesIO()
        answer.write_parquet(content)
        write_whole(parquet, content.getvalue())
        console.for_remarks().print(f"{answer.height} rows: {parquet}", markup=False, soft_wrap=True)
    elif as_json:
        sys.stdout.write(f"{answer.write_json()}\n")
    elif as_csv:
        _flat(answer).write_csv(sys.stdout)
    else:
        _print(answer)


def _flat(answer: pl.DataFrame) -> pl.DataFrame:
    """Write lists and the like as JSON: CSV has no other way to hold them."""
    import polars as pl

    nested = [name for name, kind in answer.schema.items() if kind.is_nested()]
    return answer.with_columns(
        pl.Series(name, [None if each is None else json.dumps(each, default=str) for each in answer[name].to_list()])
        for name in nested
    )


def _print(answer: pl.DataFrame) -> None:
    from rich.table import Table
    from rich.text import Text

    from sluiceway.core.report import console

    table = Table()
    for name in answer.columns:
        table.add_column(Text(name))
    for row in answer.head(_SHOWN).iter_rows():
        table.add_row(*(Text("" if each is None else str(each)) for each in row))
    console.for_results().print(table)
    if answer.height > _SHOWN:
        said = f"These are the first {_SHOWN} of {answer.height} rows; --csv, --json and --parquet give all."
        console.for_remarks().print(said)
