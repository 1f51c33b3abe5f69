"""Which test holds which promise about the registry, and which known defect of a peer it would see.

P are the project's promises about provenance, B a peer's defects, by the numbers of the project's requirements. Those
about sweeps and pipelines wait for that work; a few cannot come about here, and the table says why.
"""

from __future__ import annotations

import ast

import pytest

from tests.conftest import TESTS

CLAIMS, RECORDS = "core/registry/test_claims.py", "core/registry/test_records.py"
CRASH, SHARES, SCORES = "core/registry/test_crash.py", "core/registry/test_shares.py", "core/registry/test_scores.py"
RECONCILED, ENGINE = "wire/slurm/test_reconciled.py", "engine/test_reconcile.py"
HELD: dict[str, tuple[str, str]] = {
    "P1 killed anywhere": (CRASH, "a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean"),
    "P1 the points": (CRASH, "the_points_at_which_a_run_may_be_killed_are_those_that_are_tested"),
    "P2 no lost submit": (RECONCILED, "a_job_that_nobody_waits_for_is_found_and_collected_once"),
    "P2 no double submit": (RECONCILED, "an_intent_without_a_job_starts_none"),
    "P3 one leader": (CLAIMS, "of_many_claimants_each_key_has_exactly_one_winner"),
    "P3 late writes": (RECORDS, "what_a_dead_leader_still_writes_is_refused"),
    "P4 promotion": (SHARES, "what_a_dead_one_has_left_is_done_without_waiting_for_its_lease"),
    "P4 shared failure": (RECORDS, "another_home_waits_for_the_same_run_and_gets_what_came_of_it"),
    "P5 what was read is kept apart from who leads": (RECORDS, "a_lost_registry_is_made_anew_from_the_files"),
    "P20 loss": (RECORDS, "a_lost_registry_is_made_anew_from_the_files"),
    "P22 both databases": (RECORDS, "a_registry_is_copied_to_another_database_and_only_into_an_empty_one"),
    "B1 a submitter that dies holds its key": (
        CRASH,
        "a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean",
    ),
    "B4 a live claim is stolen": (CLAIMS, "a_claim_that_is_renewed_is_not_taken_over"),
    "B5 over before its outputs": (RECORDS, "that_it_succeeded_and_what_it_made_are_kept_together_or_not_at_all"),
    "B6 a leader's end fails its followers": (CLAIMS, "a_follower_tries_again_what_may_pass"),
    "B11 blind to content": (SCORES, "scores_that_two_runs_ask_for_at_once_are_scored_once"),
    "B12 outputs of a failed job": (RECORDS, "what_a_failed_run_has_left_is_no_artifact"),
    "B16 no end without Slurm": (RECORDS, "a_run_and_what_it_made_and_read_are_known_when_it_has_ended"),
    "B18 events without bound": (RECORDS, "events_come_in_their_order_once_and_in_pages"),
    "zombies": (ENGINE, "a_flow_run_that_runs_in_name_only_is_ended_when_its_work_is_over"),
}
NOT_HERE = {
    "B2": "a follower joins its leader's job and has no row of its own that could lose what it depends on",
    "B3": "as B2",
    "B7": "sweeps",
    "B8": "sweeps",
    "B9": "sweeps",
    "B10": "sweeps",
    "B13": "held by the Slurm layer: tests/wire/slurm/test_watch.py",
    "B14": "pipelines",
    "B15": "pipelines",
    "B17": "nobody starts another person's runs",
}


@pytest.mark.parametrize("promise", HELD)
def test_a_promise_has_its_test(promise: str) -> None:
    file, name = HELD[promise]
    tests = {getattr(node, "name", "") for node in ast.parse((TESTS / file).read_text()).body}
    assert f"test_{name}" in tests


def test_every_defect_is_spoken_of() -> None:
    spoken_of = {each.split()[0] for each in (*HELD, *NOT_HERE)}
    assert {f"B{number}" for number in range(1, 19)} <= spoken_of
