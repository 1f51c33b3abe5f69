"""A refresh: ask the catalogue what it has, plan by content, bring and score what is needed, lay out, publish.

Each step finds by content what an earlier, interrupted one has done, so whoever is killed loses what was under way, and
the next refresh does the rest. Nothing is decided by times of files, by counts, or by what a process remembers.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog import refresh as catalogue
from sluiceway.core.catalog.backlog import State
from sluiceway.core.catalog.history import History
from sluiceway.core.catalog.panel_archive import fetch_panel
from sluiceway.core.catalog.refreshed import Account, Meant
from sluiceway.core.catalog.source import PANELS
from sluiceway.core.errors import OutputBusy, RefreshRunning, ScoreUnknown
from sluiceway.core.publish import audit
from sluiceway.core.publish.publication import Publication, publish
from sluiceway.core.registry.asker import by_whom
from sluiceway.core.runs.refresh_fetch import Bringing
from sluiceway.core.runs.refresh_options import READERS
from sluiceway.core.runs.refresh_plan import Planner, Seen, account_of
from sluiceway.core.runs.refresh_published import publication_key, standing
from sluiceway.core.runs.refresh_scores import PanelFiles, PolicyScores
from sluiceway.core.runs.refresh_summary import RefreshSummary, counted
from sluiceway.core.runs.steps import step
from sluiceway.core.store import frames
from sluiceway.core.store.durable import Storing, write_whole
from sluiceway.core.store.lock import exclusive
from sluiceway.core.store.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from sluiceway.core.catalog.backlog import Item
    from sluiceway.core.catalog.refresh import CatalogPlace
    from sluiceway.core.catalog.release import Release
    from sluiceway.core.genetics.reference import Reference
    from sluiceway.core.provenance.manifest import Step
    from sluiceway.core.publish.hub import HubPlace
    from sluiceway.core.publish.snapshot import Published
    from sluiceway.core.runs.refresh_options import RefreshOptions
    from sluiceway.core.runs.refresh_scores import Means

PLAN: Final = "plan.json"
"""The last plan, as a file of the refresh's folder."""
PUBLISHED: Final = "published"
"""The folder of the data sets, below that of the refresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What the catalogue has of the scores that are meant, and how many questions that took."""

    release: Release
    n_asked: int = 0


@dataclass(slots=True, kw_only=True)
class Done:
    """What this refresh has done so far: `planned` counts scores by what they were found to be, `made` by policy."""

    planned: dict[str, int] = field(default_factory=dict)
    brought: int = 0
    made: dict[str, int] = field(default_factory=dict)
    is_new: bool = False
    published: list[Published] = field(default_factory=list)


@contextmanager
def alone_in(home: Path, *, purpose: str) -> Iterator[None]:
    """Keep every other refresh of a home out meanwhile; RefreshRunning names the other."""
    flow_run = by_whom()["flow_run_id"]
    lock = exclusive(
        home / "catalog" / "refreshing", purpose=f"{purpose}{f', flow run {flow_run}' if flow_run else ''}"
    )
    try:
        lock.__enter__()
    except OutputBusy as error:
        raise RefreshRunning(home=home, holder=error.holder) from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


