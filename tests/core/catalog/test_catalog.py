"""The catalogue for Python: what it has, what is known of a score, and where a value stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist

import polars as pl
import pytest

from sluiceway.core.catalog.catalog import Catalog
from sluiceway.core.catalog.refresh import CatalogPlace, metadata_here
from sluiceway.core.catalog.standing import Among
from sluiceway.core.errors import CatalogOffline, InputMissing, ScoreUnknown
from sluiceway.core.genetics.distributions import SCHEMA
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_content import scoring_file


@pytest.fixture
def catalog(kept: CatalogPlace) -> Catalog:
    return Catalog(kept)


@dataclass
class FolderHub:
    """A hub that is a folder of tables."""

    tables: dict[str, pl.DataFrame]
    asked: list[Path] = field(default_factory=list)
    name: str = "the lab"

    async def bring_metadata(self, folder: Path) -> bool:
        self.asked.append(folder)
        for name, table in self.tables.items():
            table.write_parquet(folder / f"{name}.parquet")
        return bool(self.tables)


@pytest.mark.parametrize(
    ("term", "numbers"),
    [("height", (1, 3, 5)), ("BREAST", (2, 4, 6)), ("pgs000004", (4,)), ("EFO_0004339", (1, 3, 5)), ("(", ())],
)
def test_scores_are_found_by_a_part_of_what_is_said_of_them(
    catalog: Catalog, term: str, numbers: tuple[int, ...]
) -> None:
    assert catalog.search(term)["pgs_id"].to_list() == [f"PGS{number:06}" for number in numbers]


def test_a_traits_scores_are_those_of_its_child_terms_too(catalog: Catalog) -> None:
    assert catalog.search(trait="EFO_0000001").height == 6
    assert catalog.search("height", trait="EFO_0000001").height == 3
    assert catalog.search(trait="EFO_9999999").is_empty()


def test_a_score_is_told_with_its_publication_its_people_and_its_best_evaluation(catalog: Catalog) -> None:
    catalog.pull(["PGS000002"])
    known = catalog.score("PGS000002")
    assert (known["license"], known["publication"]["first_author"]) == ("See the terms, of use.", "Ada L")
    assert known["development"]["dev_ancestry_broad"] == "East Asian"
    assert known["best_performance"]["or_estimate"] == 1.55
    assert (known["is_here"], len(known["md5"])) == (True, 32)
    assert catalog.score("PGS000001")["is_here"] is False


def test_an_unknown_score_is_an_error_with_the_release(catalog: Catalog) -> None:
    with pytest.raises(ScoreUnknown, match="2026-11-01 lists no PGS000077"):
        catalog.score("PGS000077")


def test_the_best_evaluation_of_a_score_is_given_or_none(catalog: Catalog) -> None:
    best = catalog.best_performance("PGS000003")
    assert best is not None
    assert (best["ppm_id"], best["n_individuals"]) == ("PPM000003", 300)
    assert catalog.best_performance("PGS000077") is None


def test_metadata_come_from_here_then_from_the_hub_then_from_the_catalogue(
    upstream: LoopbackCatalog, kept: CatalogPlace
) -> None:
    first = Catalog(kept)
    tables = {name: first.metadata().table(name) for name in first.metadata().digests}
    upstream.asked.clear()
    hub = FolderHub(tables=tables)
    other = Catalog(replace(kept, home=kept.home.with_name("other"), hub=hub))
    assert (other.metadata().origin, upstream.count(), len(hub.asked)) == ("the lab", 0, 1)
    assert other.search("height").height == 3
    assert len(hub.asked) == 1


@pytest.mark.parametrize("tables", [{}, {"cohorts": pl.DataFrame({"cohort_id": ["UKB"]})}])
def test_a_hub_without_scores_is_passed_over(kept: CatalogPlace, tables: dict[str, pl.DataFrame]) -> None:
    found = Catalog(replace(kept, hub=FolderHub(tables=tables))).metadata()
    assert (found.origin, found.table("scores").height) == ("upstream", 6)


def test_offline_what_is_here_is_used_and_what_is_not_is_an_error(upstream: LoopbackCatalog, catalog: Catalog) -> None:
    with pytest.raises(CatalogOffline, match="the metadata is not in"):
        catalog.offline().search("height")
    catalog.metadata()
    upstream.asked.clear()
    assert catalog.offline().search("height").height == 3
    assert upstream.count() == 0


async def test_it_works_where_a_loop_runs_already(kept: CatalogPlace) -> None:
    assert Catalog(kept).search("height").height == 3
    assert (await metadata_here(kept)).release == "2026-11-01"


def test_what_has_changed_is_told_between_any_two_looks(upstream: LoopbackCatalog, catalog: Catalog) -> None:
    for seed in (0, 1, 2):
        upstream.revise("PGS000001", scoring_file("PGS000001", seed=seed))
        upstream.scores["PGS000002"].row["Release Date"] = f"2026-10-{10 + seed}"
        catalog.refresh()
    before, after, changed = catalog.diff()
    assert before is not None
    assert (before.number, after.number) == (2, 3)
    assert [(each.pgs_id, each.kind) for each in changed] == [("PGS000001", "revised"), ("PGS000002", "redated")]
    assert len(catalog.diff(1, 3)[2]) == 2
    assert len(catalog.diff(new=1)[2]) == 6
    with pytest.raises(CatalogOffline, match="the release 9"):
        catalog.diff(9)


def test_all_scores_are_pulled_without_being_named(catalog: Catalog) -> None:
    assert len(catalog.pull()) == 6
    assert catalog.reference_status()["is_here"].all()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    common = {
        "pgs_id": "PGS000001",
        "subset": "all",
        "sex": "all",
        "coding": None,
        "n": 101,
        "percentiles": list(map(float, range(101))),
    }
    rows = [
        {**common, "population": "all", "mean": 50.0, "std": 10.0},
        {**common, "population": "EUR", "mean": 60.0, "std": 5.0},
        {**common, "population": "AFR", "mean": 60.0, "std": 0.0},
        {**common, "population": "EUR", "mean": 61.0, "std": 5.0, "sex": "male", "coding": 1},
    ]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "distributions.parquet")
    quality = {"pgs_id": ["PGS000001"], "status": ["ok"], "reason": [None], "match_rate": [0.9], "coverage": [0.95]}
    pl.DataFrame(quality, schema_overrides={"reason": pl.String}).write_parquet(folder / "quality.parquet")
    return folder


def test_a_value_stands_among_people_and_by_the_curve(catalog: Catalog, results: Path) -> None:
    found = catalog.percentile("PGS000001", 62.0, results=results)
    assert found is not None
    assert (found.percentile, found.z, found.n, found.status, found.coverage) == (62.0, 1.2, 101, "ok", 0.95)
    assert found.by_curve == pytest.approx(100 * NormalDist().cdf(1.2))


@pytest.mark.parametrize(
    ("among", "z"),
    [
        (Among(population="EUR"), 0.4),
        (Among(population="EUR", sex="male", coding=1), 0.2),
        (Among(population="AFR"), None),
    ],
)
def test_among_whom_is_said(catalog: Catalog, results: Path, among: Among, z: float | None) -> None:
    found = catalog.percentile("PGS000001", 62.0, results=results, among=among)
    assert (None if found is None else round(found.z, 6)) == z


def test_what_was_not_scored_has_no_standing(catalog: Catalog, results: Path) -> None:
    assert catalog.percentile("PGS000002", 1.0, results=results) is None
    with pytest.raises(InputMissing, match="distributions"):
        catalog.percentile("PGS000001", 1.0, results=results / "nowhere")


def test_of_each_score_it_is_told_whether_results_have_it(catalog: Catalog, results: Path) -> None:
    catalog.pull(["PGS000002"])
    told = catalog.reference_status(results).select("pgs_id", "is_here", "status").head(3).rows()
    assert told == [("PGS000001", False, "ok"), ("PGS000002", True, "missing"), ("PGS000003", False, "missing")]
