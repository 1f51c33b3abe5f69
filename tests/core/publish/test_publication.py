"""A release from results to readers: every file and column that they know, published whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.kept import KeptTables
from sluiceway.core.catalog.release import Release, Upstream
from sluiceway.core.catalog.score_table import read_table
from sluiceway.core.errors import PanelUnusable, PolicyInvalid, PublicationRefused, VerificationFailed
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.publish.audit import Rules
from sluiceway.core.publish.publication import Publication, publish, review
from sluiceway.core.publish.review import Against, reviewed
from sluiceway.core.publish.snapshot import Published
from sluiceway.core.remote.clock import SystemClock
from tests.core.publish.conftest import Scenery

Wish = Callable[..., Publication]

KNOWN = {
    "distributions": [
        "pgs_id", "superpopulation", "mean", "std", "n", "median", "p5", "p25", "p75", "p95", "name", "trait_reported",
        "trait_efo", "trait_efo_id", "genome_build", "n_variants", "pgp_id", "pmid", "auroc_estimate", "auroc_ci_lower",
        "auroc_ci_upper", "or_estimate", "or_ci_lower", "or_ci_upper", "hr_estimate", "hr_ci_lower", "hr_ci_upper",
        "cindex_estimate", "cindex_ci_lower", "cindex_ci_upper", "ancestry_broad", "n_individuals", "abs_risk_at_mean",
        "abs_risk_method", "abs_risk_prevalence",
    ],
    "distributions_by_sex": [
        "pgs_id", "superpopulation", "sex", "x_coding", "mean", "std", "n", "median", "p5", "p25", "p75", "p95",
    ],
    "quality": [
        "pgs_id", "status", "variants_total", "variants_matched", "match_rate", "n_samples", "score_mean", "score_std",
        "elapsed_sec", "error",
    ],
    "distribution_quality_issues": [
        "pgs_id", "superpopulation", "severity", "issue", "recommended_action", "mean", "std", "n", "median", "p5",
        "p25", "p75", "p95",
    ],
}  # fmt: skip
OURS = {
    "n_unrelated", "allele_ct", "x_coding", "missing_policy", "variant_set_hash", "score_scale", "panel_version",
    "scoring_file_md5", "p1", "p99", "skew",
}  # fmt: skip
SUMMARY = {
    "generated_at", "panel", "input_rows", "published_rows", "quarantined_distribution_rows", "input_pgs_ids",
    "published_pgs_ids", "fully_removed_pgs_ids", "issue_rows", "issue_counts_by_severity", "issue_counts_by_type",
    "affected_pgs_ids", "policy",
}  # fmt: skip


def published(wish: Publication) -> dict[str, Published]:
    return {each.dataset: each for each in publish(wish, clock=SystemClock())}


def of_scores(*names: str, md5: str | None = None) -> Release:
    """What a catalogue has of these scores."""
    scores = {
        name: Upstream(pgs_id=name, link=f"https://x/{name}", md5=md5, etag=None, modified=None, released=None)
        for name in names
    }
    return Release(date="2026-11-20", build=Build.GRCH38, scores=scores, sheets={})


@pytest.mark.parametrize("table", KNOWN)
def test_a_table_begins_with_the_columns_that_readers_know(wish: Wish, table: str) -> None:
    made = published(wish())["prs-percentiles"]
    columns = pl.read_parquet_schema(made.folder / f"data/demo_{table}.parquet")
    assert list(columns)[: len(KNOWN[table])] == KNOWN[table]
    assert columns.get("n", pl.UInt32) in {pl.UInt32, pl.Int64}
    if table == "distributions":
        assert set(columns) >= OURS
        assert columns["n"] == pl.UInt32


def test_a_release_has_every_file_each_time(wish: Wish) -> None:
    made = published(wish())["prs-percentiles"]
    tables = (*KNOWN, "distributions_v2", "scoring_flags", "changes")
    files = {f"data/demo_{table}.parquet" for table in tables}
    files |= {"data/demo_distribution_audit_summary.json", "README.md", "release.json"}
    assert {str(each.relative_to(made.folder)) for each in made.folder.rglob("*") if each.is_file()} == files
    summary = json.loads((made.folder / "data/demo_distribution_audit_summary.json").read_text())
    assert set(summary) == SUMMARY


def test_what_is_published_twice_is_the_same_version(wish: Wish) -> None:
    wanted = wish()
    first, again = published(wanted), published(wanted)
    assert [each.is_new for each in (*first.values(), *again.values())] == [True, True, False, False]
    assert {each.folder for each in first.values()} == {each.folder for each in again.values()}


def test_panels_are_published_side_by_side_and_none_stands_in_for_another(wish: Wish) -> None:
    published(wish())
    both = published(wish(name="hgdp_1kg"))["prs-percentiles"]
    names = {each.name for each in (both.folder / "data").iterdir()}
    assert {"demo_distributions.parquet", "hgdp_1kg_distributions.parquet"} <= names
    assert "reference_distributions.parquet" not in names
    assert {each.partition("/")[2].partition("_")[0] for each in both.changed if each.startswith("data")} == {"hgdp"}


def test_scores_that_the_catalogue_has_and_we_have_not_keep_a_release_back(wish: Wish) -> None:
    """Red on: core/publish/review.py: `blocks = too_few and not rules.allow_partial` -> `blocks = False`."""
    lacking = of_scores("PGS900001", "PGS900002", "PGS000007")
    wanted = wish(release=lacking)
    with pytest.raises(PublicationRefused, match=r"1 of 3 scores of the catalogue are not scored.*PGS000007"):
        publish(wanted, clock=SystemClock())
    assert not wanted.folder.exists()


def test_what_is_published_below_the_threshold_says_so(wish: Wish) -> None:
    lacking = of_scores("PGS900001", "PGS900002", "PGS000007")
    made = published(wish(release=lacking, rules=Rules(allow_partial=True)))["prs-percentiles"]
    assert made.is_partial
    assert "(partial)" in (made.folder / "README.md").read_text()
    summary = json.loads((made.folder / "data/demo_distribution_audit_summary.json").read_text())
    assert summary["policy"]["partial"]


def test_scores_that_nobody_can_compute_are_not_missed(wish: Wish) -> None:
    lacking = of_scores("PGS900001", "PGS000343")
    assert review(wish(release=lacking, unscorable=frozenset({"PGS000343"}))).coverage == 1


def test_results_of_a_file_that_was_revised_since_do_not_count(scenery: Scenery) -> None:
    facts = replace(scenery.facts(), md5={"PGS900001": "old"})
    seen = reviewed("demo", scenery.read(), facts, Rules(), Against(expected={"PGS900001": "new"}))
    assert [each.code for each in seen.audit.blocking] == ["incomplete"]
    assert seen.audit.coverage == 0


def test_results_on_another_panel_are_refused(wish: Wish, tmp_path: Path) -> None:
    make_panel(tmp_path / "other", variants=2_000, people=20, seed=2)
    with pytest.raises(PanelUnusable, match="of another panel"):
        review(wish(panel=open_panel(tmp_path / "other")))


def test_results_by_another_policy_are_not_what_readers_expect(scenery: Scenery, wish: Wish) -> None:
    with pytest.raises(PolicyInvalid, match="--policy just-prs"):
        review(wish(results=scenery.own))


def test_results_that_were_changed_since_are_refused(scenery: Scenery, wish: Wish, tmp_path: Path) -> None:
    """Red on: core/publish/scored.py: `verifier.data(folder, manifest)` -> `[]`."""
    copy = tmp_path / "results"
    copy.mkdir()
    for each in scenery.results.iterdir():
        (copy / each.name).write_bytes(each.read_bytes())
    table = pl.read_parquet(copy / "distributions.parquet")
    table.with_columns(pl.col("mean") * 2).write_parquet(copy / "distributions.parquet")
    with pytest.raises(VerificationFailed, match=r"distributions\.parquet"):
        review(wish(results=copy))


def test_scoring_files_are_the_catalogues_rows_with_their_header(scenery: Scenery, wish: Wish) -> None:
    made = published(wish())["pgs-catalog"]
    file = made.folder / "data/scores/PGS000001_hmPOS_GRCh38.parquet"
    header = json.loads(pl.read_parquet_metadata(file)["pgs_catalog_header"])
    assert (header["pgs_id"], header["HmPOS_build"]) == ("PGS000001", "GRCh38")
    rows, tables = pl.read_parquet(file), KeptTables(scenery.home)
    kept = tables.find("PGS000001", Build.GRCH38)
    assert kept is not None
    parsed = read_table(tables.store.read(kept.keys[0]) or b"").rows.sort("row_nr")
    assert rows["effect_weight"].to_list() == parsed["weight"].to_list()
    assert rows["hm_pos"].to_list() == [each + 7 for each in rows["chr_position"]]
    assert set(rows["hm_chr"]) == {"1"}


def test_scoring_files_that_did_not_change_are_the_same_files(wish: Wish) -> None:
    first = published(wish())["pgs-catalog"]
    partial = published(wish(scoring_files=False))["pgs-catalog"]
    name = "data/scores/PGS000001_hmPOS_GRCh38.parquet"
    assert partial.number == first.number + 1
    assert (partial.folder / name).samefile(first.folder / name)
