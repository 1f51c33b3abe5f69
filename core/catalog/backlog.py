"""The plan of a refresh, by content: of every score of a release whether something has to be done, and why.

Nothing here reads a file or a clock: what is known of a score comes in as facts, so each rule is a line of a table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sluiceway.core.catalog.kept import Kept
    from sluiceway.core.catalog.release import Upstream
    from sluiceway.core.store.failures import Failure


class State(StrEnum):
    """What a score is found to be."""

    NEW = "new"
    REVISED = "revised"
    STALE = "stale"
    FAILED = "failed"
    DAMAGED = "damaged"
    MISSING = "missing"
    CURRENT = "current"
    GIVEN_UP = "given up"
    UNSCORABLE = "unscorable"


OPEN: Final = (State.NEW, State.REVISED, State.STALE, State.FAILED, State.DAMAGED, State.MISSING)
"""The states in which there is something to do; the others keep no plan open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What results depend on beside the score: the panel, each policy, the text of our code, the libraries."""

    panels: Mapping[str, str]
    policies: Mapping[str, Mapping[str, Any]]
    modules: Mapping[str, str]
    environment: Mapping[str, str]

    def differs_from(self, other: Recipe, policy: str) -> str:
        """Say what became other than it was, for the results of one policy."""
        changed = [] if self.panels.get(policy) == other.panels.get(policy) else ["the panel changed"]
        mine, theirs = self.policies.get(policy, {}), other.policies.get(policy, {})
        changed += [f"policy: {text}" for text in _differences(mine, theirs)]
        modules = sorted(_unlike(self.modules, other.modules))
        if modules:
            more = f" and {len(modules) - 1} more" if len(modules) > 1 else ""
            changed.append(f"code changed: {modules[0]}{more}")
        changed += [f"environment: {text}" for text in _differences(self.environment, other.environment)]
        return "; ".join(changed) or "it was scored otherwise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an earlier refresh wrote down of a score: its file, its content, and the key of its result by each policy.

    `recipe` is the place in the list of recipes by which that was.
    """

    md5: str
    digest: str
    keys: Mapping[str, str]
    recipe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A score's result by one policy, as the store has it."""

    policy: str
    key: str
    found: Literal["whole", "damaged", "absent"]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a score.

    Attributes:
        upstream: The score as the catalogue has it.
        kept: Its table here; none where it has to be brought.
        is_damaged: Whether there is a table that cannot be used.
        not_brought: How bringing this very file failed.
        broken: Why it cannot be scored at all.
        digest: The digest of what scoring reads.
        results: What the store has, by each policy.
        before: What an earlier refresh wrote down.
    """

    upstream: Upstream
    kept: Kept | None = None
    is_damaged: bool = False
    not_brought: Failure | None = None
    broken: str | None = None
    digest: str | None = None
    results: tuple[Result, ...] = ()
    before: Entry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A score of the plan: its state, why, whether its file is brought, and by which policies it is scored."""

    upstream: Upstream
    state: State
    why: str
    brings: bool = False
    policies: tuple[str, ...] = ()

    @property
    def pgs_id(self) -> str:
        """The score's id."""
        return self.upstream.pgs_id

    @property
    def is_open(self) -> bool:
        """Whether there is something to do."""
        return self.state in OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How facts are judged: the recipe of today, those of earlier refreshes, and how often something is tried."""

    recipe: Recipe
    recipes: Sequence[Recipe] = ()
    attempts: int = 3
    retries: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The whole plan: a line for each score of the release, and those that are in it no more."""

    items: tuple[Item, ...]
    withdrawn: tuple[str, ...] = ()
    only: frozenset[State] = field(default_factory=frozenset)
    use_cache: bool = True

    @property
    def chosen(self) -> list[Item]:
        """What is done now: what is open, of the states that were asked for; without the cache, all that can be."""
        wanted = self.only or frozenset(OPEN)
        if self.use_cache:
            return [each for each in self.items if each.is_open and each.state in wanted]
        return [each for each in self.items if each.upstream.is_there and (not self.only or each.state in self.only)]

    @property
    def left_open(self) -> list[Item]:
        """What is open, and was not asked for."""
        chosen = {each.pgs_id for each in self.chosen}
        return [each for each in self.items if each.is_open and each.pgs_id not in chosen]

    @property
    def counts(self) -> dict[str, int]:
        """How many scores there are of each state that there is."""
        found = Counter(each.state for each in self.items)
        return {state.value: found[state] for state in State if found[state]}

    def chunks(self, size: int) -> Iterator[list[Item]]:
        """Divide what is done now."""
        chosen = self.chosen
        for first in range(0, len(chosen), size):
            yield chosen[first : first + size]

    def lines(self) -> list[dict[str, Any]]:
        """Give a line for each score that is not current, with what is done about it."""
        chosen = {each.pgs_id for each in self.chosen}
        return [
            {"pgs_id": each.pgs_id, "state": each.state.value, "why": each.why, "does": _does(each, chosen)}
            for each in self.items
            if each.state is not State.CURRENT or each.pgs_id in chosen
        ]


