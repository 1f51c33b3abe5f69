"""Reference scoring as Prefect tasks, one for each of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Staged, Table, finished, score_part, stage, totals_of
from sluiceway.core.genetics.score import Partial
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.provenance.usage import Usage
from sluiceway.core.runs.planned import Planned
from sluiceway.core.runs.reference_scoring import ReferenceScoring
from sluiceway.core.runs.summary import Summary
from sluiceway.tasks.asker import asked_here


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
    """Score what has no result yet, and tell how many results were there before."""
    run.want(planned)
    waiting = run.waiting(planned)
    with asked_here():
        run.score(reference, waiting)
    return run.n_cached(planned, waiting)


@task(cache_policy=NO_CACHE)
def stage_batch(
    reference: Reference, scores: Sequence[Callable[[], Table | None]], policy: Policy, folder: Path
) -> Staged:
    """Write the rows of a batch of scores into an empty folder that every `score_range` can read."""
    return stage(reference, scores, policy, folder)


@task(cache_policy=NO_CACHE)
def score_range(reference: Reference, staged: Staged, part: Range) -> Partial:
    """Give what one range of the panel adds to every score of a batch."""
    return score_part(reference, staged, part)


@task(cache_policy=NO_CACHE)
def reduce_ranges(reference: Reference, staged: Staged, partials: Sequence[Partial]) -> list[ScoreResult]:
    """Add up what all ranges give, in the ranges' order, and add the rows that need several variants at once."""
    totals = totals_of(reference, staged)
    for partial in partials:
        totals.add(partial)
    return list(finished(reference, staged, totals))


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
def compare(run: ReferenceScoring, reference: Reference, planned: Sequence[Planned], summary: Summary) -> Summary:
    """Compare some scores with another program's, where that is asked for."""
    return run.compare(reference, planned, summary)


@task(cache_policy=NO_CACHE)
def write_manifest(
    run: ReferenceScoring, reference: Reference, planned: Sequence[Planned], summary: Summary, usage: Usage
) -> Path:
    """Write the report, and the manifest of everything there is."""
    with asked_here():
        run.seal(reference, planned, summary, usage)
    return summary.out / "manifest.json"
