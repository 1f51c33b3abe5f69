"""What each score is found to be, and why: a line for each rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluiceway.core.catalog.backlog import (
    OPEN,
    Backlog,
    Entry,
    Facts,
    Item,
    Recipe,
    Result,
    Rules,
    State,
    judge,
)
from sluiceway.core.catalog.kept import Kept
from sluiceway.core.catalog.refreshed import NAME, Account
from sluiceway.core.catalog.release import Upstream
from sluiceway.core.store.failures import Failure

MD5 = "0" * 32
UPSTREAM = Upstream(pgs_id="PGS000001", link="https://x/1", md5=MD5, etag=None, modified=None, released="2026-10-01")
UNMARKED = replace(UPSTREAM, md5=None)
KEPT = Kept(
    pgs_id="PGS000001",
    link="https://x/1",
    md5=MD5,
    sha256="sha256:0",
    size=1,
    etag=None,
    modified=None,
    released="2026-10-01",
    keys=("sha256:t",),
)
RECIPE = Recipe(
    panels={"own": "sha256:p"},
    policies={"own": {"missing": "mean"}},
    modules={"core.genetics.match": "sha256:m"},
    environment={"numpy": "2.4.6"},
)
RESULT = Result(policy="own", key="sha256:k", found="absent")
WHOLE = replace(RESULT, found="whole")
BEFORE = Entry(md5=MD5, digest="sha256:d", keys={"own": "sha256:k"}, recipe=0)
KNOWN = Facts(upstream=UPSTREAM, kept=KEPT, digest="sha256:d", results=(RESULT,))


def failed(attempts: int, *, permanent: bool = False) -> Failure:
    return Failure(attempts=attempts, reason="no luck", permanent=permanent, last=datetime(2026, 11, 1, tzinfo=UTC))


def other(recipe: Recipe = RECIPE, **facts: object) -> Facts:
    return replace(KNOWN, before=replace(BEFORE, keys={"own": "sha256:old"}), **facts)  # type: ignore[arg-type]


TABLE: list[tuple[str, Facts, State, str]] = [
    ("never seen", Facts(upstream=UPSTREAM), State.NEW, "never brought"),
    ("without a file", Facts(upstream=replace(UPSTREAM, is_there=False)), State.UNSCORABLE, "no such file"),
    ("brought, never scored", KNOWN, State.NEW, "never scored"),
    ("scored", replace(KNOWN, results=(WHOLE,)), State.CURRENT, "is here"),
    ("another md5", replace(KNOWN, upstream=replace(UPSTREAM, md5="1" * 32)), State.REVISED, f"md5 {MD5} became 1111"),
    (
        "another etag where there is no md5",
        replace(KNOWN, upstream=replace(UNMARKED, etag='"b"'), kept=replace(KEPT, etag='"a"')),
        State.REVISED,
        'etag "a" became "b"',
    ),
    (
        "another date where there is no etag",
        replace(KNOWN, upstream=replace(UNMARKED, modified="Tue"), kept=replace(KEPT, modified="Mon")),
        State.REVISED,
        "modified Mon became Tue",
    ),
    (
        "another release date, and nothing else to go by",
        replace(KNOWN, upstream=replace(UNMARKED, released="2026-11-01")),
        State.REVISED,
        "released 2026-10-01 became 2026-11-01",
    ),
    (
        "the same md5 with another release date",
        replace(KNOWN, upstream=replace(UPSTREAM, released="2026-11-01"), results=(WHOLE,)),
        State.CURRENT,
        "is here",
    ),
    ("its table is damaged", replace(KNOWN, kept=None, is_damaged=True), State.DAMAGED, "table is damaged"),
    ("its table is gone", Facts(upstream=UPSTREAM, before=BEFORE), State.MISSING, "table is gone"),
    (
        "its table is gone and the file revised",
        Facts(upstream=replace(UPSTREAM, md5="1" * 32), before=BEFORE),
        State.REVISED,
        "md5",
    ),
    ("its result is gone", replace(KNOWN, before=BEFORE), State.MISSING, "result (own) is gone"),
    ("its result is damaged", replace(KNOWN, results=(replace(RESULT, found="damaged"),)), State.DAMAGED, "damaged"),
    (
        "revised, brought, and killed before it was scored",
        replace(KNOWN, before=replace(BEFORE, md5="1" * 32)),
        State.REVISED,
        "md5 1111",
    ),
    ("read otherwise", other(digest="sha256:e"), State.STALE, "its file is read otherwise"),
    ("not brought once", Facts(upstream=UPSTREAM, not_brought=failed(1)), State.FAILED, "attempt 1 of 3): no luck"),
    ("not brought three times", Facts(upstream=UPSTREAM, not_brought=failed(3)), State.GIVEN_UP, "3 times: no luck"),
    ("unreadable", Facts(upstream=UPSTREAM, not_brought=failed(1, permanent=True)), State.UNSCORABLE, "no luck"),
    ("not scored once", replace(KNOWN, results=(replace(RESULT, failure=failed(1)),)), State.FAILED, "attempt 1"),
    ("not scored often", replace(KNOWN, results=(replace(RESULT, failure=failed(9)),)), State.GIVEN_UP, "9 times"),
    ("of another build", replace(KNOWN, broken="on GRCh37", results=()), State.UNSCORABLE, "on GRCh37"),
]


@pytest.mark.parametrize(("facts", "state", "why"), [line[1:] for line in TABLE], ids=[line[0] for line in TABLE])
def test_a_score_is_judged_by_its_contents(facts: Facts, state: State, why: str) -> None:
    item = judge(facts, Rules(recipe=RECIPE, recipes=(RECIPE,)))
    assert item.state is state
    assert why in item.why


@pytest.mark.parametrize("state", OPEN)
def test_every_open_state_is_reached_by_the_table(state: State) -> None:
    assert state in {line[2] for line in TABLE}


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (replace(RECIPE, panels={"own": "sha256:q"}), "the panel changed"),
        (replace(RECIPE, policies={"own": {"missing": "zero"}}), "policy: missing mean became zero"),
        (replace(RECIPE, modules={"core.genetics.match": "sha256:n"}), "code changed: core.genetics.match"),
        (replace(RECIPE, environment={"numpy": "2.4.7"}), "environment: numpy 2.4.6 became 2.4.7"),
    ],
)
def test_a_stale_score_names_what_changed(now: Recipe, why: str) -> None:
    item = judge(other(), Rules(recipe=now, recipes=(RECIPE,)))
    assert (item.state, item.why) == (State.STALE, why)


def test_a_policy_without_result_is_scored_and_the_other_is_not() -> None:
    facts = replace(KNOWN, results=(WHOLE, replace(RESULT, policy="just-prs", key="sha256:j")))
    item = judge(facts, Rules(recipe=RECIPE))
    assert (item.state, item.policies, item.brings) == (State.NEW, ("just-prs",), False)


def test_tries_are_not_counted_when_all_is_tried_again() -> None:
    facts = Facts(upstream=UPSTREAM, not_brought=failed(9, permanent=True))
    item = judge(facts, Rules(recipe=RECIPE, retries=True))
    assert (item.state, item.brings) == (State.NEW, True)


def items() -> tuple[Item, ...]:
    return tuple(
        Item(upstream=replace(UPSTREAM, pgs_id=f"PGS{number:06}"), state=state, why="so")
        for number, state in enumerate(State)
    )


def test_only_the_states_that_were_asked_for_are_chosen_and_the_others_are_left_open() -> None:
    backlog = Backlog(items=items(), only=frozenset({State.MISSING, State.FAILED}))
    assert [each.state for each in backlog.chosen] == [State.FAILED, State.MISSING]
    assert {each.state for each in backlog.left_open} == {State.NEW, State.REVISED, State.STALE, State.DAMAGED}
    assert Backlog(items=items()).left_open == []


def test_what_cannot_be_scored_keeps_no_plan_open() -> None:
    settled = tuple(each for each in items() if each.state in (State.UNSCORABLE, State.GIVEN_UP, State.CURRENT))
    backlog = Backlog(items=settled)
    assert (backlog.chosen, backlog.left_open) == ([], [])


def test_without_the_cache_everything_that_has_a_file_is_chosen() -> None:
    backlog = Backlog(items=items(), use_cache=False)
    assert len(backlog.chosen) == len(State)


def test_an_account_is_read_as_it_was_written_without_recipes_that_nobody_has(tmp_path: Path) -> None:
    Account(
        scores={"PGS000001": replace(BEFORE, recipe=1)},
        recipes=(RECIPE, replace(RECIPE, panels={"own": "sha256:q"})),
        laid_out={"own": "sha256:x"},
    ).write(tmp_path)
    again = Account.read(tmp_path)
    assert again.scores == {"PGS000001": BEFORE}
    assert [each.panels for each in again.recipes] == [{"own": "sha256:q"}]
    assert again.laid_out == {"own": "sha256:x"}


def test_a_damaged_account_is_none(tmp_path: Path) -> None:
    """Red on: core/store/record.py: `and sealed(document) == content` -> `and True`."""
    Account(scores={"PGS000001": BEFORE}, recipes=(RECIPE,)).write(tmp_path)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(MD5.encode(), b"1" * 32))
    assert Account.read(tmp_path) == Account()
