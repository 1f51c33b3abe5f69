"""The prepared variant table: a panel's variants as sorted arrays on disk, made once and mapped into memory.

One entry for each ALT allele of each row, in the order of the packed keys. A table is a folder, named by a content key
of the panel, its build, who is unrelated, and whether dosages count; it appears whole or not at all, and is made anew
where a file is not as it was written.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.events import tell as _tell
from sluiceway.core.genetics.alleles import MAX_POSITION, POSITION_SHIFT, place_key
from sluiceway.core.genetics.build import Build, Region
from sluiceway.core.genetics.sites import ROWS_AT_ONCE
from sluiceway.core.genetics.table_files import COLUMNS, NAMES, NAMES_AT_ONCE, OFFSETS, Making, write_table
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.store import frames
from sluiceway.core.store.durable import Storing
from sluiceway.core.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.genetics.panel import Panel

_log = logging.getLogger(__name__)

GenotypesCounted = Literal["hardcalls", "dosages"]

LAYOUT: Final = 1
"""Counts up whenever a table's content would change for the same panel."""

_RECORD: Final = "table.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantTable:
    """The variants of a panel, mapped from disk.

    Attributes:
        key: The packed key, by which entries are sorted.
        ref: The code of REF.
        alt: The code of this entry's ALT.
        variant: The row of the genotypes.
        allele: Which of the row's alleles ALT is; 1 is the first.
        multiallelic: Whether the row has several ALT alleles.
        ploidy: A Ploidy.
        frequency: How often ALT is among unrelated people; NaN where nobody who counts is called.
        missing: How many people have no call.
        offsets: Where each row's alleles begin; none where every row has one ALT allele.
        left_out: How many rows are not in the table, for their contig is no chromosome or their position no place.
    """

    key: NDArray[np.uint64]
    ref: NDArray[np.uint64]
    alt: NDArray[np.uint64]
    variant: NDArray[np.uint32]
    allele: NDArray[np.uint8]
    multiallelic: NDArray[np.bool_]
    ploidy: NDArray[np.uint8]
    frequency: NDArray[np.float64]
    missing: NDArray[np.uint32]
    offsets: NDArray[np.uintp] | None
    n_variants: int
    n_samples: int
    left_out: int
    digest: str
    build: Build | None
    folder: Path

    def __reduce__(self) -> tuple[Callable[[Path], VariantTable], tuple[Path]]:
        """Pickle by the folder: another process maps the arrays itself."""
        return _opened, (self.folder,)

    def rows_in(self, region: Region) -> NDArray[np.intp]:
        """Give the rows of a stretch of the genome, in order."""
        begin = place_key(region.chromosome, 0)
        ends = (begin + (min(each, MAX_POSITION + 1) << POSITION_SHIFT) for each in (region.start, region.end + 1))
        first, last = np.searchsorted(self.key, np.array(list(ends), np.uint64))
        return np.arange(first, last)

    def names(self, rows: NDArray[np.integer[Any]]) -> pl.DataFrame:
        """Give id, chromosome, position, ref and alt of these rows, in their order; only their parts of the file."""
        blocks, block_of = np.unique(np.asarray(rows) // NAMES_AT_ONCE, return_inverse=True)
        stored = frames.scan_parquet(self.folder / NAMES)
        read = [stored.slice(int(block) * NAMES_AT_ONCE, NAMES_AT_ONCE) for block in blocks] or [stored.head(0)]
        within = block_of * NAMES_AT_ONCE + np.asarray(rows) % NAMES_AT_ONCE
        return pl.concat(pl.collect_all(read)).select(pl.all().gather(within))

    def ids(self) -> Iterator[pl.Series]:
        """Give the id of every row, in order, so many at a time."""
        stored = frames.scan_parquet(self.folder / NAMES).select("id")
        for batch in stored.collect_batches(chunk_size=ROWS_AT_ONCE, lazy=True):
            yield batch["id"]


def prepare(
    panel: Panel,
    folder: Path,
    *,
    genotypes: GenotypesCounted = "hardcalls",
    tell: Callable[[int, int], None] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> VariantTable:
    """Give a panel's variant table, made below this folder unless it is there already and whole.

    Args:
        panel: The panel.
        folder: Where tables are kept, each in a folder of its own.
        genotypes: What frequencies and missing calls are counted of.
        tell: Is told how many entries are measured, and of how many, while a table is made.
        rows_at_once: How many of the panel's rows are in memory at a time; the table does not depend on it.
    """
    target = folder / table_key(panel, genotypes)
    if target.is_dir():
        flaw = _flaw(target)
        if flaw is None:
            return _opened(target)
        _tell(_log, "table damaged", level=logging.WARNING, key=target.name, panel=panel.prefix.name, reason=flaw)
    with Scratch(folder / "making").own(purpose="prepare the panel") as making:
        made = making / "table"
        with Storing("prepare the panel's table", target, foreign=True):
            made.mkdir()
            as_dosages = _has_own_table(panel, genotypes)
            _make(panel, made, Making(scratch=making, as_dosages=as_dosages, rows_at_once=rows_at_once, tell=tell))
            _put(made, target, aside=making / "damaged")
    return _opened(target)


def table_key(panel: Panel, genotypes: GenotypesCounted = "hardcalls") -> str:
    """Give the name of a panel's table: its content, its build, who is unrelated, and whether dosages count."""
    unrelated = "".join("01"[each] for each in panel.samples.table["unrelated"])
    counted = {"genotypes": genotypes} if _has_own_table(panel, genotypes) else {}
    key = content_key(
        "variant table",
        inputs={"panel": panel.digest},
        parameters={"build": panel.build, "unrelated": unrelated, "layout": LAYOUT, **counted},
        modules={},
        environment={},
    )
    return key.removeprefix("sha256:")[:32]


def _has_own_table(panel: Panel, genotypes: GenotypesCounted) -> bool:
    """Whether dosages have a table of their own; there is none of them in plink 1's files."""
    return genotypes == "dosages" and not panel.is_bed


def _put(made: Path, target: Path, *, aside: Path) -> None:
    """Give a table its name; where another process was faster, its table is as good."""
    if target.exists() and not _is_whole(target):
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if not _is_whole(target):
            raise
        shutil.rmtree(made)


def _make(panel: Panel, folder: Path, how: Making) -> None:
    left_out = write_table(panel, folder, how)
    record = {
        "layout": LAYOUT,
        "panel": panel.digest,
        "build": panel.build,
        "n_variants": panel.n_variants,
        "n_samples": panel.samples.n,
        "left_out": left_out,
        "files": {file.name: digest_of_file(file) for file in sorted(folder.iterdir())},
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=1))


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _is_whole(folder: Path) -> bool:
    """Whether each file is as it was written; a table's name says what of, this says that it is still that."""
    return _flaw(folder) is None


def _flaw(folder: Path) -> str | None:
    """Say which file of a table is not as it was written; none where all are."""
    record = _record(folder)
    if record is None or record.get("layout") != LAYOUT:
        return f"{_RECORD} is none of ours"
    try:
        changed = (name for name, digest in record["files"].items() if digest_of_file(folder / name) != digest)
        return next((f"{name} was changed" for name in changed), None)
    except OSError as error:
        return f"a file cannot be read: {error}"


def _opened(folder: Path) -> VariantTable:
    record = _record(folder)
    if record is None:
        raise PanelUnusable(path=folder, reason="its prepared table was removed while it was opened")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    offsets = folder / f"{OFFSETS}.npy"
    return VariantTable(
        **arrays,
        offsets=np.load(offsets) if offsets.is_file() else None,
        n_variants=record["n_variants"],
        n_samples=record["n_samples"],
        left_out=record["left_out"],
        digest=record["panel"],
        build=Build.parse(record["build"]),
        folder=folder,
    )