class CatalogRefresh:
    """One refresh; its methods are its steps, in order."""

    def __init__(
        self,
        options: RefreshOptions,
        *,
        place: CatalogPlace,
        means: Means,
        hub: HubPlace | None = None,
    ) -> None:
        """Prepare a refresh.

        Args:
            options: What is asked for.
            place: Where the catalogue is kept, and whom to ask; of the options' build.
            means: The time, whom to tell how far it is, who scores.
            hub: Where to publish, too.
        """
        self.options, self.place, self.clock = options, place, means.clock
        self.steps: list[Step] = []
        self._means, self._hub = means, hub
        self._progress = means.progress
        self._bringing = Bringing(place, self._progress)
        self._sets: dict[str, PolicyScores] = {}
        self._references: dict[str, Reference] = {}
        self._done = Done()

    def run(self) -> RefreshSummary:
        """Do it all."""
        with self.alone():
            looked = self.look()
            self.prepare()
            seen = self.plan(looked)
            self.note(seen)
            for chunk in seen.backlog.chunks(self.options.chunk):
                self.bring(chunk)
                self.score(chunk)
            seen = self.lay_out(looked, seen)
            self.publish(looked, seen)
            return self.summary(looked, seen)

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other refresh of this home out while this one is at work; RefreshRunning names the other."""
        return alone_in(self.place.home, purpose=f"refresh into {self.options.out}")

    @step("look_at_catalogue")
    def look(self) -> Looked:
        """Ask the catalogue what it has now; where nobody is to be asked, take what was seen last."""
        seen = History(self.place.home, self.place.build).latest()
        if seen is not None and (self.place.offline or not self.options.asks):
            return Looked(release=self._meant(seen.release))
        refreshed = catalogue.waited(catalogue.refresh(self.place, progress=self._progress))
        return Looked(release=self._meant(refreshed.release.release), n_asked=refreshed.n_asked)

    @step("prepare_panel")
    def prepare(self) -> None:
        """Open the panel, fetched where it is not here, and make its tables of variants unless they are there."""
        panel = self._panel()
        policies = self.options.policies.items()
        self._sets = {name: PolicyScores(name, policy, self.options, panel, self._means) for name, policy in policies}
        by_genotypes: dict[str, Reference] = {}
        for name, each in self._sets.items():
            genotypes = each.policy.genotypes
            by_genotypes[genotypes] = by_genotypes.get(genotypes) or each.prepare()
            self._references[name] = by_genotypes[genotypes]

    @step("plan_scores")
    def plan(self, looked: Looked) -> Seen:
        """Say of every score what has to be done, and why."""
        retries = self.options.retry_failed or not self.options.use_cache
        seen = self._plan(looked, retries=retries)
        self._done.planned = seen.backlog.counts
        return seen

    def note(self, seen: Seen) -> None:
        """Write the plan into the folder, before anything is done."""
        out, backlog = self.options.out, seen.backlog
        with Storing("write", out):
            out.mkdir(parents=True, exist_ok=True)
        document = {"counts": backlog.counts, "withdrawn": backlog.withdrawn, "scores": backlog.lines()}
        write_whole(out / PLAN, json.dumps(document, indent=1).encode())

    @step("bring_scores")
    def bring(self, chunk: Sequence[Item]) -> int:
        """Bring the files of these scores, where that is needed, and give how many came."""
        brought = self._bringing.bring([each.upstream for each in chunk if each.brings])
        self._done.brought += brought
        return brought

    @step("score_chunk")
    def score(self, chunk: Sequence[Item]) -> int:
        """Score these scores by each policy by which that is needed, and give how many results that made."""
        before = sum(self._done.made.values())
        planner = self._planner()
        for name, each in self._sets.items():
            wanted = [item.pgs_id for item in chunk if name in item.policies or not self.options.use_cache]
            notes = {pgs_id: note for pgs_id in wanted if (note := planner.note(pgs_id)).is_file()}
            made = each.score(self._references[name], notes) if notes else 0
            self._done.made[name] = self._done.made.get(name, 0) + made
        return sum(self._done.made.values()) - before

    @step("lay_out_tables")
    def lay_out(self, looked: Looked, seen: Seen) -> Seen:
        """Write the tables of all scores, and down what was done; where some are left open, tables stay as they are.

        Returns:
            What there is now.
        """
        account = Account.read(self.options.out)
        left_open = seen.backlog.left_open
        if seen.backlog.chosen:
            seen = self._plan(looked, retries=False)
        account = account_of(seen, account)
        account.write(self.options.out)
        if left_open:
            return seen
        reasons = {each.pgs_id: each.why for each in seen.backlog.items if each.state is not State.CURRENT}
        for name, each in self._sets.items():
            made_of, is_new = each.lay_out(
                self._references[name],
                seen.notes,
                reasons,
                n_cached=len(seen.backlog.items) - len(reasons) - self._done.made.get(name, 0),
                before=account.laid_out.get(name),
            )
            self._done.is_new |= is_new
            account = replace(account, laid_out={**account.laid_out, name: made_of})
        replace(account, meant=self._told(seen)).write(self.options.out)
        return seen

    @step("publish")
    def publish(self, looked: Looked, seen: Seen) -> None:
        """Publish the data sets, unless the same was published before; PublicationRefused where the audit blocks."""
        wish = self.publication(looked, seen)
        if wish is not None:
            self.published(wish, publish(wish, clock=self.clock, progress=self._progress))

    def publication(self, looked: Looked, seen: Seen) -> Publication | None:
        """Give what is to be published; none where that is not wanted, scores are left open, or it is there already."""
        wish = self._wish(looked, seen)
        account = Account.read(self.options.out)
        if wish is None or publication_key(wish, account.laid_out) != account.published:
            return wish
        there = standing(wish)
        self._done.published += there or []
        return wish if there is None else None

    def published(self, wish: Publication, published: Sequence[Published]) -> None:
        """Note what was published."""
        self._done.published += published
        account = Account.read(self.options.out)
        replace(account, published=publication_key(wish, account.laid_out)).write(self.options.out)

    def summary(self, looked: Looked, seen: Seen) -> RefreshSummary:
        """Say how it went, by the tables of our own policy."""
        name, own = list(self._sets.items())[-1]
        quality = own.folder / "quality.parquet"
        total, ok, failed = counted(frames.read_parquet(quality)) if quality.is_file() else (0, 0, 0)
        return RefreshSummary(
            out=self.options.out,
            release=looked.release.date,
            n_total=total,
            n_ok=ok,
            n_failed=failed,
            n_cached=max(total - failed - self._done.made.get(name, 0), 0),
            n_asked=looked.n_asked,
            planned=self._done.planned,
            brought=self._done.brought,
            scored=sum(self._done.made.values()),
            withdrawn=seen.backlog.withdrawn,
            left_open=len(seen.backlog.left_open),
            published=tuple(self._done.published),
            is_new=self._done.is_new,
            resources=[{"task": each.name, **each.resources.model_dump(mode="json")} for each in self.steps],
        )

    def _wish(self, looked: Looked, seen: Seen) -> Publication | None:
        if not self.options.publish or READERS not in self._sets or seen.backlog.left_open:
            return None
        own = next((each.folder for name, each in self._sets.items() if name != READERS), None)
        meant = self._told(seen)
        return Publication(
            name=meant.panel,
            panel=self._references[READERS].panel,
            results=self._sets[READERS].folder,
            own=own,
            release=looked.release,
            home=self.place.home,
            folder=self.options.out / PUBLISHED,
            unscorable=frozenset(meant.unscorable),
            rules=audit.Rules(completeness=self.options.completeness, allow_partial=self.options.allow_partial),
            hub=self._hub,
        )

    def _told(self, seen: Seen) -> Meant:
        return Meant(
            panel=self.options.panel_name or Path(self.options.panel).name,
            scores=tuple(sorted(self.options.scores)),
            unscorable=tuple(each.pgs_id for each in seen.backlog.items if each.state is State.UNSCORABLE),
        )

    def _plan(self, looked: Looked, *, retries: bool) -> Seen:
        return self._planner().plan(looked.release, Account.read(self.options.out), retries=retries)

    def _planner(self) -> Planner:
        return Planner(
            options=self.options,
            place=self.place,
            bringing=self._bringing,
            sets=self._sets,
            references=self._references,
        )

    def _meant(self, release: Release) -> Release:
        """Leave those scores of a release that were asked for."""
        if not self.options.scores:
            return release
        unknown = tuple(each for each in self.options.scores if each not in release.scores)
        if unknown:
            raise ScoreUnknown(scores=unknown, release=release.date or self.place.source.files)
        return replace(release, scores={each: release.scores[each] for each in self.options.scores})

    def _panel(self) -> PanelFiles:
        name, build, store = self.options.panel, self.options.build, ObjectStore(self.place.home / "store")
        if name not in PANELS or Path(name).parent.joinpath(f"{name}.pgen").is_file():
            return PanelFiles(prefix=Path(name), unrelated=self.options.unrelated, store=store)
        # Panels are told apart by content, too: another archive of the same name makes every score stale.
        bringing = fetch_panel(self.place, name, asks=self.options.asks, progress=self._progress)
        here = catalogue.waited(bringing)
        unrelated = self.options.unrelated or here.relatives(build)
        return PanelFiles(prefix=here.prefix(build), unrelated=unrelated, store=store)
