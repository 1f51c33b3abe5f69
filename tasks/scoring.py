"""Reference scoring as Prefect tasks, one for each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.genetics import score
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference
from sluiceway.core.genetics.rows import Stage
from sluiceway.core.genetics.score import Batch, Partial
from sluiceway.core.genetics.totals import ScoreResult, Totals
from sluiceway.core.provenance.usage import Usage
from sluiceway.core.runs.reference_scoring import Planned, ReferenceScoring, Summary

_SHOWN = ("pgs_id", "status", "rows", "matched", "coverage", "reason")
_MOST_SHOWN = 1_000


@task(cache_policy=NO_CACHE)
def prepare_panel(run: ReferenceScoring) -> Reference:
    """Open the panel, and make its table of variants unless it is there."""
    return run.prepare()


@task(cache_policy=NO_CACHE)
def plan_scores(run: ReferenceScoring, reference: Reference) -> list[Planned]:
    """Parse the scoring files and give every score its key."""
    return run.plan(reference)


@task(cache_policy=NO_CACHE)
def score_batches(run: ReferenceScoring, reference: Reference, planned: Sequence[Planned]) -> int:
    """Score what has no result yet, and tell how many scores needed no scoring."""
    waiting = run.waiting(planned)
    run.score(reference, waiting)
    return len(planned) - len(waiting)


@task(cache_policy=NO_CACHE)
def score_range(folder: Path, reference: Reference, part: Range, batch: Batch) -> Partial:
    """Give what one range of the panel adds to every score of a batch, whose rows are staged in `folder`."""
    with closing(Stage(folder, reference.ranges)) as stage, GenotypeReader(reference.panel, reference.table) as read:
        return score.score_range(
            stage.rows(part.number), reference.entries(part), read, ploidy=Ploidy(part.ploidy), batch=batch
        )


@task(cache_policy=NO_CACHE)
def reduce_ranges(reference: Reference, partials: Sequence[Partial], batch: Batch) -> list[ScoreResult]:
    """Add up what the ranges give, in their order; rows that match no single variant of a range have no part in it."""
    totals = Totals(batch, reference.panel.samples.table["sex"].to_numpy())
    for part in partials:
        totals.add(part)
    return [totals.result(number) for number in range(batch.scores)]


@task(cache_policy=NO_CACHE)
def log_matches(run: ReferenceScoring, reference: Reference, planned: Sequence[Planned]) -> None:
    """Write what became of every row of every score, where that is asked for."""
    run.log_matches(reference, planned)


@task(cache_policy=NO_CACHE)
def summarise_distributions(
    run: ReferenceScoring, reference: Reference, planned: Sequence[Planned], n_cached: int
) -> Summary:
    """Write the tables: everybody's scores, their distributions, and what can be relied on."""
    return run.lay_out(reference, planned, n_cached=n_cached)


@task(cache_policy=NO_CACHE)
def write_manifest(
    run: ReferenceScoring, reference: Reference, planned: Sequence[Planned], summary: Summary, usage: Usage
) -> Path:
    """Write the report, and the manifest of everything there is."""
    run.seal(reference, planned, summary, usage)
    return summary.out / "manifest.json"


@task(cache_policy=NO_CACHE)
def show_summary(summary: Summary) -> None:
    """Show on the run's page how it went: a text, and the table of quality."""
    create_markdown_artifact(_told(summary), key="reference-scores", description="How the scoring went")
    # Those that need a look come first; the rest of a long table is in the folder.
    lines = summary.quality.select(_SHOWN).sort(summary.quality["status"] == "ok", maintain_order=True)
    told = f"Quality of each score; all columns are in {summary.out / 'quality.parquet'}"
    create_table_artifact(lines.head(_MOST_SHOWN).to_dicts(), key="reference-scores-quality", description=told)


def _told(summary: Summary) -> str:
    return (
        f"# {summary.n_total} scores on a reference panel\n\n"
        "| n_total | n_ok | n_failed | n_cached | coverage |\n|---|---|---|---|---|\n"
        f"| {summary.n_total} | {summary.n_ok} | {summary.n_failed} | {summary.n_cached} | {summary.coverage:.3f} |\n\n"
        f"Report: `{summary.out / 'report.html'}`\n"
    )
