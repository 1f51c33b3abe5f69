"""The match log: every row of a score, the variant it met, and why it counts or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.genetics.alleles import CHROMOSOME_SHIFT, MAX_POSITION, POSITION_SHIFT
from sluiceway.core.genetics.build import CHROMOSOMES
from sluiceway.core.genetics.complex import reason_of
from sluiceway.core.genetics.ids import packer
from sluiceway.core.genetics.match import MATCH_TYPES, NO_TYPE, Matches, Reason, match
from sluiceway.core.genetics.model import Model
from sluiceway.core.genetics.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.reference import Reference

_COMPLEMENT: Final = {"A": "T", "C": "G", "G": "C", "T": "A"}
_NAMES: Final = {number: name for name, number in CHROMOSOMES.items()}
COLUMNS: Final = (
    "pgs_id", "row_nr", "chr_name", "chr_position", "effect_allele", "other_allele", "effect_weight", "effect_type",
    "id", "ref", "alt", "matched_effect_allele", "match_type", "match_status", "reason", "is_ambiguous",
    "is_multiallelic", "match_flipped",
)  # fmt: skip
"""The columns of a match log, in order."""


def match_log(reference: Reference, score: ParsedScore, policy: Policy) -> pl.DataFrame:
    """Give a line for each of a score's rows, in the order of its file."""
    entries = reference.all_entries
    packed = packer(reference.table, entries, policy)(score.rows, 0)
    found = match(packed.rows, entries, policy)
    rows = Rows.joined([packed.rows, packed.left])
    order = np.argsort(rows.row, kind="stable")
    absent = packed.left.n
    rows, both = (
        rows.take(order),
        Matches(
            reason=np.concatenate([found.reason, packed.reason])[order],
            type=np.concatenate([found.type, np.full(absent, NO_TYPE, np.uint8)])[order],
            entry=np.concatenate([found.entry, np.full(absent, -1, np.int64)])[order],
        ),
    )
    for each in score.complex if policy.counts_complex_rows else ():
        both.reason[np.searchsorted(rows.row, each.row_nr)] = reason_of(each, entries, policy)
    texts = score.rows.sort("row_nr")
    return _lines(reference, score.name, rows, both, texts)


def _lines(reference: Reference, name: str, rows: Rows, found: Matches, texts: pl.DataFrame) -> pl.DataFrame:
    is_found = found.entry >= 0
    names = reference.table.names(found.entry[is_found])
    at = pl.Series(np.where(is_found, np.cumsum(is_found) - 1, -1)).replace(-1, None).cast(pl.UInt32)
    is_multiallelic = pl.Series("is_multiallelic", np.asarray(reference.table.multiallelic[found.entry[is_found]]))
    numbers = (rows.key >> np.uint64(CHROMOSOME_SHIFT)).astype(np.uint8)
    positions = (rows.key >> np.uint64(POSITION_SHIFT)) & np.uint64(MAX_POSITION)
    table = pl.DataFrame(
        {
            "pgs_id": pl.Series([name]).new_from_index(0, rows.n),
            "row_nr": rows.row,
            "chr_name": _worded(numbers, _NAMES),
            "chr_position": pl.Series(positions.astype(np.uint32)).replace(0, None),
            "effect_allele": texts["effect_allele"].str.to_uppercase(),
            "other_allele": texts["other_allele"].str.to_uppercase(),
            "effect_weight": texts["weight"],
            "effect_type": _worded(rows.model, {each: each.name.lower() for each in Model}),
            "match_type": _worded(found.type, dict(enumerate(MATCH_TYPES))),
            "match_status": _worded(found.reason, {each: each.status for each in Reason}),
            "reason": _worded(found.reason, {each: each.name.lower() for each in Reason}),
        }
    )
    # A row without an entry takes none of what the entries say.
    place = names.select("id", "ref", "alt").with_columns(is_multiallelic)
    return _judged(table.hstack([column.gather(at).rename(column.name) for column in place])).select(COLUMNS)


def _worded(numbers: NDArray[np.uint8], words: Mapping[int, str]) -> pl.Series:
    """Give the word for each number, and none for a number that has no word."""
    table = pl.Series([words.get(number) for number in range(256)], dtype=pl.String)
    return table.gather(numbers)


def _judged(table: pl.DataFrame) -> pl.DataFrame:
    """Add what follows from the others: the allele that is counted, and what kind of site it is."""
    flipped = pl.col("match_type").str.contains("_flip").fill_null(value=False)
    other_strand = pl.col("effect_allele").replace(_COMPLEMENT)
    counted = pl.when(flipped).then(other_strand).otherwise(pl.col("effect_allele"))
    return table.with_columns(
        match_flipped=flipped,
        matched_effect_allele=pl.when(pl.col("match_type").is_not_null()).then(counted),
        is_ambiguous=pl.col("ref").replace(_COMPLEMENT) == pl.col("alt"),
    )
