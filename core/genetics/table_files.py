"""Makes the files of a variant table from a panel's text and genotypes, so many rows at a time.

What grows with the panel is pgenlib's index of the genotypes: nine bytes for each variant of a .pgen, and sixteen
more where a row has several ALT alleles.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics import sites
from sluiceway.core.genetics.alleles import MAX_POSITION, allele_codes, packed_keys
from sluiceway.core.genetics.build import Build, chromosome_number
from sluiceway.core.genetics.frequency import Entries, measure
from sluiceway.core.genetics.genotypes import open_genotypes
from sluiceway.core.genetics.ploidy import ploidies
from sluiceway.core.genetics.sorted_entries import ENTRY, FIELDS, SortedEntries
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pgenlib
    from numpy.typing import NDArray

    from sluiceway.core.genetics.panel import Panel

NAMES: Final = "names.parquet"
NAMES_AT_ONCE: Final = 65_536
OFFSETS: Final = "offsets"

_MEASURED: Final[dict[str, np.dtype[Any]]] = {"frequency": np.dtype(np.float64), "missing": np.dtype(np.uint32)}
COLUMNS: Final = {**FIELDS, **_MEASURED}
"""The arrays of a table, each in a file of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How a table is made.

    Attributes:
        scratch: A folder for what is under way.
        as_dosages: Whether dosages are counted.
        rows_at_once: How many rows are in memory at a time; the table does not depend on it.
        tell: Is told how many entries are measured, and of how many.
    """

    scratch: Path
    as_dosages: bool = False
    rows_at_once: int = sites.ROWS_AT_ONCE
    tell: Callable[[int, int], None] | None = None


def write_table(panel: Panel, folder: Path, how: Making) -> int:
    """Write the arrays and the names of a panel's table to an empty folder; give how many rows are not in it."""
    entries = SortedEntries(how.scratch / "parts", at_once=how.rows_at_once)
    offsets, left_out = _read(panel, entries, how.rows_at_once)
    if offsets is not None:
        np.save(folder / f"{OFFSETS}.npy", offsets)
    names: list[Path] = []
    with closing(open_genotypes(panel, offsets)) as reader, _Columns(folder, entries.n) as columns:
        # The reader has a copy of its own.
        del offsets
        for stretch in entries.stretches():
            columns.add(stretch.entries, _measured(panel, reader, stretch.entries, as_dosages=how.as_dosages))
            names.append(how.scratch / f"{len(names)}.names")
            stretch.names.write_ipc(names[-1], compression="lz4")
            if how.tell is not None:
                how.tell(columns.n, entries.n)
    frames.scan_ipc(names).sink_parquet(folder / NAMES, row_group_size=NAMES_AT_ONCE, statistics=False)
    return left_out


def _read(panel: Panel, entries: SortedEntries, at_once: int) -> tuple[NDArray[np.uintp] | None, int]:
    """Read the text of all rows; give where their alleles begin, and how many rows have no place."""
    n, placed, counts = 0, 0, []
    for batch in sites.batches(panel.variants, rows=at_once):
        counts.append(sites.allele_counts(batch["alt"]))
        found, names = _entries(batch, n, panel.build)
        entries.add(found, names)
        n += batch.height
        placed += int((found["allele"] == 1).sum())
    if n != panel.n_variants:
        reason = f"it has {panel.n_variants} variants, but {panel.variants.name} has {n}"
        raise PanelUnusable(path=panel.genotypes, reason=reason)
    return sites.allele_offsets(counts), n - placed


def _entries(written: pl.DataFrame, first: int, build: Build | None) -> tuple[NDArray[np.void], pl.DataFrame]:
    """Give what has a place of these rows, the first of which has this number: an entry for each ALT allele."""
    chromosomes = written["chromosome"].unique()
    numbers = pl.Series([chromosome_number(name) for name in chromosomes], dtype=pl.UInt8)
    table = (
        written.with_row_index("variant", offset=first)
        .with_columns(number=pl.col("chromosome").replace_strict(chromosomes, numbers, return_dtype=pl.UInt8))
        .filter((pl.col("number") > 0) & pl.col("position").is_between(1, MAX_POSITION))
    )
    table = _with_each_alt(table)
    entries = np.empty(table.height, ENTRY)
    ref, alt = allele_codes(table["ref"]), allele_codes(table["alt"])
    number, position = table["number"].to_numpy(), table["position"].to_numpy()
    entries["key"] = packed_keys(number, position.astype(np.uint32), ref, alt)
    entries["ref"], entries["alt"] = ref, alt
    for name in ("variant", "allele", "multiallelic"):
        entries[name] = table[name].to_numpy()
    entries["ploidy"] = ploidies(table["chromosome"], number, position, build)
    return entries, table.select("id", "chromosome", pl.col("position").cast(pl.UInt32), "ref", "alt")


def _with_each_alt(table: pl.DataFrame) -> pl.DataFrame:
    """Give a row for each ALT allele, and which of its row's it is."""
    several = table["alt"].str.contains(",", literal=True).rename("multiallelic")
    table = table.with_columns(several, allele=pl.lit(1, pl.UInt8))
    if not several.any():
        return table
    alts = pl.col("alt").str.split(",")
    return (
        table.with_columns(alts, allele=pl.int_ranges(1, alts.list.len() + 1, dtype=pl.UInt8))
        .explode("alt", "allele")
    )  # fmt: skip


def _measured(
    panel: Panel, reader: pgenlib.PgenReader, entries: NDArray[np.void], *, as_dosages: bool
) -> dict[str, NDArray[Any]]:
    asked = ("variant", "allele", "multiallelic", "ploidy")
    of = Entries(**{name: np.ascontiguousarray(entries[name]) for name in asked})
    return dict(zip(_MEASURED, measure(panel, reader, of, as_dosages=as_dosages), strict=True))


class _Columns:
    """The arrays of a table, written piece by piece to the bytes that numpy gives them when they are saved whole.

    Attributes:
        n: How many entries are written.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self.n = 0
        self._undo = ExitStack()
        self._files = {name: self._undo.enter_context((folder / f"{name}.npy").open("wb")) for name in COLUMNS}
        for name, kind in COLUMNS.items():
            header = {"descr": kind.str, "fortran_order": False, "shape": (length,)}
            np.lib.format.write_array_header_1_0(self._files[name], header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def add(self, entries: NDArray[np.void], measured: dict[str, NDArray[Any]]) -> None:
        """Write the next entries."""
        for name, file in self._files.items():
            column = measured[name] if name in measured else entries[name]
            file.write(np.ascontiguousarray(column).data)
        self.n += entries.size
