"""Scoring files as parquet, with the columns that the catalogue's own files have and their header in the footer.

What is kept of a score is its table, not its file; of that the file's rows are made again, in their order. Rows that
name no other allele have the one that the catalogue inferred, where it did.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.catalog.kept import KeptTables, damaged
from sluiceway.core.catalog.score_table import TYPED, read_table
from sluiceway.core.genetics.alleles import CHROMOSOME_SHIFT, MAX_POSITION, POSITION_SHIFT
from sluiceway.core.genetics.build import CHROMOSOMES
from sluiceway.core.genetics.model import Model
from sluiceway.core.publish.dataset import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.catalog.kept import Kept
    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.build import Build

FOOTER: Final = "pgs_catalog_header"
"""The footer's key under which readers look for the lines of the file's header, as JSON."""
FORM: Final = 1
"""Goes up when the same table becomes another file."""

_LEVEL: Final = 9
_NAMES: Final = {number: name for name, number in CHROMOSOMES.items()}
_FLAGS: Final = {
    "is_dominant": Model.DOMINANT, "is_recessive": Model.RECESSIVE, "is_interaction": Model.INTERACTION,
    "is_haplotype": Model.HAPLOTYPE, "is_diplotype": Model.DIPLOTYPE,
}  # fmt: skip
_WEIGHTS: Final = {f"weight_{copies}": f"dosage_{copies}_weight" for copies in range(3)}


def scoring_path(pgs_id: str, build: Build | None) -> str:
    """Give a score's place in the data set."""
    return f"data/scores/{pgs_id}.parquet" if build is None else f"data/scores/{pgs_id}_hmPOS_{build}.parquet"


def kept_scores(home: Path, build: Build | None) -> Iterator[Kept]:
    """Give every score whose table lies below a home, for one build."""
    tables = KeptTables(home)
    for note in tables.notes():
        pgs_id = note.name.partition("_")[0].partition(".")[0]
        if note == tables.note(pgs_id, build) and (kept := tables.find(pgs_id, build)) is not None:
            yield kept


def scoring_piece(home: Path, kept: Kept) -> Piece:
    """Give a score's file, which is made when it is written."""

    def write(path: Path) -> None:
        tables = KeptTables(home)
        content = tables.store.read(kept.keys[0])
        if content is None:
            raise damaged(next(each for each in tables.notes() if each.name.startswith(kept.pgs_id)))
        score = read_table(content)
        header = {FOOTER: json.dumps(score.header.raw, ensure_ascii=False)}
        as_in_file(score).write_parquet(path, compression="zstd", compression_level=_LEVEL, metadata=header)

    return Piece(write=write, source=f"{kept.sha256} {kept.form} {FORM}")


def as_in_file(score: ParsedScore) -> pl.DataFrame:
    """Give a score's rows with the catalogue's names, in the order of its file."""
    rows = score.rows.sort("row_nr")
    there = set(rows.columns)
    places = _places(rows, ("hm_chr", "hm_pos") if score.is_harmonised else ("chr_name", "chr_position"))
    own = [name for name in rows.columns if name not in {*TYPED, "rsid", "effect_allele", "other_allele"}]
    dosage = rows["model"] == Model.DOSAGE
    weight = rows["weight"].fill_nan(None)
    columns = [
        rows["rsid"].alias("rsID"),
        rows["effect_allele"],
        rows["other_allele"],
        weight.set(dosage, None).alias("effect_weight") if dosage.any() else weight.alias("effect_weight"),
        *(rows[ours].fill_nan(None).alias(theirs) for ours, theirs in _WEIGHTS.items() if ours in there),
        *([rows["frequency"].fill_nan(None).alias("allelefrequency_effect")] if "frequency" in there else []),
        *([rows["ratio"].fill_nan(None).alias("ratio")] if "ratio" in there else []),
        *((rows["model"] == model).alias(flag) for flag, model in _FLAGS.items() if (rows["model"] == model).any()),
        *([rows["rsid"].alias("hm_rsID")] if score.is_harmonised else []),
        *places,
    ]
    named = {each.name for each in columns}
    return pl.DataFrame([*columns, *(rows[name] for name in own if name not in named)])


def _places(rows: pl.DataFrame, names: tuple[str, str]) -> list[pl.Series]:
    """Give chromosome and position from the keys; a row without a place has neither."""
    key = rows["key"].to_numpy()
    numbers = pl.Series(names[0], (key >> np.uint64(CHROMOSOME_SHIFT)).astype(np.uint8))
    positions = pl.Series(names[1], (key >> np.uint64(POSITION_SHIFT) & np.uint64(MAX_POSITION)).astype(np.int64))
    placed = numbers.is_in(list(_NAMES))
    return [
        numbers.replace_strict(_NAMES, default=None, return_dtype=pl.String).alias(names[0]),
        positions.set(~placed, None),
    ]
