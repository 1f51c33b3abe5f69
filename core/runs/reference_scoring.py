"""The main job: find what has to be scored, score it in one pass over the panel, lay the results out in a folder."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from sluiceway.core import settings
from sluiceway.core.catalog import on_demand
from sluiceway.core.catalog.library import Library
from sluiceway.core.catalog.local_files import LocalFiles
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.events import tell
from sluiceway.core.genetics import results
from sluiceway.core.genetics.match_log import match_log
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import How, Reference, Scorer, Threads, score_batch
from sluiceway.core.genetics.variants import prepare, table_key
from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.provenance.usage import Usage
from sluiceway.core.publish import tables
from sluiceway.core.publish.tables import Named
from sluiceway.core.registry.shares import Settle, set_apart, share_out
from sluiceway.core.runs import plink2, scoring_notes
from sluiceway.core.runs.checkpoints import Checkpoint, Checkpoints
from sluiceway.core.runs.memory import Budget
from sluiceway.core.runs.planned import Planned, Planner
from sluiceway.core.runs.results_folder import ResultsFolder
from sluiceway.core.runs.scoring_inputs import Read
from sluiceway.core.runs.steps import step
from sluiceway.core.runs.summary import Summary
from sluiceway.core.runs.twins import without_twins
from sluiceway.core.store import frames
from sluiceway.core.store.durable import Storing
from sluiceway.core.store.lock import exclusive
from sluiceway.core.store.objects import ObjectStore
from sluiceway.core.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.build import Build
    from sluiceway.core.provenance.manifest import Step
    from sluiceway.core.remote.clock import Clock

_log = logging.getLogger(__name__)

_LAID_OUT_AT_ONCE = 256
"""Scores whose results are in memory while the tables are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: which scores on which panel, by which policy, and where the results go."""

    panel: Path
    scores: tuple[Path, ...]
    out: Path
    policy: Policy = field(default_factory=Policy)
    build: Build | None = None
    population: str | None = None
    unrelated: Path | None = None
    limit: int | None = None
    workers: int = 2
    memory: str | None = None
    use_cache: bool = True
    retry_failed: bool = False
    attempts: int = 3
    match_log: bool = False
    compare: Literal["plink2"] | None = None
    compare_most: int = 5
    synthetic: bool = False

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen beside the policy and is seen in the results, as JSON has it."""
        names = ("build", "population", "match_log", "compare", "compare_most", "synthetic")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Scores that go over the panel together, and the totals that an interrupted run left of them."""

    scores: Sequence[Planned]
    begun: Checkpoint | None


class ReferenceScoring:
    """One run of the main job; its methods are its steps, in order."""

    def __init__(
        self,
        asked: Asked,
        *,
        clock: Clock,
        progress: Callable[[str, int, int], None] | None = None,
        scorer: Scorer | None = None,
        keep_every: timedelta = timedelta(seconds=20),
    ) -> None:
        """Prepare a run.

        Args:
            asked: What is asked for.
            clock: Tells the time.
            progress: Is told what is done, how much of it, and of how much.
            scorer: Scores ranges elsewhere; by default threads do it here.
            keep_every: How often the totals of what is under way are written to the disk, at most.
        """
        if asked.compare is not None:
            plink2.require_plink2()
        chosen = settings.load()
        self.asked = asked
        self.clock = clock
        self.steps: list[Step] = []
        self._progress = progress or (lambda *_: None)
        self._home = chosen.home
        self._cache = chosen.cache_dir.absolute()
        self._library = Library(ObjectStore(self._cache / "scores"), clock=clock)
        self.store = ObjectStore(chosen.home / "store")
        self._scorer = scorer or Threads(workers=asked.workers)
        self._scratch = Scratch(self._cache / "scratch")
        self._checkpoints = Checkpoints(self._cache / "totals", scratch=self._scratch, clock=clock, every=keep_every)
        self._software = results.scoring_software()
        self.budget = Budget.of(asked.memory, workers=asked.workers)
        self._out = ResultsFolder(asked.out, clock=clock)
        self._failed: dict[str, str] = {}
        self._key = ""

    def run(self) -> Summary:
        """Do it all."""
        with exclusive(self.asked.out, purpose="score"):
            with Usage(self.clock) as usage:
                reference = self.prepare()
                planned = self.plan(reference)
                self.want(planned)
                waiting = self.waiting(planned)
                self.score(reference, waiting)
                self.log_matches(reference, planned)
                summary = self.lay_out(reference, planned, n_cached=self.n_cached(planned, waiting))
                if self.asked.compare is not None:
                    summary = self.compare(reference, planned, summary)
            self.seal(reference, planned, summary, usage)
        return summary

    @step("prepare_panel")
    def prepare(self) -> Reference:
        """Open the panel, and make its table of variants unless it is there."""
        asked = self.asked
        # Whoever scores ranges elsewhere may be in another folder.
        panel = open_panel(
            asked.panel.absolute(), build=asked.build, population=asked.population, unrelated=asked.unrelated
        )
        table = prepare(
            panel,
            self._cache / "panels",
            genotypes=asked.policy.genotypes,
            tell=lambda done, of: self._progress("panel", done, of),
        )
        return Reference.of(panel, table)

    @step("plan_scores")
    def plan(self, reference: Reference) -> list[Planned]:
        """Parse what is not parsed yet, and give every score its key; a broken file is one failure, not the end."""
        kept = LocalFiles.below(self._home, reference.panel.build)
        files = kept.files_of(self.asked.scores, fetch=partial(self._fetch, reference))[: self.asked.limit]
        planner = Planner(
            library=self._library,
            policy=self.asked.policy,
            software=self._software,
            build=reference.panel.build,
            panel=f"sha256:{table_key(reference.panel, self.asked.policy.genotypes)}",
            again=self._tries_again,
        )
        planned: list[Planned] = []
        with ThreadPoolExecutor(max_workers=self.asked.workers) as pool:
            for number, plan in enumerate(pool.map(planner.scores_in, files), start=1):
                planned += plan
                self._progress("scoring files", number, len(files))
        planned = without_twins(planned)
        self._key = scoring_notes.key_of(self.asked, reference, planned, self._software)
        return planned

    def want(self, planned: Sequence[Planned], *, also: bool = True) -> None:
        """Say which results are about to be used, so that nobody collects them; those of before stay, too, or not."""
        scoring_notes.wanted(self.asked.out, planned, self.store, self.clock, also=also)

    def waiting(self, planned: Sequence[Planned]) -> list[Planned]:
        """Give those without a result that can be relied on, save those that were tried often enough."""
        able = [each for each in planned if each.key is not None]
        if not self.asked.use_cache:
            return able
        lacking = [each for each in able if each.key is not None and results.find(self.store, each.key) is None]
        scoring_notes.found(len(able) - len(lacking), of=len(able))
        return [each for each in lacking if not self._is_given_up(each)]

    def n_cached(self, planned: Sequence[Planned], waiting: Sequence[Planned]) -> int:
        """Count the results that were there before."""
        scored = {each.key for each in waiting}
        return sum(each.key is not None and each.key not in scored and each.key not in self._failed for each in planned)

    def outlook(self, planned: Sequence[Planned]) -> dict[str, Literal["score", "cached", "failed"]]:
        """Tell of every score whether it would be scored, is there already, or cannot be."""
        scored = {each.name for each in self.waiting(planned)}
        return {
            each.name: "score" if each.name in scored else "failed" if self._failure_of(each) else "cached"
            for each in planned
        }

    def batches(self, reference: Reference, waiting: Sequence[Planned]) -> list[Batch]:
        """Divide the work: what an interrupted run has begun goes on as it was, the rest by what memory takes."""
        begun = self._checkpoints.begun(reference.ranges) if self.asked.use_cache else []
        batches, left = [], list(waiting)
        for checkpoint in begun:
            keys = set(checkpoint.keys)
            if self.store.has(keys) == keys:
                # Whoever scored them was killed before it could tidy up.
                checkpoint.path.unlink(missing_ok=True)
                continue
            batches += self._cut(reference, [each for each in left if each.key in keys], checkpoint)
            left = [each for each in left if each.key not in keys]
        return batches + self._cut(reference, left, None)

    @step("score_batches")
    def score(self, reference: Reference, waiting: Sequence[Planned]) -> None:
        """Score what nobody else is at, and take what others make meanwhile; what they leave undone is scored here."""
        scoring_notes.begun(self.asked, self._key, home=self._home, clock=self.clock)
        if not self.asked.use_cache or not waiting:
            # Where nothing waits, what a killed run has left is still tidied up.
            self._score_here(reference, waiting, set_apart)
            return
        wanted = {each.key: each for each in waiting if each.key is not None}

        def score(mine: set[str], settle: Settle) -> None:
            self._score_here(reference, [each for key, each in wanted.items() if key in mine], settle)

        def waits(left: int) -> None:
            self._progress("scores that another run is at", len(wanted) - left, len(wanted))

        share_out(self._home, wanted, score, has=self.store.has, waits=waits)

    def _score_here(self, reference: Reference, waiting: Sequence[Planned], settle: Settle) -> None:
        """Score in batches, each in one pass over the panel; every result is kept as soon as its batch is done."""
        batches = self.batches(reference, waiting)
        with self._scratch.own(purpose="score") as folder, Storing("score in", folder, foreign=True):
            for number, batch in enumerate(batches):
                self._score_batch(reference, batch, self._how(reference, batch, folder, number=number, of=len(batches)))
                settle({each.key for each in batch.scores if each.key is not None}, self._failed)
        for batch in batches:
            if batch.begun is not None:
                batch.begun.path.unlink(missing_ok=True)

    @step("log_matches")
    def log_matches(self, reference: Reference, planned: Sequence[Planned]) -> None:
        """Write what became of every row of every score, where that is asked for; one score is held at a time."""
        self._out.clear()
        if not self.asked.match_log:
            return
        with self._scratch.own(purpose="match log") as folder:
            known = [each.score for each in planned if each.score is not None and not self._failure_of(each)]
            for number, score in enumerate(known):
                log = match_log(reference, self._library.whole(score), self.asked.policy)
                with Storing("write", folder, foreign=True):
                    log.write_parquet(folder / f"{number:06}.parquet")
                self._progress("match log", number + 1, len(known))
            if known:
                logs = frames.scan_parquet(sorted(folder.glob("*.parquet")))
                self._out.write("matches.parquet", lambda path: logs.sink_parquet(path, compression="zstd"))

    @step("summarise_distributions")
    def lay_out(self, reference: Reference, planned: Sequence[Planned], *, n_cached: int) -> Summary:
        """Write the tables; the results of so many scores are held at a time."""
        policy, people = self.asked.policy, reference.panel.samples.table
        distributions, quality = [], []
        with self._scratch.own(purpose="tables") as folder:
            for first in range(0, max(len(planned), 1), _LAID_OUT_AT_ONCE):
                named = [self._named(each) for each in planned[first : first + _LAID_OUT_AT_ONCE]]
                distributions.append(tables.distributions_table(people, named, policy))
                quality.append(tables.quality_table(named, distributions[-1], policy))
                with Storing("write", folder, foreign=True):
                    scores = tables.scores_table(people["sample"].to_list(), named, policy)
                    scores.write_parquet(folder / f"{first:09}.parquet")
            every = frames.scan_parquet(sorted(folder.glob("*.parquet")))
            self._out.write("scores.parquet", lambda path: every.sink_parquet(path, compression="zstd"))
        summary = Summary.of(self.asked.out, pl.concat(quality, how="vertical_relaxed"), n_cached=n_cached)
        for name, table in (("distributions", pl.concat(distributions)), ("quality", summary.quality)):
            self._out.write(f"{name}.parquet", partial(table.write_parquet, compression="zstd"))
        return summary

    @step("compare")
    def compare(self, reference: Reference, planned: Sequence[Planned], summary: Summary) -> Summary:
        """Compare some scores with plink2's, and write how they differ."""
        scored = [
            plink2.Scored(
                name=each.name,
                n_rows=each.score.n_rows,
                read=partial(self._library.whole, each.score),
                result=partial(results.find, self.store, each.key),
            )
            for each in planned
            if each.score is not None and each.key is not None and not self._failure_of(each)
        ]
        with self._scratch.own(purpose="compare") as folder:
            comparison = plink2.Comparison(
                reference,
                self.asked.policy,
                folder,
                workers=self.asked.workers,
                tell=lambda done, of: self._progress("plink2", done, of),
            )
            table = comparison.of(scored, most=self.asked.compare_most)
        self._out.write(plink2.TABLE, partial(table.write_parquet, compression="zstd"))
        return replace(summary, comparison=table)

    @step("write_manifest")
    def seal(self, reference: Reference, planned: Sequence[Planned], summary: Summary, usage: Usage) -> None:
        """Write the report and the manifest."""
        with cache_here(self.clock) as cache:
            read = Read.by(self.asked, reference.panel, planned, self._library, cache)
        self._out.seal(self.asked, reference, read, summary, usage, self.steps, self._key)
        self.want(planned, also=False)
        scoring_notes.sealed(self.asked.out, home=self._home)

    def _cut(self, reference: Reference, scores: Sequence[Planned], begun: Checkpoint | None) -> list[Batch]:
        rows = [each.n_rows for each in scores]
        return [Batch(scores=scores[part], begun=begun) for part in self.budget.cut(reference, rows)]

    def _score_batch(self, reference: Reference, batch: Batch, how: How) -> None:
        readers = [partial(self._read, each) for each in batch.scores]
        # All are read before the first result is given.
        read = (each.key for each in batch.scores if each.key is not None and each.key not in self._failed)
        for result, key in zip(score_batch(reference, readers, self.asked.policy, how), read, strict=True):
            results.keep(self.store, key, result)

    def _read(self, planned: Planned) -> ParsedScore | None:
        """Read a score's rows; one that cannot be read now is a failure of its own, and counts against its budget."""
        if planned.score is None or planned.key is None:
            return None
        try:
            # Ids are text.
            by_id = self.asked.policy.match == "id"
            return self._library.whole(planned.score) if by_id else self._library.numbers(planned.score)
        except (ScoringFileBroken, OSError) as error:
            said = error.said if isinstance(error, ScoringFileBroken) else str(error.strerror)
            failure = self.store.failed(planned.key, said, permanent=False, clock=self.clock)
            tell(_log, "score not read", level=logging.WARNING, score=planned.name, reason=said)
            self._failed[planned.key] = f"it could not be read (attempt {failure.attempts}): {said}"
            return None

    def _is_given_up(self, planned: Planned) -> bool:
        before = None if planned.key is None or self._tries_again else self.store.failure(planned.key)
        if planned.key is None or before is None or not (before.permanent or before.attempts >= self.asked.attempts):
            return False
        self._failed[planned.key] = (
            f"it failed {before.attempts} times, the last time because {before.reason}; --retry-failed tries again"
        )
        return True

    @property
    def _tries_again(self) -> bool:
        return self.asked.retry_failed or not self.asked.use_cache

    def _failure_of(self, planned: Planned) -> str | None:
        return planned.failure or (None if planned.key is None else self._failed.get(planned.key))

    def _how(self, reference: Reference, batch: Batch, folder: Path, *, number: int, of: int) -> How:
        def tell(done: int, ranges: int) -> None:
            self._progress("ranges", number * ranges + done, of * ranges)

        keys = [each.key for each in batch.scores if each.key is not None]
        kept = self._checkpoints.of_batch(reference.ranges, keys, batch.begun) if self.asked.use_cache else None
        rows = [each.n_rows for each in batch.scores]
        room = self.budget.room(reference, rows) if isinstance(self._scorer, Threads) else 0
        return How(scratch=folder, scorer=self._scorer, tell=tell, kept=kept, room=room)

    def _fetch(self, reference: Reference, scores: tuple[str, ...]) -> None:
        """Have the catalogue send what was asked for by its id and is not here."""
        on_demand.bring(scores, build=reference.panel.build, clock=self.clock, progress=self._progress)

    def _named(self, planned: Planned) -> Named:
        failure = self._failure_of(planned)
        result = None if planned.key is None or failure else results.find(self.store, planned.key)
        if failure is None and result is None:
            failure = "its result was not there when it was read; run again"
        score = planned.score
        return Named(
            pgs_id=planned.name,
            trait=score.trait if score else None,
            result=result,
            failure=failure,
            notes=score.notes if score else (),
        )