def judge(facts: Facts, rules: Rules) -> Item:
    """Say what a score is, and what has to be done about it."""
    if not facts.upstream.is_there:
        return Item(upstream=facts.upstream, state=State.UNSCORABLE, why="the catalogue has no such file of it")
    found = _table(facts, rules)
    if found is not None:
        is_open = found[0] in OPEN
        wanted = tuple(rules.recipe.policies) if is_open else ()
        return Item(upstream=facts.upstream, state=found[0], why=found[1], brings=is_open, policies=wanted)
    if facts.broken is not None:
        return Item(upstream=facts.upstream, state=State.UNSCORABLE, why=facts.broken)
    judged = [(each.policy, *_result(each, facts, rules)) for each in facts.results]
    done = tuple(policy for policy, state, _ in judged if state in OPEN)
    first = min(judged, key=lambda each: _GRAVITY.index(each[1]))
    return Item(upstream=facts.upstream, state=first[1], why=first[2], policies=done)


_GRAVITY: Final = (*OPEN, State.GIVEN_UP, State.UNSCORABLE, State.CURRENT)


def _table(facts: Facts, rules: Rules) -> tuple[State, str] | None:
    """Judge the score's table; none where it is here, and of the file that the catalogue has now."""
    revision = None if facts.kept is None else _revision(facts.kept, facts.upstream)
    if facts.kept is not None and revision is None and not facts.is_damaged:
        return None
    if facts.not_brought is not None and not rules.retries:
        return _failed(facts.not_brought, rules, "it was not brought")
    if revision is not None:
        return State.REVISED, revision
    if facts.is_damaged:
        return State.DAMAGED, "its table is damaged"
    if facts.before is None:
        return State.NEW, "it was never brought here"
    revised = _other_md5(facts.before.md5, facts.upstream.md5)
    return (State.REVISED, revised) if revised else (State.MISSING, "its table is gone")


def _result(result: Result, facts: Facts, rules: Rules) -> tuple[State, str]:
    if result.found == "whole":
        return State.CURRENT, "its result is here"
    if result.failure is not None and not rules.retries:
        return _failed(result.failure, rules, "it was not scored")
    if result.found == "damaged":
        return State.DAMAGED, f"its result ({result.policy}) is damaged"
    return _absent(result, facts, rules)


def _absent(result: Result, facts: Facts, rules: Rules) -> tuple[State, str]:
    before = facts.before
    if before is None or result.policy not in before.keys:
        return State.NEW, f"it was never scored here ({result.policy})"
    revised = None if facts.kept is None else _other_md5(before.md5, facts.kept.md5)
    if revised:
        return State.REVISED, revised
    if before.keys[result.policy] == result.key:
        return State.MISSING, f"its result ({result.policy}) is gone"
    return State.STALE, _other_recipe(result.policy, facts, rules)


def _other_recipe(policy: str, facts: Facts, rules: Rules) -> str:
    before = facts.before
    if before is None or before.recipe >= len(rules.recipes):
        return "it was scored otherwise"
    if facts.digest != before.digest:
        return "code changed: its file is read otherwise"
    return rules.recipe.differs_from(rules.recipes[before.recipe], policy)


def _failed(failure: Failure, rules: Rules, what: str) -> tuple[State, str]:
    if failure.permanent:
        return State.UNSCORABLE, failure.reason
    if failure.attempts >= rules.attempts:
        return State.GIVEN_UP, f"{what}, {failure.attempts} times: {failure.reason}"
    return State.FAILED, f"{what} (attempt {failure.attempts} of {rules.attempts}): {failure.reason}"


def _revision(kept: Kept, upstream: Upstream) -> str | None:
    """Say why a table is of another file than the catalogue has; an md5 goes before an etag, and that before dates."""
    if upstream.md5 is not None:
        return _other_md5(kept.md5, upstream.md5)
    if upstream.etag is not None and kept.etag is not None:
        return None if upstream.etag == kept.etag else f"etag {kept.etag} became {upstream.etag}"
    for name in ("modified", "released"):
        mine, theirs = getattr(kept, name), getattr(upstream, name)
        if mine is not None and theirs is not None and mine != theirs:
            return f"{name} {mine} became {theirs}"
    return None


def _other_md5(before: str, now: str | None) -> str | None:
    return None if now is None or before == now else f"md5 {before} became {now}"


def _does(item: Item, chosen: Collection[str]) -> str:
    if item.pgs_id not in chosen:
        return "waits" if item.is_open else "nothing"
    return "brings and scores" if item.brings else "scores"


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    return [f"{name} {before.get(name)} became {now.get(name)}" for name in sorted(_unlike(now, before))]
