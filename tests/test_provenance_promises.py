"""Which tests hold which promise about provenance, and see which hole that was shown in a program like this one.

P are the project's promises, L and B the holes, by the numbers of the project's requirements. Each has a test that
names the mutation that it sees; where there is none, or none yet, the table says why.
"""

from __future__ import annotations

import re

import pytest

from tests.test_slurm_promises import meant_by, standing

FILES = {
    "tree": "core/provenance/test_tree.py",
    "statcache": "core/provenance/test_statcache.py",
    "verify": "core/provenance/test_verify.py",
    "status": "core/provenance/test_status.py",
    "ledger": "core/provenance/test_ledger.py",
    "explain": "core/provenance/test_explain.py",
    "reproduce": "core/provenance/test_reproduce.py",
    "crate": "core/provenance/test_crate.py",
    "validator": "core/provenance/test_validator.py",
    "artifacts": "core/store/test_artifacts.py",
    "objects": "core/store/test_faults.py",
    "gc": "core/store/test_gc.py",
    "wanted": "core/store/test_wanted.py",
    "collected": "core/registry/test_collected.py",
    "unwatched": "core/registry/test_unwatched.py",
    "claims": "core/registry/test_claims.py",
    "crash": "core/registry/test_crash.py",
    "records": "core/registry/test_records.py",
    "shares": "core/registry/test_shares.py",
    "scores": "core/registry/test_scores.py",
    "runs": "core/runs/test_run.py",
    "followers": "core/runs/test_followers.py",
    "code": "core/runs/test_script_code.py",
    "visible": "core/runs/test_visibility.py",
    "reference": "core/runs/test_reference_scoring.py",
    "script": "core/slurm/test_script.py",
    "parse": "core/slurm/test_parse.py",
    "submit": "wire/slurm/test_submit.py",
    "reconciled": "wire/slurm/test_reconciled.py",
    "ranges": "wire/slurm/test_score_reconciled.py",
    "large": "wire/slurm/test_runs.py",
    "late": "wire/slurm/test_late_files.py",
    "caching": "engine/test_caching.py",
    "events": "engine/test_output_events.py",
    "zombies": "engine/test_reconcile.py",
    "slots": "deployments/test_followers.py",
    "dask": "cluster/test_dask.py",
    "measured": "benchmarks/test_provenance_page.py",
}
PROMISES = {
    "P1": """
        crash: a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean
        crash: the_points_at_which_a_run_may_be_killed_are_those_that_are_tested
        runs: a_run_that_is_killed_at_any_step_is_one_job_with_the_right_result
        reconciled: what_a_launcher_runs_and_many_calls_are_collected_as_well
        ranges: an_array_that_nobody_waits_for_is_over_and_what_it_made_is_not_made_again
        unwatched: calls_that_never_began_are_made_by_whoever_asks_again_and_no_other_is
        zombies: a_flow_run_that_runs_in_name_only_is_ended_when_its_work_is_over""",
    "P2": """
        submit: an_answer_of_sbatch_that_is_lost_makes_no_second_job
        reconciled: an_intent_without_a_job_starts_none""",
    "P3": """
        claims: a_leader_that_dies_or_hangs_is_replaced_and_its_late_write_refused
        claims: of_many_claimants_each_key_has_exactly_one_winner""",
    "P4": """
        claims: a_follower_tries_again_what_may_pass
        slots: a_follower_leaves_its_slot_to_another_run_and_then_has_its_leaders_result
        claims: a_failure_that_would_come_again_is_shared_with_its_cause""",
    "P5": "followers: a_follower_keeps_its_own_dependencies",
    "P6": """
        tree: every_kind_of_change_makes_another_digest
        tree: two_trees_share_a_digest_only_if_their_listings_are_the_same
        tree: a_golden_digest_never_changes""",
    "P7": "none: it is measured, and docs/benchmarks-provenance.md shows the figures",
    "P8": """
        statcache: a_change_that_hides_is_seen
        statcache: an_unchanged_file_is_not_read_again
        statcache: an_edit_within_the_tick_of_the_last_one_is_seen""",
    "P9": "verify: any_byte_that_is_flipped_anywhere_is_found_and_its_object_named",
    "P10": "ledger: whatever_is_done_to_a_ledger_is_seen_and_nothing_is_added_to_it",
    "P11": """
        code: an_edited_helper_makes_a_new_key_and_an_unrelated_file_does_not
        code: an_imported_file_that_git_does_not_know_is_reported
        caching: a_change_runs_exactly_the_tasks_that_it_affects""",
    "P12": """
        artifacts: any_changed_byte_of_an_artifact_keeps_it_from_being_served
        objects: an_object_with_any_byte_changed_is_never_served
        caching: a_result_that_was_damaged_is_not_served_but_made_again
        events: a_damaged_output_is_told_kept_aside_and_made_again""",
    "P13": """
        artifacts: nothing_in_an_artifact_can_be_written_by_its_modes
        artifacts: what_names_its_own_place_stays_true_for_the_source_is_not_moved""",
    "P14": """
        gc: tags_links_and_living_holds_keep_an_artifact
        gc: whoever_is_killed_at_any_step_leaves_whole_artifacts_and_the_next_one_goes_on
        wanted: what_an_output_needs_stays_and_the_rest_goes_after_the_time_of_grace
        wanted: whoever_is_killed_while_results_are_collected_leaves_each_whole
        collected: what_was_collected_is_forgotten_and_what_came_back_is_known""",
    "P15": """
        reproduce: a_script_without_a_seed_is_different_and_the_first_file_and_byte_are_named
        reproduce: a_deterministic_script_gives_the_same_bytes
        reproduce: a_gzip_file_that_differs_only_in_its_time_is_explained""",
    "P16": "none: there are no sweeps yet; an array's elements have keys of their own",
    "P17": "code: stages_run_from_the_code_as_it_was_when_they_were_asked_for",
    "P18": """
        visible: a_file_that_does_not_show_in_time_is_pending_and_not_failed
        late: an_output_that_its_login_node_shows_late_is_no_failure""",
    "P19": "none: it is measured, and docs/benchmarks-provenance.md shows the figures",
    "P20": "records: a_lost_registry_is_made_anew_from_the_files",
    "P21": """
        crate: a_change_is_found_and_the_file_named
        crate: an_export_is_verified_by_python_alone
        validator: the_public_validator_finds_nothing_that_is_required""",
    "P22": """
        crash: a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean
        claims: a_leader_that_dies_or_hangs_is_replaced_and_its_late_write_refused
        records: a_registry_is_copied_to_another_database_and_only_into_an_empty_one""",
    "P23": """
        script: each_wish_is_a_line_of_the_script
        dask: three_nodes_join_each_works_and_has_what_was_declared""",
    "P24": "explain: a_single_change_gives_exactly_its_reason",
}
HOLES = {
    "L1 two trees, one digest": """
        tree: two_trees_that_collide_in_a_form_without_lengths_differ
        tree: every_kind_of_change_makes_another_digest""",
    "L2 modes, empty folders and odd names not seen": "tree: every_kind_of_change_makes_another_digest",
    "L3 an edited helper leaves all up to date": """
        code: an_edited_helper_makes_a_new_key_and_an_unrelated_file_does_not""",
    "L4 a tampered output is current": """
        verify: any_byte_that_is_flipped_anywhere_is_found_and_its_object_named
        status: a_tampered_output_is_damaged_even_where_size_and_times_were_put_back""",
    "L5 a write in place destroys the only copy": """
        artifacts: a_write_to_the_source_leaves_a_good_copy_in_the_store
        artifacts: a_file_that_is_open_for_writing_is_copied_instead_of_linked""",
    "L6 two at once do the same work": """
        runs: two_who_ask_at_once_share_one_job
        scores: scores_that_two_runs_ask_for_at_once_are_scored_once""",
    "L7 slow status": "none: it is measured, and docs/benchmarks-provenance.md shows the figures",
    "L8 status is blind, and a manifest trusted": """
        verify: any_byte_that_is_flipped_anywhere_is_found_and_its_object_named
        verify: a_manifest_that_was_forged_with_its_data_is_not_in_the_ledger""",
    "L9 inputs by time and size alone": """
        statcache: a_change_that_hides_is_seen
        verify: an_input_that_is_not_what_was_read_breaks_the_chain""",
    "L10 a manifest that is not on the disk": """
        ledger: whoever_is_killed_at_any_step_of_a_seal_leaves_a_ledger_that_holds_every_manifest""",
    "L11 no registry, no collection, no reuse": """
        records: a_lost_registry_is_made_anew_from_the_files
        gc: what_was_used_lately_stays_and_to_put_it_again_is_use
        artifacts: the_same_content_is_kept_once_whatever_it_is_called""",
    "L12 resources ignored": "script: each_wish_is_a_line_of_the_script",
    "B1 a submitter that dies holds its key": """
        crash: a_run_that_is_killed_at_any_point_is_reconciled_to_done_or_clean""",
    "B2 a follower loses what it depends on": "followers: a_follower_keeps_its_own_dependencies",
    "B3 a stage that follows fails": "followers: a_follower_keeps_its_own_dependencies",
    "B4 a live claim is stolen": "claims: a_claim_that_is_renewed_is_not_taken_over",
    "B5 over before its outputs": """
        records: that_it_succeeded_and_what_it_made_are_kept_together_or_not_at_all
        late: an_output_that_its_login_node_shows_late_is_no_failure""",
    "B6 a leader's end fails its followers": "claims: a_follower_tries_again_what_may_pass",
    "B7 a range is not in the key": "none: there are no sweeps yet",
    "B8 the first index is added twice": """
        none: there are no sweeps yet; that a map's indices start at zero is seen by tests/core/slurm/test_script.py""",
    "B9 what gathers a sweep waits for nothing": "none: there are no sweeps yet",
    "B10 an example that no longer resolves": "none: there are no sweeps yet; examples in docs/ are run by their tests",
    "B11 blind to content": """
        caching: a_result_that_was_damaged_is_not_served_but_made_again
        caching: a_change_runs_exactly_the_tasks_that_it_affects
        large: a_large_input_that_has_changed_since_is_refused""",
    "B12 outputs of a failed job": """
        records: what_a_failed_run_has_left_is_no_artifact
        events: a_run_that_fails_publishes_nothing""",
    "B13 a failed step fails its job": "parse: accounts_tell_jobs_and_their_steps",
    "B14 stages without their inputs": "none: there are no pipelines yet",
    "B15 stages of drifting code": "code: stages_run_from_the_code_as_it_was_when_they_were_asked_for",
    "B16 no end without Slurm": "records: a_run_and_what_it_made_and_read_are_known_when_it_has_ended",
    "B17 another person's run": "none: nobody starts another person's runs",
    "B18 events without bound": "records: events_come_in_their_order_once_and_in_pages",
}
EVERY = {**PROMISES, **HOLES}
WIRED = {
    "jobs of Slurm, sealed and registered": "reconciled: a_job_that_nobody_waits_for_is_found_and_collected_once",
    "jobs, coalesced": "runs: two_who_ask_at_once_share_one_job",
    "jobs, verified when they are found": "runs: a_run_whose_output_was_damaged_runs_again",
    "scores, coalesced and registered": "scores: scores_that_two_runs_ask_for_at_once_are_scored_once",
    "scores, sealed": "reference: the_manifest_names_every_input_and_output",
    "scores, verified when they are found": "reference: a_damaged_result_is_scored_again",
    "a flow that is run twice": "events: a_flow_that_is_run_twice_does_nothing_the_second_time_and_says_why",
    "scores twice": "events: scores_that_are_there_are_told_and_those_of_the_second_run_are_not_scored",
}


def test_every_promise_and_hole_is_spoken_of() -> None:
    assert list(PROMISES) == [f"P{number}" for number in range(1, 25)]
    numbers = {each.split()[0] for each in HOLES}
    assert numbers == {*(f"L{number}" for number in range(1, 13)), *(f"B{number}" for number in range(1, 19))}


@pytest.mark.parametrize("held", EVERY)
def test_a_promise_has_its_tests_one_of_which_names_a_mutation_or_a_reason(held: str) -> None:
    said = EVERY[held]
    meant = meant_by(said, FILES)
    assert bool(meant) is not said.strip().startswith("none: ")
    assert meant <= standing().keys()
    assert not meant or any(standing()[each] for each in meant)


@pytest.mark.parametrize("said", WIRED.values(), ids=WIRED)
def test_what_exists_goes_through_this_layer(said: str) -> None:
    meant = meant_by(said, FILES)
    assert len(meant) == len(re.findall(r"^\s*\w+: ", said, re.MULTILINE)) > 0
    assert meant <= standing().keys()
