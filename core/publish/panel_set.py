"""The data set of distributions: the files of one panel, beside those of others, which stay as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.publish.card import distributions_card
from sluiceway.core.publish.dataset import Draft, Piece, bytes_piece, table_piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.genetics.build import Build
    from sluiceway.core.publish.review import Reviewed
    from sluiceway.core.publish.scored import People
    from sluiceway.core.publish.snapshot import Version

NAME: Final = "prs-percentiles"

_TABLES: Final = (
    "distributions", "distributions_by_sex", "distributions_v2", "quality", "distribution_quality_issues",
    "scoring_flags", "changes",
)  # fmt: skip
_SUMMARY: Final = "distribution_audit_summary.json"


def panel_draft(
    panel: str, reviewed: Reviewed, people: People, build: Build | None, release: str | None, before: Version | None
) -> Draft:
    """Give the data set with the files of one panel; the set of them is closed, so that none goes out of step."""
    tables = {**reviewed.tables, "scoring_flags": reviewed.audit.flags}
    own = {f"data/{panel}_{name}.parquet" for name in _TABLES} | {f"data/{panel}_{_SUMMARY}"}
    pieces = {
        # What changed since the last release is nothing once that is the last.
        f"data/{panel}_{name}.parquet": table_piece(table, volatile=name == "changes")
        for name, table in tables.items()
    }
    pieces[f"data/{panel}_{_SUMMARY}"] = _summary(reviewed.summary)
    facts = {panel: _facts(reviewed, people, build, release)}
    others = {} if before is None else {name: told for name, told in before.facts.items() if name != panel}
    return Draft(
        dataset=NAME,
        pieces=pieces,
        replaces=own.__contains__,
        facts=facts,
        card=distributions_card,
        is_partial=any(told["partial"] for told in [*facts.values(), *others.values()]),
        told=tuple(map(str, reviewed.audit.findings)),
    )


def _summary(summary: Mapping[str, Any]) -> Piece:
    content = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    # It says when the results were made.
    return bytes_piece(content, volatile=True)


def _facts(reviewed: Reviewed, people: People, build: Build | None, release: str | None) -> dict[str, Any]:
    return {
        "published_pgs_ids": reviewed.summary["published_pgs_ids"],
        "populations": sorted(people.labels.values()),
        "build": None if build is None else str(build),
        "release": release,
        "coverage": reviewed.audit.coverage,
        "partial": reviewed.audit.is_partial,
        "tables": sorted({*reviewed.tables, "scoring_flags"}),
        "made_with": dict(reviewed.made_with),
    }
