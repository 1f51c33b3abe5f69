"""What moved since the last release, by how much, and why; what nothing explains keeps the release back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.publish.audit import Finding, about

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.publish.audit import Rules

SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(), "kind": pl.String(), "why": pl.String(), "populations": pl.Int64(),
        "largest_shift_in_sd": pl.Float64(), "largest_std_ratio": pl.Float64(),
    }
)  # fmt: skip
"""A score was added, withdrawn or moved; the shift is that of the mean of a population, in its SDs before."""

_KEY: Final = ["pgs_id", "superpopulation"]
# Bits are the same where nothing changed; but libraries may add up in another order.
_SAME: Final = 1e-9
_BY_CODE: Final = "our code changed"
_UNEXPLAINED: Final = "nothing that is known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The last release's table of distributions, and what it was made with: panel, policy, code."""

    distributions: pl.DataFrame
    made_with: Mapping[str, str]


def moved(now: pl.DataFrame, made_with: Mapping[str, str], before: Before, gone: Mapping[str, str]) -> pl.DataFrame:
    """Give a line for each score that differs from the last release.

    Args:
        now: The distributions that are about to be published.
        made_with: What they were made with.
        before: The last release.
        gone: Why a score is not in the table, as far as that is known.
    """
    old, new = before.distributions, now
    added = new.select("pgs_id").unique().join(old, on="pgs_id", how="anti")
    lost = old.select("pgs_id").unique().join(new, on="pgs_id", how="anti")
    why = pl.col("pgs_id").replace_strict(dict(gone), default=_UNEXPLAINED, return_dtype=pl.String)
    tables = [
        added.with_columns(kind=pl.lit("added"), why=pl.lit("it was not published before")),
        lost.with_columns(kind=pl.lit("withdrawn"), why=why),
        _shifted(old, new, _causes(before.made_with, made_with)),
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *map(_shaped, tables)]).sort("pgs_id")


def told(moved: pl.DataFrame, rules: Rules) -> list[Finding]:
    """Give what is to be known of the differences, and which of them block."""
    shifted, lost = moved.filter(kind="moved"), moved.filter(kind="withdrawn")
    silent = shifted.filter(why=_UNEXPLAINED)
    by_code = shifted.filter(why=_BY_CODE)
    known = shifted.filter(~pl.col("why").is_in([_UNEXPLAINED, _BY_CODE]))
    return [
        *about("BLOCK", "moved_unexplained", f"{silent.height} scores moved though nothing changed", silent["pgs_id"]),
        *about(
            "WARN" if rules.accept_moved else "BLOCK", "moved_by_code",
            f"{by_code.height} scores moved because our code changed, by up to {_most(by_code)} SD", by_code["pgs_id"],
        ),
        *about("WARN", "moved", f"{known.height} scores moved, by up to {_most(known)} SD", known["pgs_id"]),
        *about("WARN", "withdrawn", f"{lost.height} scores are not published any more", lost["pgs_id"]),
    ]  # fmt: skip


def _shifted(old: pl.DataFrame, new: pl.DataFrame, causes: list[str]) -> pl.DataFrame:
    names = ("mean", "std", "n", "scoring_file_md5", "variant_set_hash")
    told = [each if names[3] in each.columns else each.with_columns(_nothing(names[3])) for each in (old, new)]
    told = [each if names[4] in each.columns else each.with_columns(_nothing(names[4])) for each in told]
    both = told[1].select(*_KEY, *names).join(told[0].select(*_KEY, *names), on=_KEY, how="inner", suffix="_old")
    shift = (pl.col("mean") - pl.col("mean_old")).abs() / pl.col("std_old")
    ratio = pl.max_horizontal(pl.col("std") / pl.col("std_old"), pl.col("std_old") / pl.col("std"))
    differs = (shift > _SAME) | (ratio > 1 + _SAME) | (pl.col("n") != pl.col("n_old"))
    revised = pl.col("scoring_file_md5") != pl.col("scoring_file_md5_old")
    # Without an md5, another set of variants on the same panel by the same policy is another file.
    other_file = (pl.col("variant_set_hash") != pl.col("variant_set_hash_old")) & pl.lit(not _sets_changed(causes))
    first = causes[0] if causes else _UNEXPLAINED
    why = pl.when(revised | other_file).then(pl.lit("its scoring file was revised")).otherwise(pl.lit(first))
    scores = both.filter(differs.fill_null(value=True)).with_columns(shift=shift, ratio=ratio, why=why)
    return scores.group_by("pgs_id").agg(
        kind=pl.lit("moved"), why=pl.col("why").first(), populations=pl.len().cast(pl.Int64),
        largest_shift_in_sd=pl.col("shift").max(), largest_std_ratio=pl.col("ratio").max(),
    )  # fmt: skip


def _causes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Give what changed that every score depends on, the best explanation first."""
    said = {"panel": "the panel changed", "policy": "the policy changed", "code": _BY_CODE}
    return [words for name, words in said.items() if before.get(name) != now.get(name)]


def _sets_changed(causes: list[str]) -> bool:
    return any(each != _BY_CODE for each in causes)


def _nothing(name: str) -> pl.Expr:
    return pl.lit(None, pl.String).alias(name)


def _most(rows: pl.DataFrame) -> str:
    largest = rows["largest_shift_in_sd"].max()
    return f"{largest:.3g}" if isinstance(largest, float) else "0"


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    lacking = [name for name in SCHEMA if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, SCHEMA[name]).alias(name) for name in lacking)
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
