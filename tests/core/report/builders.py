"""Reports small enough to know by heart: three scores over six people of two populations."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sluiceway.core.genetics.distributions import groups_of, summarise
from sluiceway.core.report.scoring import ScoringReport

PEOPLE = pl.DataFrame(
    {
        "sample": list("abcdef"),
        "sex": [1, 2, 1, 2, 1, 2],
        "population": ["AFR"] * 3 + ["EUR"] * 3,
        "unrelated": [True, True, False, True, True, True],
    },
    schema_overrides={"sex": pl.UInt8},
)
SPREAD = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]


def distributions(name: str, sums: list[float], *, coding: int | None = None) -> pl.DataFrame:
    groups = groups_of(PEOPLE, sex_linked=coding is not None, coding=coding)
    return summarise([name], np.array([sums]), groups, scales=np.ones(1))


def quality(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "pgs_id": name, "trait": "height", "status": "ok", "reason": None, "rows": 10, "matched": 7, "excluded": 1,
        "unmatched": 2, "match_rate": 0.7, "weight_mass": 5.0, "weight_mass_matched": 4.0, "weight_mass_missing": 0.1,
        "coverage": 0.8, "variants_used": 7, "sex_linked": False, "rows_exact": 7, "rows_ambiguous": 1,
        "rows_not_in_panel": 2, "rows_not_yet_thought_of": 0, **changes,
    }  # fmt: skip


def nothing(name: str, reason: str) -> dict[str, Any]:
    """A score that failed: nothing of it was counted."""
    counted = ("rows", "matched", "excluded", "unmatched", "match_rate", "coverage", "variants_used")
    by_reason = ("rows_exact", "rows_ambiguous", "rows_not_in_panel")
    return quality(name, status="failed", reason=reason, **dict.fromkeys(counted), **dict.fromkeys(by_reason))


def report(*scores: dict[str, Any], **changes: Any) -> ScoringReport:
    scored = [each["pgs_id"] for each in scores if each["status"] != "failed"]
    values: dict[str, Any] = {
        "title": "A small panel",
        "synthetic": False,
        "quality": pl.DataFrame(scores, infer_schema_length=None),
        "distributions": pl.concat(
            [distributions("none", SPREAD).clear(), *(distributions(n, SPREAD) for n in scored)]
        ),
        "manifest": {"content_key": "sha256:0ba9", "versions": {"numpy": "2.4.0"}},
        "policy": {"min_overlap": 0.75, "flip": True},
        "panel": {"name": "six people", "digest": "sha256:77"},
    }
    return ScoringReport(**{**values, **changes})
