"""Questions in SQL about a folder of results: each of its parquet files is a view, and nothing else can be reached.

The database lives in memory, for one question. It may read the folder's own tables and no other file, loads no
extension, and answers questions only: whatever would write is refused before it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import duckdb
import polars as pl

from sluiceway.core import settings
from sluiceway.core.errors import InputMissing, QueryRefused
from sluiceway.core.slurm.resources import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MEMORY: Final = "2GB"
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # Otherwise a name in a question could be a variable of this program.
    "python_enable_replacements": False,
}


def query(folder: Path, sql: str) -> pl.DataFrame:
    """Give the answer to one question about a folder's tables, each named as its file without `.parquet`.

    Args:
        folder: A folder of results.
        sql: One statement that reads: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW.
    """
    files = sorted(each for each in folder.glob("*.parquet") if not each.name.startswith("."))
    if not files:
        raise InputMissing(what="a parquet file in", path=folder)
    try:
        with duckdb.connect(":memory:", config={**_SETTINGS, "memory_limit": _memory()}) as database:
            _show(database, [each.resolve() for each in files])
            _refuse_all_but_one_question(database, sql)
            # An error that comes while polars reads leaves objects behind, of which duckdb complains at the end.
            return pl.DataFrame(database.sql(sql).materialize())
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        tables = ", ".join(each.stem for each in files)
        raise QueryRefused(folder=folder, reason=_in_one_line(error), tables=tables) from error


def _memory() -> str:
    """Give what the settings allow; a question needs little, so without them it is not all that there is."""
    allowed = settings.load().memory
    return f"{Memory.parse(allowed).mebibytes}MiB" if allowed else _MEMORY


def _show(database: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Make a view of each file; then allow these files alone, and no setting to change that."""
    for file in files:
        name = file.stem.replace('"', '""')
        database.execute(f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet({_quoted(file)})')  # noqa: S608 - both are quoted
    # allowed_paths must stand before the door closes.
    database.execute(f"SET allowed_paths = [{', '.join(map(_quoted, files))}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _refuse_all_but_one_question(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    # An allowed path may be written as well as read, so that a COPY could overwrite a result.
    statements = database.extract_statements(sql)
    if len(statements) != 1:
        raise duckdb.ProgrammingError(f"it holds {len(statements)} statements, and should hold one")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise duckdb.ProgrammingError("it is no question: only statements that read are carried out")


def _quoted(file: Path) -> str:
    return "'" + str(file).replace("'", "''") + "'"


def _in_one_line(error: Exception) -> str:
    """Leave out the lines that point below the statement: they mean nothing in a paragraph."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split()).rstrip(".!")
