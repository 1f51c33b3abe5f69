"""The flow of the main job: every score given, against everybody of a reference panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.utilities.asyncutils import run_coro_as_sync

from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.blocks.slurm import cluster_of_block
from sluiceway.core.checkout import require_one_tree
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.policy import NAMED, Policy
from sluiceway.core.provenance.usage import Usage
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.place import Place, parse
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from sluiceway.core.store.lock import exclusive
from sluiceway.tasks import output_page, run_log, scoring, scoring_page
from sluiceway.tasks.dask_ranges import scorer_at
from sluiceway.tasks.progress import ProgressArtifacts

_CATALOGUE = NAMED["catalogue"]


@flow(log_prints=False)
def score_reference(  # noqa: PLR0913, PLR0917 - one per field of the form
    panel: Path,
    scores: list[Path],
    out: Path = Path("data/output/score"),
    policy: Policy = _CATALOGUE,
    build: Build | None = None,
    population: str | None = None,
    unrelated: Path | None = None,
    limit: int | None = None,
    on: str = "local",
    workers: int = 2,
    memory: str | None = None,
    use_cache: bool = True,  # noqa: FBT001, FBT002 - Prefect gives parameters by name
    retry_failed: bool = False,  # noqa: FBT001, FBT002
    match_log: bool = False,  # noqa: FBT001, FBT002
    compare: Literal["plink2"] | None = None,
    compare_most: int = 5,
    synthetic: bool = False,  # noqa: FBT001, FBT002
    env: str | None = None,
) -> Summary:
    """Score every given score against everybody of a reference panel, in one pass over its genotypes.

    Args:
        panel: What the names of the panel's files begin with, on the machine where this flow runs.
        scores: Scoring files, and folders of them.
        out: The folder for the results.
        policy: How rows are matched to variants, and what a missing genotype counts.
        build: The panel's build, where its files do not tell it.
        population: The sample file's column of populations, where it is not found by its name.
        unrelated: A list of people to leave out of the distributions as relatives.
        limit: Only the first so many scoring files.
        on: Where ranges are scored: local, dask (workers on this machine), dask:ADDRESS of a scheduler whose workers
            see the same files, or the name of a Slurm cluster.
        workers: Threads, or Dask's workers on this machine.
        memory: How much memory to take, such as 16G; by default most of what there is.
        use_cache: Take results that are there already instead of scoring again.
        retry_failed: Try again what has failed as often as it may.
        match_log: Write what became of every row of every score, too.
        compare: Compare some scores with what this program makes of the same rows; the run fails where one differs.
        compare_most: How many scores to compare.
        synthetic: Say on the report that the genotypes and scores are invented.
        env: The environment that the jobs of a Slurm cluster score in, by the name of its block or of its table in
            clusters.toml; left out, they score with the Python of the cluster's settings.

    Returns:
        How it went; the run fails where every score did.
    """
    require_one_tree(__file__)
    run_log.show_events()
    clock = SystemClock()
    asked = Asked(
        panel=panel,
        scores=tuple(scores),
        out=out,
        policy=policy,
        build=build,
        population=population,
        unrelated=unrelated,
        limit=limit,
        workers=workers,
        memory=memory,
        use_cache=use_cache,
        retry_failed=retry_failed,
        match_log=match_log,
        compare=compare,
        compare_most=compare_most,
        synthetic=synthetic,
    )
    place = parse(on)
    progress = ProgressArtifacts(clock, key=scoring_page.KEY)
    runtime = run_coro_as_sync(runtime_named(env))
    at_place = scorer_at(place, workers=workers, find=cluster_of_block, runtime=runtime)
    with exclusive(out, purpose="score"), at_place as scorer:
        run = ReferenceScoring(asked, clock=clock, progress=progress, scorer=scorer)
        with Usage(clock) as usage:
            reference = scoring.prepare_panel(run)
            planned = scoring.plan_scores(run, reference)
            n_cached = scoring.score_batches(run, reference, planned)
            scoring.log_matches(run, reference, planned)
            summary = scoring.summarise_distributions(run, reference, planned, n_cached)
            if compare is not None:
                summary = scoring.compare(run, reference, planned, summary)
        scoring.write_manifest(run, reference, planned, summary, usage)
    scoring_page.show_summary(asked, summary)
    scoring_page.show_resources(run.steps)
    output_page.show_provenance(out)
    summary.require_some()
    summary.require_agreement()
    return summary


def parameters_of(asked: Asked, place: Place, *, env: str | None = None) -> dict[str, Any]:
    """Give the flow's parameters that ask for this."""
    return {
        "panel": asked.panel,
        "scores": list(asked.scores),
        "out": asked.out,
        "policy": asked.policy,
        "build": asked.build,
        "population": asked.population,
        "unrelated": asked.unrelated,
        "limit": asked.limit,
        "on": str(place),
        "workers": asked.workers,
        "memory": asked.memory,
        "use_cache": asked.use_cache,
        "retry_failed": asked.retry_failed,
        "match_log": asked.match_log,
        "compare": asked.compare,
        "compare_most": asked.compare_most,
        "synthetic": asked.synthetic,
        "env": env,
    }
