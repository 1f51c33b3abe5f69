"""What the page of a run of `score_reference` shows in Prefect: a text, pictures, and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.provenance.manifest import Step
from sluiceway.core.report.figures import distribution_svg, pictured, rates_svg
from sluiceway.core.report.pictures import Picture, gallery, image_url
from sluiceway.core.report.reasons import STATUSES
from sluiceway.core.runs.reference_scoring import Asked
from sluiceway.core.runs.summary import Summary
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "reference-scores"
_SHOWN: Final = ("pgs_id", "status", "rows", "matched", "coverage", "reason")
_COMPARED: Final = ("pgs_id", "rows", "in_units", "in_sd", "agrees", "reason")
_MOST_SHOWN: Final = 1_000
_PICTURED: Final = 8
_MEBIBYTE: Final = 1 << 20


@task(cache_policy=NO_CACHE)
def show_summary(asked: Asked, summary: Summary) -> None:
    """Show on the run's page how it went: a text with pictures, a picture of distributions, tables of quality."""
    pictures = list(_pictures(summary))
    distributions = image_url(gallery("Distributions by population", pictures)) if pictures else None
    create_markdown_artifact(_told(asked, summary, distributions), key=KEY, description="How the scoring went")
    if distributions is not None:
        told = f"Distributions of {len(pictures)} scores by population; all are in {summary.out / 'report.html'}"
        create_image_artifact(distributions, key=f"{KEY}-distributions", description=told)
    # Those that need a look come first; the rest of a long table is in the folder.
    lines = summary.quality.select(_SHOWN).sort(summary.quality["status"] == "ok", maintain_order=True)
    told = f"Quality of each score; all columns are in {summary.out / 'quality.parquet'}"
    _show_table("quality", lines, told)
    if summary.comparison is not None:
        _show_table(
            "compared", summary.comparison.select(_COMPARED), "Scores beside plink2's, in its last digit's units"
        )


@task(cache_policy=NO_CACHE)
def show_resources(steps: list[Step]) -> None:
    """Show on the run's page what each of its tasks used, in this process and its children."""
    lines = [
        {
            "task": each.name,
            "seconds": _rounded(each.resources.wall_seconds, 2),
            "processor seconds": _rounded(each.resources.cpu_seconds, 2),
            "peak memory, MiB": _rounded(each.resources.peak_memory_bytes, 0, unit=_MEBIBYTE),
            "read, MiB": _rounded(each.resources.bytes_read, 1, unit=_MEBIBYTE),
        }
        for each in steps
    ]
    create_table_artifact(lines, key=f"{KEY}-resources", description="What each task used; the manifest has it too")


def _show_table(name: str, table: pl.DataFrame, told: str) -> None:
    short = table.head(_MOST_SHOWN).with_columns(pl.selectors.float().round_sig_figs(3))
    create_table_artifact(short.to_dicts(), key=f"{KEY}-{name}", description=told)


def _rounded(value: float | None, digits: int, *, unit: int = 1) -> float | None:
    return None if value is None else round(value / unit, digits)


def _pictures(summary: Summary) -> Iterator[Picture]:
    """Draw the first scores that can be relied on; where there is none, the first that have a distribution."""
    told = frames.read_parquet(summary.out / "distributions.parquet")
    able = summary.quality.filter(pl.col("pgs_id").is_in(told["pgs_id"].unique().to_list()))
    best = able.sort(able["status"] != "ok", maintain_order=True).head(_PICTURED)
    rows = pictured(told.filter(pl.col("pgs_id").is_in(best["pgs_id"].to_list())))
    for name, trait in best.select("pgs_id", "trait").iter_rows():
        yield Picture(name=name, remark=trait or "", svg=distribution_svg(name, rows.get(name, [])))


def _told(asked: Asked, summary: Summary, distributions: str | None) -> str:
    counts = dict(summary.quality["status"].value_counts().iter_rows())
    rates = rates_svg(summary.quality["match_rate"].drop_nulls().to_list(), least=asked.policy.min_overlap)
    numbers = f"{summary.n_total} | {summary.n_ok} | {summary.n_failed} | {summary.n_cached} | {summary.coverage:.3f}"
    parts = [
        f"# {summary.n_total} scores on the panel {asked.panel.name}",
        "**The data are synthetic**: people, genotypes and scores are invented." if asked.synthetic else "",
        f"| n_total | n_ok | n_failed | n_cached | coverage |\n|---|---|---|---|---|\n| {numbers} |",
        "| status | scores | meaning |\n|---|---|---|\n"
        + "\n".join(f"| {title} | {counts.get(name, 0)} | {text} |" for name, (_, title, text) in STATUSES.items()),
        f"## Scores by share of rows matched\n\n![match rates]({image_url(rates)})",
        f"## Distributions\n\n![distributions by population]({distributions})" if distributions else "",
        f"Everything else is in the report: `{summary.out / 'report.html'}`",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
