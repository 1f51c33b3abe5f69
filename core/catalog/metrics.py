"""Effect sizes as the catalogue writes them, such as `1.55 [1.52,1.58]` and `-0.7 (0.15)`, as numbers.

What is written in another way stays as it is and is counted: no value is dropped without a trace.
"""

from __future__ import annotations

from typing import Final

import polars as pl

METRICS: Final = ("or", "hr", "beta", "auroc", "cindex")
"""The metrics that become numbers; `{metric}_raw` is the text of each."""

PARTS: Final = ("estimate", "ci_lower", "ci_upper", "se")
NUMBERS: Final = tuple(f"{metric}_{part}" for metric in METRICS for part in PARTS)

_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# Between the ends of an interval: a comma, a semicolon, a dash of any length or the word.
_BETWEEN: Final = r"\s*(?:,|;|\u2013|\u2014|-|\sto\s)\s*"
_INTERVAL: Final = rf"[\[(]\s*(?:95%\s*CI:?\s*)?(?P<ci_lower>{_NUMBER}){_BETWEEN}(?P<ci_upper>{_NUMBER})\s*[\])]"
_ERROR: Final = rf"\(\s*(?:[sS][eE]\s*[=:]?\s*)?(?P<se>{_NUMBER})\s*\)"
_METRIC: Final = rf"^(?P<estimate>{_NUMBER})(?:\s*{_INTERVAL})?(?:\s*{_ERROR})?$"


def parsed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the numbers of every metric, and the names of those that could not be read.

    >>> texts = {f"{metric}_raw": [None] for metric in METRICS} | {"or_raw": ["1.55 [1.52,1.58]"]}
    >>> parsed(pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String))).select("or_estimate", "or_ci_upper").row(0)
    (1.55, 1.58)
    """
    numbers = frame.select(each for metric in METRICS for each in _numbers(metric))
    unread = [
        pl.when(pl.col(f"{metric}_raw").is_not_null() & pl.col(f"{metric}_estimate").is_null()).then(pl.lit(metric))
        for metric in METRICS
    ]
    return frame.hstack(numbers).with_columns(metrics_unparsed=pl.concat_list(unread).list.drop_nulls())


def unparsed(performance: pl.DataFrame) -> dict[str, int]:
    """Count for each metric how many of its texts could not be read."""
    counted = performance["metrics_unparsed"].explode().drop_nulls().value_counts()
    found = dict(counted.iter_rows())
    return {metric: found.get(metric, 0) for metric in METRICS}


def _numbers(metric: str) -> list[pl.Expr]:
    text = pl.col(f"{metric}_raw").str.strip_chars().str.replace_all("\N{MINUS SIGN}", "-", literal=True)
    groups = text.str.extract_groups(_METRIC)
    return [groups.struct.field(part).cast(pl.Float64, strict=False).alias(f"{metric}_{part}") for part in PARTS]
