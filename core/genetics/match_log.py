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
    for each in score.complex if policy.match == "position" else ():
        both.reason[np.searchsorted(rows.row, each.row_nr)] = reason_of(each, entries, policy)
    texts = score.rows.sort("row_nr")
    return _lines(reference, score.name, rows, both, texts)


def _lines(reference: Reference, name: str, rows: Rows, found: Matches, texts: pl.DataFrame) -> pl.DataFrame:
    is_found = found.entry >= 0
    names = reference.table.names(found.entry[is_found])
    is_multiallelic = np.asarray(reference.table.multiallelic[found.entry[is_found]])
    place = pl.DataFrame({"at": np.flatnonzero(is_found), "is_multiallelic": is_multiallelic}).hstack(
        names.select("id", "ref", "alt")
    )
    numbers = (rows.key >> np.uint64(CHROMOSOME_SHIFT)).astype(np.uint8)
    positions = (rows.key >> np.uint64(POSITION_SHIFT)) & np.uint64(MAX_POSITION)
    reasons = {int(each): each for each in Reason}
    table = pl.DataFrame(
        {
            "at": np.arange(rows.n),
            "pgs_id": [name] * rows.n,
            "row_nr": rows.row,
            "chr_name": [_NAMES.get(int(each)) for each in numbers],
            "chr_position": pl.Series(positions.astype(np.uint32)).replace(0, None),
            "effect_allele": texts["effect_allele"].str.to_uppercase(),
            "other_allele": texts["other_allele"].str.to_uppercase(),
            "effect_weight": texts["weight"],
            "effect_type": [Model(each).name.lower() for each in rows.model],
            "match_type": [None if each == NO_TYPE else MATCH_TYPES[each] for each in found.type],
            "match_status": [reasons[int(each)].status for each in found.reason],
            "reason": [reasons[int(each)].name.lower() for each in found.reason],
        },
        schema_overrides={"chr_name": pl.String, "match_type": pl.String},
    )
    return _judged(table.join(place, on="at", how="left", maintain_order="left")).select(COLUMNS)


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
