"""Finds out what is known of every score, so that it can be judged: its table, its results, how it failed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sluiceway.core.catalog.backlog import Backlog, Entry, Facts, Recipe, Result, Rules, judge
from sluiceway.core.catalog.kept import Kept, KeptTables, usable
from sluiceway.core.genetics import results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.catalog.backlog import Item
    from sluiceway.core.catalog.refresh import CatalogPlace
    from sluiceway.core.catalog.refreshed import Account
    from sluiceway.core.catalog.release import Release, Upstream
    from sluiceway.core.genetics.reference import Reference
    from sluiceway.core.runs.planned import Planned
    from sluiceway.core.runs.refresh_fetch import Bringing
    from sluiceway.core.runs.refresh_options import RefreshOptions
    from sluiceway.core.runs.refresh_scores import PolicyScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The plan, and what it was made of: the notes of all tables that are here, and the keys of all whole results."""

    backlog: Backlog
    notes: Mapping[str, Path]
    entries: Mapping[str, Entry]
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Makes plans for one refresh."""

    options: RefreshOptions
    place: CatalogPlace
    bringing: Bringing
    sets: Mapping[str, PolicyScores]
    references: Mapping[str, Reference]

    def plan(self, release: Release, account: Account, *, retries: bool) -> Seen:
        """Judge every score of a release.

        Args:
            release: What the catalogue has of the scores that are meant.
            account: What earlier refreshes have done.
            retries: Whether what has failed is tried again, however often it failed.
        """
        recipe = self._recipe()
        rules = Rules(recipe=recipe, recipes=account.recipes, attempts=self.options.attempts, retries=retries)
        kept = {pgs_id: table for pgs_id in release.scores if (table := usable(self.note(pgs_id))) is not None}
        notes = {pgs_id: self.note(pgs_id) for pgs_id in kept}
        planned = {name: each.planned(self.references[name], notes) for name, each in self.sets.items()}
        found = {name: each.results(planned[name].values()) for name, each in self.sets.items()}
        items: list[Item] = []
        entries: dict[str, Entry] = {}
        for pgs_id in sorted(release.scores):
            mine = {name: each[pgs_id] for name, each in planned.items() if pgs_id in each}
            facts = self._facts(release.scores[pgs_id], kept.get(pgs_id), mine, found, account)
            items.append(self._judged(facts, rules))
            entry = _entry(facts)
            entries.update({} if entry is None else {pgs_id: entry})
        gone = () if self.options.scores else tuple(sorted(account.scores.keys() - release.scores.keys()))
        backlog = Backlog(
            items=tuple(items),
            withdrawn=gone,
            only=frozenset(self.options.only),
            use_cache=self.options.use_cache,
        )
        return Seen(backlog=backlog, notes=notes, entries=entries, recipe=recipe)

    def note(self, pgs_id: str) -> Path:
        """Give the place of a score's note."""
        return KeptTables(self.place.home).note(pgs_id, self.place.build)

    def _judged(self, facts: Facts, rules: Rules) -> Item:
        """Judge a score; a table that is about to be read must be whole, so that a damaged one is brought first."""
        item = judge(facts, rules)
        if not item.policies or item.brings:
            return item
        if KeptTables(self.place.home).is_whole(item.pgs_id, self.place.build):
            return item
        return judge(replace(facts, is_damaged=True), rules)

    def _facts(
        self,
        upstream: Upstream,
        kept: Kept | None,
        planned: Mapping[str, Planned],
        found: Mapping[str, Mapping[str, Result]],
        account: Account,
    ) -> Facts:
        known = next(iter(planned.values()), None)
        return Facts(
            upstream=upstream,
            kept=kept,
            is_damaged=kept is None and self.note(upstream.pgs_id).is_file(),
            not_brought=self.bringing.failure(upstream),
            broken=None if known is None else known.failure,
            digest=None if known is None or known.score is None else known.score.digest,
            results=tuple(found[name][each.key] for name, each in planned.items() if each.key is not None),
            before=account.scores.get(upstream.pgs_id),
        )

    def _recipe(self) -> Recipe:
        software = results.scoring_software()
        return Recipe(
            panels={name: each.panel.digest for name, each in self.references.items()},
            policies={name: each.policy.model_dump(mode="json") for name, each in self.sets.items()},
            modules=software.modules,
            environment=software.environment,
        )


def account_of(seen: Seen, before: Account) -> Account:
    """Add what is whole now to what was written down; of what the catalogue has no more, nothing stays."""
    recipes = (*before.recipes, seen.recipe)
    now = {pgs_id: replace(each, recipe=len(recipes) - 1) for pgs_id, each in seen.entries.items()}
    gone = frozenset(seen.backlog.withdrawn)
    scores = {pgs_id: each for pgs_id, each in {**before.scores, **now}.items() if pgs_id not in gone}
    return replace(before, scores=scores, recipes=recipes)


def _entry(facts: Facts) -> Entry | None:
    keys = {each.policy: each.key for each in facts.results if each.found == "whole"}
    if not keys or facts.kept is None or facts.digest is None:
        return None
    return Entry(md5=facts.kept.md5, digest=facts.digest, keys=keys, recipe=0)
