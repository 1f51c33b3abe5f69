"""polars' readers of tables, for which a path is a path: polars takes a bracket or a star in it for a pattern."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

read_csv = partial(pl.read_csv, glob=False)
read_parquet = partial(pl.read_parquet, glob=False)
scan_csv = partial(pl.scan_csv, glob=False)
scan_ipc = partial(pl.scan_ipc, glob=False)
scan_parquet = partial(pl.scan_parquet, glob=False)


def read_ndjson(path: Path) -> pl.DataFrame:
    """Read JSON lines; of these polars always takes a path for a pattern."""
    with path.open("rb") as file:
        return pl.read_ndjson(file)
