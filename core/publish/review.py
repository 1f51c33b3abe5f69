"""The data set of distributions of one panel: its tables are made, looked at from every side, and told of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.key import canonical_json
from sluiceway.core.publish import canaries, comparison, invariants, issues
from sluiceway.core.publish.audit import Audit, Finding, about, gravest_first
from sluiceway.core.publish.distributions import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.publish.audit import Rules
    from sluiceway.core.publish.comparison import Before
    from sluiceway.core.publish.distributions import Facts, Tables
    from sluiceway.core.publish.scored import Results, Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a release is held against.

    Attributes:
        expected: The scores that the catalogue has, with the md5 of each file where it has one; none asks nothing.
        unscorable: Those of which nothing can be computed.
        canaries: People with known sums.
        before: The last release.
    """

    expected: Mapping[str, str | None] | None = None
    unscorable: frozenset[str] = frozenset()
    canaries: Path | None = None
    before: Before | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A panel's tables as they may be published, by the ends of their files' names, and what was found."""

    tables: Mapping[str, pl.DataFrame]
    audit: Audit
    summary: Mapping[str, Any]
    made_with: Mapping[str, str]


def reviewed(name: str, results: Results, facts: Facts, rules: Rules, against: Against) -> Reviewed:
    """Make the tables of a panel and look at them."""
    scored, people = results.compatible, results.people
    tables = tables_of(results, facts, rules)
    flags = canaries.flags_of(tables.distributions, scored, people, rules, against.canaries)
    wrong = issues.issues_of(tables, scored, rules, flags)
    publishable = _publishable(tables, issues.left_out(wrong))
    made_with = _made_with(scored)
    moved = _moved(publishable["distributions"], made_with, tables, wrong, against)
    complete, coverage, is_partial = _completeness(tables, facts, rules, against)
    found = [
        *_something(publishable["distributions"]),
        *complete,
        *invariants.broken(tables, scored, people, rules),
        *canaries.told(flags, tables.distributions["pgs_id"].n_unique(), rules),
        *comparison.told(moved, rules),
        *issues.told(wrong),
    ]
    audit = Audit(
        findings=gravest_first(found), issues=wrong, flags=flags, coverage=coverage, is_partial=is_partial, moved=moved
    )
    files = {
        **publishable, "quality": tables.quality, "distribution_quality_issues": wrong, "changes": moved,
    }  # fmt: skip
    summary = _summary(name, tables, publishable["distributions"], audit, rules, scored)
    return Reviewed(tables=files, audit=audit, summary=summary, made_with=made_with)


def _publishable(tables: Tables, out: frozenset[str]) -> dict[str, pl.DataFrame]:
    """Keep what a reader can use: no score that is left out, and no row whose spread is nothing."""

    def usable(table: pl.DataFrame) -> pl.DataFrame:
        finite = pl.col("mean").is_finite() & pl.col("std").is_finite() & (pl.col("std") > 0)
        spread = ~pl.col("zero_variance").fill_null(value=True)
        return table.filter(~pl.col("pgs_id").is_in(out) & finite & spread).drop("zero_variance")

    kept = {"distributions": usable(tables.distributions), "distributions_by_sex": usable(tables.by_sex)}
    return kept if tables.v2 is None else {**kept, "distributions_v2": usable(tables.v2)}


def _moved(
    now: pl.DataFrame, made_with: Mapping[str, str], tables: Tables, wrong: pl.DataFrame, against: Against
) -> pl.DataFrame:
    if against.before is None:
        return pl.DataFrame(schema=comparison.SCHEMA)
    failed = dict(tables.quality.filter(status="failed").select("pgs_id", "error").iter_rows())
    reasons = wrong.filter(severity="ERROR").group_by("pgs_id").agg(pl.col("issue").unique().sort().str.join(", "))
    gone = {each: f"left out: {issue}" for each, issue in reasons.iter_rows()}
    gone |= {each: f"it failed: {reason}" for each, reason in failed.items()}
    if against.expected is not None:
        ids = against.before.distributions["pgs_id"].unique()
        gone |= {each: "the catalogue has it no more" for each in ids if each not in against.expected}
    return comparison.moved(now, made_with, against.before, gone)


def _completeness(tables: Tables, facts: Facts, rules: Rules, against: Against) -> tuple[list[Finding], float, bool]:
    """Count the catalogue's scores that were scored from the file that it has now."""
    if against.expected is None:
        return [], 1.0, False
    wanted = {each: md5 for each, md5 in against.expected.items() if each not in against.unscorable}
    there = set(tables.quality.filter(pl.col("status") != "failed")["pgs_id"])
    stale = {each for each, md5 in wanted.items() if each in there and md5 and facts.md5.get(each, md5) != md5}
    lacking = sorted(each for each in wanted if each not in there or each in stale)
    coverage = 1 - len(lacking) / len(wanted) if wanted else 1.0
    too_few = coverage < rules.completeness
    blocks = too_few and not rules.allow_partial
    said = (
        f"{len(lacking)} of {len(wanted)} scores of the catalogue are not scored, {len(stale)} of them as they are now"
    )
    return about("BLOCK" if blocks else "WARN", "incomplete", said, lacking), coverage, too_few


def _something(table: pl.DataFrame) -> list[Finding]:
    if table.height:
        return []
    return [Finding(severity="BLOCK", code="empty", said="no score is left that can be published", n=0)]


def _made_with(scored: Scored) -> dict[str, str]:
    policy = digest_of_bytes(canonical_json(scored.policy.model_dump(mode="json")).encode())
    return {"panel": scored.panel, "policy": policy, "code": scored.code}


def _summary(
    name: str, tables: Tables, published: pl.DataFrame, audit: Audit, rules: Rules, scored: Scored
) -> dict[str, Any]:
    before, after = tables.distributions, published
    gone = before.select("pgs_id").unique().join(after, on="pgs_id", how="anti")
    counts = {name: dict(audit.issues.group_by(name).len().sort(name).iter_rows()) for name in ("severity", "issue")}
    return {
        "generated_at": None if scored.finished is None else scored.finished.isoformat(),
        "panel": name,
        "input_rows": before.height,
        "published_rows": after.height,
        "quarantined_distribution_rows": before.height - after.height,
        "input_pgs_ids": before["pgs_id"].n_unique(),
        "published_pgs_ids": after["pgs_id"].n_unique(),
        "fully_removed_pgs_ids": gone.height,
        "issue_rows": audit.issues.height,
        "issue_counts_by_severity": counts["severity"],
        "issue_counts_by_type": counts["issue"],
        "affected_pgs_ids": audit.issues["pgs_id"].n_unique(),
        "policy": {
            "min_match_rate": rules.match_rate, "scoring": json.loads(scored.policy.model_dump_json()),
            "coverage": audit.coverage, "partial": audit.is_partial,
            "findings": [str(each) for each in audit.findings],
        },
    }  # fmt: skip
