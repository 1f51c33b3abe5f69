"""The scores of a refresh by one policy: their keys, their results in the store, their folder of tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from sluiceway.core.catalog.backlog import Result
from sluiceway.core.errors import ManifestBroken, NothingScored
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.software import software_of
from sluiceway.core.provenance.usage import Usage
from sluiceway.core.runs.planned import Planned
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.reference import Reference, Scorer
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.refresh_options import RefreshOptions
    from sluiceway.core.store.failures import Failure
    from sluiceway.core.store.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """With what a refresh works.

    Attributes:
        clock: Tells the time.
        progress: Is told what is done, how much of it, and of how much.
        scorer: Scores ranges elsewhere; by default threads do it here.
        keep_every: How often the totals of what is under way are written to the disk, at most.
    """

    clock: Clock
    progress: Callable[[str, int, int], None] = lambda *_: None
    scorer: Scorer | None = None
    keep_every: timedelta = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFiles:
    """Where a panel is, its list of relatives, and where the results of scores on it are kept."""

    prefix: Path
    unrelated: Path | None
    store: ObjectStore


class PolicyScores:
    """Scores by one policy; its tables go to the folder of its name below that of the refresh."""

    def __init__(self, name: str, policy: Policy, options: RefreshOptions, panel: PanelFiles, means: Means) -> None:
        """Score by this policy."""
        self.name, self.policy, self.folder = name, policy, options.out / name
        self._options, self._panel, self._means = options, panel, means

    def prepare(self) -> Reference:
        """Open the panel, and make its table of variants unless it is there."""
        return self._run(()).prepare()

    def planned(self, reference: Reference, notes: Mapping[str, Path]) -> dict[str, Planned]:
        """Give the key of each score that has a note."""
        return self._planned(self._run(notes.values()), reference, notes)

    def results(self, planned: Iterable[Planned]) -> dict[str, Result]:
        """Look at every byte of every result, and give them by their keys."""
        store = self._panel.store
        keys = [each.key for each in planned if each.key is not None]
        there = store.has(keys)
        with ThreadPoolExecutor(max_workers=self._options.workers) as pool:
            found = pool.map(lambda key: _found(store, key, is_there=key in there), keys)
            return {
                key: Result(policy=self.name, key=key, found=how, failure=_failure(store, key, how))
                for key, how in zip(keys, found, strict=True)
            }

    def score(self, reference: Reference, notes: Mapping[str, Path]) -> int:
        """Score those without a result, in one pass for as many as memory takes; give how many have one now."""
        run = self._run(notes.values())
        planned = list(self._planned(run, reference, notes).values())
        self.folder.mkdir(parents=True, exist_ok=True)
        run.want(planned)
        waiting = run.waiting(planned)
        run.score(reference, waiting)
        return len(self._panel.store.has(each.key for each in waiting if each.key is not None))

    def lay_out(
        self,
        reference: Reference,
        notes: Mapping[str, Path],
        reasons: Mapping[str, str],
        *,
        n_cached: int,
        before: str | None,
    ) -> tuple[str, bool]:
        """Write the tables of all scores, unless they were made of the same and are whole.

        Args:
            reference: The panel.
            notes: The notes of the scores that are here, by their ids.
            reasons: Why there is no result, of all scores that have none.
            n_cached: How many results were here before this refresh.
            before: What the tables were made of the last time.

        Returns:
            What they are made of now, and whether they were written.
        """
        run = self._run(notes.values())
        planned = self._rows(self._planned(run, reference, notes), reasons)
        made_of = self._made_of(reference, planned)
        if made_of == before and self.is_whole():
            return made_of, False
        with exclusive(self.folder, purpose="refresh"):
            run.want(planned)
            with Usage(self._means.clock) as usage:
                run.log_matches(reference, planned)
                summary = run.lay_out(reference, planned, n_cached=n_cached)
            run.seal(reference, planned, summary, usage)
        return made_of, True

    def is_whole(self) -> bool:
        """Whether every byte of the tables is as the manifest says."""
        try:
            outputs = manifests.read(self.folder / "manifest.json").outputs or ()
            return bool(outputs) and all(digest_of_file(self.folder / each.name) == each.digest for each in outputs)
        except (ManifestBroken, OSError):
            return False

    def _rows(self, planned: Mapping[str, Planned], reasons: Mapping[str, str]) -> list[Planned]:
        """Give a line for each score: with its result, or the reason why it has none."""
        rows = []
        for pgs_id in sorted({*planned, *reasons}):
            known = planned.get(pgs_id) or Planned(name=pgs_id, score=None, key=None, failure=None)
            rows.append(replace(known, failure=reasons.get(pgs_id)))
        if not any(each.key is not None and each.failure is None for each in rows):
            reason = f"{rows[0].name}: {rows[0].failure}" if rows else "the catalogue lists none"
            raise NothingScored(folder=self.folder, failed=len(rows), reason=reason)
        return rows

    def _planned(self, run: ReferenceScoring, reference: Reference, notes: Mapping[str, Path]) -> dict[str, Planned]:
        if not notes:
            return {}
        ids = {note: pgs_id for pgs_id, note in notes.items()}
        found = {ids[each.source]: each for each in run.plan(reference) if each.source is not None and each.key}
        # A batch has each name once, by the names that headers give; here a score is called as the catalogue calls it.
        for pgs_id in notes.keys() - found:
            found[pgs_id] = self._run([notes[pgs_id]]).plan(reference)[0]
        return {pgs_id: replace(each, name=pgs_id) for pgs_id, each in found.items()}

    def _made_of(self, reference: Reference, planned: Sequence[Planned]) -> str:
        software = software_of("sluiceway.core.publish.tables")
        return content_key(
            "refreshed tables",
            inputs={"panel": reference.panel.digest, **{each.name: _content(each) for each in planned}},
            parameters=self.policy.model_dump(mode="json"),
            modules=software.modules,
            environment=software.environment,
        )

    def _run(self, notes: Iterable[Path]) -> ReferenceScoring:
        options, means = self._options, self._means
        asked = Asked(
            panel=self._panel.prefix,
            scores=tuple(notes),
            out=self.folder,
            policy=self.policy,
            build=options.build,
            population=options.population,
            unrelated=self._panel.unrelated,
            workers=options.workers,
            memory=options.memory,
            use_cache=options.use_cache,
            retry_failed=options.retry_failed,
            attempts=options.attempts,
        )
        return ReferenceScoring(
            asked, clock=means.clock, progress=means.progress, scorer=means.scorer, keep_every=means.keep_every
        )


def _found(store: ObjectStore, key: str, *, is_there: bool) -> Literal["whole", "damaged", "absent"]:
    if not is_there:
        return "absent"
    return "whole" if store.verified(key) is not None else "damaged"


def _failure(store: ObjectStore, key: str, how: str) -> Failure | None:
    return None if how == "whole" else store.failure(key)


def _content(planned: Planned) -> str:
    if planned.failure is not None or planned.score is None:
        return f"failed: {planned.failure}"
    # The key alone is not all: a header may be revised, and no row.
    return f"{planned.key} {planned.score.key}"
