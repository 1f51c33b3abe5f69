"""The catalogue's metadata, cleaned: the tables that readers of PGS metadata know, and every column there is.

The first columns of each table are those by whose names it is read elsewhere; what the catalogue says beyond them
stands behind, and nothing is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.catalog import metrics
from sluiceway.core.catalog.development import development_ancestry
from sluiceway.core.catalog.release import sheet_path
from sluiceway.core.catalog.sheets import SHEETS, read_sheet
from sluiceway.core.errors import MetadataBroken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TRAITS_FILE: Final = "traits.json"
"""Beside the sheets: what only the REST interface tells of traits."""

BUILDS: Final = {
    "GRCh37": "GRCh37", "hg19": "GRCh37", "hg37": "GRCh37",
    "GRCh38": "GRCh38", "hg38": "GRCh38",
    "NCBI36": "GRCh36", "hg18": "GRCh36", "NCBI35": "GRCh36",
    "NR": "NR",
}  # fmt: skip
"""The nine spellings of a score's own build, and the four that readers of the table know.

NCBI35 is older than GRCh36; they are told apart by `genome_build_upstream`. No score is placed by this column: its file
says where its variants are.
"""

_LISTS: Final = {
    "trait_categories": "categories",
    "trait_synonyms": "synonyms",
    "trait_mapped_terms": "mapped_terms",
    "associated_pgs_ids": "pgs_ids",
    "child_associated_pgs_ids": "child_pgs_ids",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BestBy:
    """How the best of a score's evaluations is chosen: by the number of people, and by nothing else unless asked for.

    `prefer` is a part of an ancestry's name, and `bonus` the people that it counts for.
    """

    prefer: str | None = None
    bonus: int = 0


LARGEST: Final = BestBy()
JUST_PRS: Final = BestBy(prefer="european", bonus=1_000_000)
"""What some readers expect: an evaluation in Europeans wins over every other."""


def clean(folder: Path, *, best_by: BestBy = LARGEST) -> dict[str, pl.DataFrame]:
    """Make every table of the sheets in a folder."""
    sheets = {name: read_sheet(sheet_path(folder, name), name) for name in SHEETS}
    performance = with_people(metrics.parsed(sheets["performance_metrics"]), sheets["evaluation_sample_sets"])
    scores = with_builds(sheets["scores"])
    return {
        "scores": scores,
        "performance": performance,
        "best_performance": best_performance(performance, best_by),
        "publications": sheets["publications"],
        "score_development_ancestry": development_ancestry(sheets["score_development_samples"]),
        "traits": with_terms(sheets["efo_traits"], scores, _terms(folder / TRAITS_FILE)),
        "development_samples": sheets["score_development_samples"],
        "evaluation_samples": sheets["evaluation_sample_sets"],
        "cohorts": sheets["cohorts"],
    }


def with_builds(scores: pl.DataFrame) -> pl.DataFrame:
    """Write the build of each score as readers know it; what the catalogue wrote stays beside it."""
    written = pl.col("genome_build")
    spellings = {each.lower(): build for each, build in BUILDS.items()}
    known = written.str.to_lowercase().replace_strict(spellings, default=None, return_dtype=pl.String)
    return scores.with_columns(known.fill_null("NR").alias("genome_build"), written.alias("genome_build_upstream"))


def with_people(performance: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """Add how many people each evaluation was made in, of all its samples together, and of which ancestries."""
    ancestries = pl.col("ancestry_broad").drop_nulls().unique(maintain_order=True).str.join(", ")
    counted = [_total(name) for name in ("n_individuals", "n_cases", "n_controls")]
    people = samples.group_by("pss_id", maintain_order=True).agg(*counted, ancestries)
    people = people.with_columns(pl.col("ancestry_broad").replace("", None))
    joined = performance.join(people, on="pss_id", how="left", maintain_order="left")
    return joined.select(pl.exclude("metrics_unparsed"), "metrics_unparsed")


def best_performance(performance: pl.DataFrame, by: BestBy = LARGEST) -> pl.DataFrame:
    """Choose one evaluation of each score: one that has a number goes before one that has none, then the largest."""
    people = pl.col("n_individuals").fill_null(0)
    if by.prefer is not None:
        preferred = pl.col("ancestry_broad").str.to_lowercase().str.contains(by.prefer.lower(), literal=True)
        people += preferred.fill_null(value=False).cast(pl.Int64) * by.bonus
    says = pl.any_horizontal(pl.col(f"{each}_estimate").is_not_null() for each in metrics.METRICS)
    order = performance.sort(says, people, pl.col("ppm_id"), descending=[True, True, False], maintain_order=True)
    return order.unique("pgs_id", keep="first", maintain_order=True).sort("pgs_id")


def with_terms(traits: pl.DataFrame, scores: pl.DataFrame, terms: list[Mapping[str, Any]]) -> pl.DataFrame:
    """Add the scores of each trait and of its child terms, and its categories and other names, as far as told."""
    own = (
        scores.select("pgs_id", pl.col("trait_efo_id").str.split("|"))
        .explode("trait_efo_id")
        .group_by("trait_efo_id")
        .agg(pl.col("pgs_id").sort().alias("pgs_ids"))
    )
    if not terms:
        told = pl.DataFrame(schema={"trait_efo_id": pl.String, **dict.fromkeys(_LISTS.values(), pl.List(pl.String))})
    else:
        rows = [
            {"trait_efo_id": each["id"], **{ours: each.get(theirs) for theirs, ours in _LISTS.items()}}
            for each in terms
        ]
        told = pl.DataFrame(
            rows, schema={"trait_efo_id": pl.String, **dict.fromkeys(_LISTS.values(), pl.List(pl.String))}
        )
    joined = traits.join(told, on="trait_efo_id", how="left", maintain_order="left")
    joined = joined.join(own, on="trait_efo_id", how="left", maintain_order="left", suffix="_listed")
    return joined.with_columns(pl.coalesce("pgs_ids", "pgs_ids_listed")).drop("pgs_ids_listed")


def _total(name: str) -> pl.Expr:
    """Add up what is known; nothing where nothing is."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name)


def _terms(file: Path) -> list[Mapping[str, Any]]:
    if not file.is_file():
        return []
    try:
        terms: list[Mapping[str, Any]] = json.loads(file.read_bytes())
    except ValueError as error:
        raise MetadataBroken(path=file, reason=f"it is no JSON: {error}") from error
    return terms
