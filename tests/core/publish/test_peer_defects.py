"""Defects of other pipelines that published such data sets, one test each: here they do not happen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.metadata import best_performance
from sluiceway.core.publish.audit import Rules
from sluiceway.core.publish.catalogue import with_links
from sluiceway.core.publish.distributions import tables_of
from sluiceway.core.publish.issues import issues_of
from sluiceway.core.publish.publication import Publication, publish
from sluiceway.core.publish.review import Against, reviewed
from sluiceway.core.publish.snapshot import Published
from sluiceway.core.remote.clock import SystemClock
from tests.core.publish.conftest import Scenery

Wish = Callable[..., Publication]


def published(wish: Publication) -> dict[str, Published]:
    return {each.dataset: each for each in publish(wish, clock=SystemClock())}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def test_x_publishing_changes_no_result_and_joins_nothing_twice(scenery: Scenery, wish: Wish) -> None:
    before = digests(scenery.results)
    for own in (scenery.own, None, scenery.own):
        made = published(wish(own=own))["prs-percentiles"]
        columns = list(pl.read_parquet_schema(made.folder / "data/demo_distributions.parquet"))
        assert not [name for name in columns if name.endswith("_right")]
        assert len(columns) == len(set(columns))
    assert digests(scenery.results) == before


def test_x_curves_by_sex_are_published_every_time_by_either_coding_of_x(wish: Wish) -> None:
    """Red on: core/publish/review.py: `usable(tables.by_sex)` -> `usable(tables.by_sex.head(0))`."""
    made = published(wish())["prs-percentiles"]
    sexed = pl.read_parquet(made.folder / "data/demo_distributions_by_sex.parquet")
    main = pl.read_parquet(made.folder / "data/demo_distributions.parquet")
    both = sexed.filter(sex="all").select("pgs_id", "superpopulation", "x_coding")
    codings = ["copies", "dosage_compensation"]
    assert both.group_by("pgs_id", "superpopulation").agg(pl.col("x_coding").sort())["x_coding"].to_list() == (
        [codings] * main.height
    )
    depend = set(main.filter(pl.col("x_coding").is_not_null())["pgs_id"])
    assert depend
    assert set(sexed.filter(sex="male")["pgs_id"]) == depend


def test_x_men_differ_between_the_codings_where_a_score_depends_on_x(wish: Wish) -> None:
    made = published(wish())["prs-percentiles"]
    men = pl.read_parquet(made.folder / "data/demo_distributions_by_sex.parquet").filter(sex="male")
    wide = men.pivot("x_coding", index=["pgs_id", "superpopulation"], values="mean")
    assert (wide["copies"] != wide["dosage_compensation"]).any()


@pytest.mark.parametrize("build", ["GRCh37", "GRCh38", "GRCh36", "NR"])
def test_y_links_lead_to_the_build_that_is_published_whatever_the_authors_was(build: str) -> None:
    """Red on: core/publish/catalogue.py: `own.alias("ftp_link_ebi")` -> `link.alias("ftp_link_ebi")`."""
    own = "https://ftp.ebi.ac.uk/PGS000001.txt.gz"
    scores = pl.DataFrame({"pgs_id": ["PGS000001", "PGS000002"], "genome_build": [build] * 2, "ftp_link": [own] * 2})
    linked = with_links(scores, {"PGS000001": "data/scores/PGS000001_hmPOS_GRCh38.parquet"}, "https://hub/main/")
    assert linked["ftp_link"].to_list() == ["https://hub/main/data/scores/PGS000001_hmPOS_GRCh38.parquet", own]
    assert linked["ftp_link_ebi"].to_list() == [own, own]
    assert linked["scoring_parquet_filename"].to_list() == ["PGS000001_hmPOS_GRCh38.parquet", None]


def test_y_links_that_a_hub_rewrote_before_are_not_taken_for_the_catalogues() -> None:
    scores = pl.DataFrame({"pgs_id": ["PGS000001"], "ftp_link": ["https://other"], "ftp_link_ebi": ["https://ebi"]})
    linked = with_links(scores, {}, "https://hub/main")
    assert linked.select("ftp_link", "ftp_link_ebi").rows() == [("https://ebi", "https://ebi")]


def test_z_populations_are_the_panels_own_however_many_and_however_large(scenery: Scenery) -> None:
    results = scenery.read()
    seen = reviewed("demo", results, scenery.facts(), Rules(), Against())
    sizes = dict(results.people.sizes.select("superpopulation", "n_panel").iter_rows())
    found = seen.tables["distributions"].select("superpopulation", "n").unique()
    assert dict(found.iter_rows()) == sizes
    assert seen.audit.blocking == ()


def test_z_the_best_performance_has_no_bonus_for_europeans() -> None:
    """Red on: core/catalog/metadata.py: `LARGEST: Final = BestBy()` ->
    `LARGEST: Final = BestBy(prefer="european", bonus=1_000_000)`."""
    performance = pl.DataFrame(
        {
            "ppm_id": ["PPM1", "PPM2"], "pgs_id": ["PGS1"] * 2, "n_individuals": [100, 200],
            "ancestry_broad": ["European", "African"],
            **{f"{metric}_estimate": [1.0, 1.0] for metric in ("or", "hr", "beta", "auroc", "cindex")},
        }
    )  # fmt: skip
    assert best_performance(performance)["ppm_id"].to_list() == ["PPM2"]


def test_aa_every_release_has_all_tables_of_a_panel_so_that_none_is_older_than_another(wish: Wish) -> None:
    """Red on: core/publish/review.py: `usable(tables.by_sex)` -> `tables.by_sex.drop("zero_variance")`."""
    published(wish())
    second = published(wish(rules=Rules(match_rate=0.99)))["prs-percentiles"]
    main = set(pl.read_parquet(second.folder / "data/demo_distributions.parquet")["pgs_id"])
    issues = pl.read_parquet(second.folder / "data/demo_distribution_quality_issues.parquet")
    sexed = set(pl.read_parquet(second.folder / "data/demo_distributions_by_sex.parquet")["pgs_id"])
    assert main == sexed
    assert main.isdisjoint(issues.filter(severity="ERROR")["pgs_id"])


def test_bb_a_score_of_tiny_weights_is_neither_flat_nor_beyond_a_check(scenery: Scenery) -> None:
    """Red on: core/publish/issues.py: `_TOLERANCE * pl.col("score_std")` -> `1e-6`."""
    results, tiny = scenery.read(), 1e-15
    names = ["mean", "std", "median", "p5", "p25", "p75", "p95", "min", "max"]
    tables = tables_of(results, scenery.facts(), Rules())
    distributions = tables.distributions.with_columns(pl.col(names) * tiny)
    quality = tables.quality.with_columns(pl.col("score_mean", "score_std") * tiny)
    right = replace(tables, distributions=distributions, quality=quality)
    wrong = replace(right, distributions=distributions.with_columns(pl.col("std") * 2))
    flags = pl.DataFrame(schema={"pgs_id": pl.String})
    ok = {"PGS900001", "PGS900002"}
    found = [
        issues_of(each, results.compatible, Rules(), flags).filter(pl.col("pgs_id").is_in(ok))
        for each in (right, wrong)
    ]
    assert found[0].is_empty()
    assert set(found[1]["issue"]) >= {"quality_score_std_mismatch"}
