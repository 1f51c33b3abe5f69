"""Which tests hold what a refresh, its audit and its publishing promise, and see which hole of a program like this one.

G are the guarantees of such a program, u to bb its pipeline's defects, by the numbers of the project's requirements;
then what may happen to a refresh. Each has a test that names the mutation that it sees.
"""

from __future__ import annotations

import string

import pytest

from tests.test_slurm_promises import meant_by, standing

FILES = {
    "refresh": "core/runs/test_refresh.py",
    "defects": "core/runs/test_refresh_defects.py",
    "killed": "core/runs/test_refresh_killed.py",
    "sending": "core/runs/test_publishing_killed.py",
    "published": "core/runs/test_refresh_published.py",
    "hub": "core/runs/test_refresh_on_hub.py",
    "client": "core/catalog/test_client.py",
    "fetch": "core/catalog/test_fetch.py",
    "release": "core/catalog/test_release.py",
    "backlog": "core/catalog/test_backlog.py",
    "metadata": "core/catalog/test_metadata.py",
    "panel": "core/catalog/test_panel_archive.py",
    "ours": "core/catalog/test_metadata_on_hub.py",
    "publication": "core/publish/test_publication.py",
    "snapshot": "core/publish/test_snapshot.py",
    "audit": "core/publish/test_audit.py",
    "commit": "core/publish/test_hub.py",
    "peers": "core/publish/test_peer_defects.py",
    "consumer": "core/publish/test_consumer.py",
    "sums": "core/genetics/test_peer_defects.py",
    "flow": "engine/test_refresh_catalog.py",
    "user": "deployments/test_refresh_as_user.py",
    "declared": "deployments/test_declared.py",
    "cluster": "cluster/test_refresh.py",
    "command": "test_publish_command.py",
}
GUARANTEES = {
    "G1 a change of any input is seen": """
        release: a_file_that_was_revised_and_nothing_else_is_seen
        refresh: a_revised_file_is_the_only_one_that_is_brought
        refresh: another_panel_makes_every_score_stale
        refresh: another_policy_makes_scores_stale_and_going_back_finds_them_current
        refresh: other_code_makes_every_score_stale
        defects: u_metadata_that_were_revised_are_cleaned_anew_by_the_next_refresh
        defects: what_was_copied_or_restored_with_other_times_is_as_current_as_before""",
    "G2 gaps are seen, of any size, and close": """
        refresh: a_gap_of_the_same_size_as_before_is_seen
        refresh: what_cannot_be_scored_is_a_row_with_its_reason_and_keeps_nothing_open
        backlog: what_cannot_be_scored_keeps_no_plan_open""",
    "G3 what failed is tried again, over restarts": """
        refresh: a_score_that_fails_is_given_up_when_its_tries_are_spent_over_restarts
        refresh: a_revised_file_has_all_its_tries_again
        defects: w_trying_again_what_failed_is_no_other_mode_and_ends_in_the_tables_of_everybody""",
    "G4 too little is not published": """
        publication: scores_that_the_catalogue_has_and_we_have_not_keep_a_release_back
        published: too_few_scores_are_not_published_unless_that_is_allowed
        command: too_few_scores_are_held_back_with_the_reason_unless_that_is_allowed""",
    "G5 what is there is skipped by its content": """
        refresh: a_damaged_result_is_scored_again_from_the_table_that_is_here
        refresh: the_first_refresh_brings_and_scores_everything_and_the_second_does_nothing
        defects: what_was_copied_or_restored_with_other_times_is_as_current_as_before""",
    "G6 the counts are true": """
        refresh: the_first_refresh_brings_and_scores_everything_and_the_second_does_nothing
        refresh: a_download_that_breaks_leaves_the_others_and_is_tried_again
        sums: r_a_score_of_which_little_is_in_the_panel_is_marked
        flow: the_page_shows_the_plan_the_counts_and_what_each_task_used""",
    "G7 one refresh at a time, and one plan for all reasons": """
        refresh: a_second_refresh_at_the_same_time_is_refused_and_told_who_is_at_work
        flow: a_second_flow_run_at_the_same_time_fails_and_names_the_first
        declared: never_are_two_refreshes_at_once_and_the_second_waits
        backlog: a_score_is_judged_by_its_contents""",
    "G8 damaged files are seen, and none is there in part": """
        refresh: a_damaged_result_is_scored_again_from_the_table_that_is_here
        refresh: a_table_that_is_damaged_is_brought_again_before_it_is_scored
        refresh: a_damaged_folder_of_tables_is_laid_out_again
        snapshot: a_writer_that_dies_at_any_step_leaves_one_whole_version
        release: a_damaged_table_of_metadata_is_made_again""",
}
DEFECTS = {
    "u metadata, files and panels that are never asked for again": """
        defects: u_metadata_that_were_revised_are_cleaned_anew_by_the_next_refresh
        fetch: a_revised_file_is_brought_though_nobody_looked_meanwhile
        panel: u_another_archive_of_the_same_name_is_brought_where_that_is_asked_for""",
    "v a gap is known by its size": "refresh: a_gap_of_the_same_size_as_before_is_seen",
    "w trying again turns tests on": """
        defects: w_trying_again_what_failed_is_no_other_mode_and_ends_in_the_tables_of_everybody""",
    "x published tables take the place of results, in several commits": """
        peers: x_publishing_changes_no_result_and_joins_nothing_twice
        peers: x_curves_by_sex_are_published_every_time_by_either_coding_of_x
        commit: a_commit_that_came_between_keeps_ours_away""",
    "y links to files that are not there": """
        peers: y_links_lead_to_the_build_that_is_published_whatever_the_authors_was
        commit: links_lead_to_files_that_the_hub_has""",
    "z populations, metrics and columns that somebody has fixed": """
        peers: z_populations_are_the_panels_own_however_many_and_however_large
        peers: z_the_best_performance_has_no_bonus_for_europeans
        metadata: an_effect_size_is_read_whole_or_kept_as_it_is
        metadata: a_column_that_the_catalogue_adds_is_kept""",
    "aa tables of another panel, or of another release": """
        peers: aa_every_release_has_all_tables_of_a_panel_so_that_none_is_older_than_another
        publication: panels_are_published_side_by_side_and_none_stands_in_for_another""",
    "bb thresholds without a scale": """
        peers: bb_a_score_of_tiny_weights_is_neither_flat_nor_beyond_a_check
        audit: no_scale_of_weights_makes_a_score_wrong_or_right
        sums: bb_whether_people_differ_does_not_depend_on_the_unit_of_the_weights""",
}
HAPPENINGS = {
    "the first refresh, and nothing changed": """
        refresh: the_first_refresh_brings_and_scores_everything_and_the_second_does_nothing""",
    "one revised": "refresh: a_revised_file_is_the_only_one_that_is_brought",
    "one added and one withdrawn": """
        refresh: one_added_and_one_withdrawn_at_once_is_seen_though_the_count_stays""",
    "a file cut off, a server that stalls, or is busy": """
        client: an_answer_that_ends_too_early_is_never_taken_for_the_file
        client: silence_is_not_waited_for_longer_than_agreed
        client: the_server_says_when_to_come_back
        fetch: a_download_that_fails_is_one_line_and_the_next_try_goes_on
        refresh: a_download_that_breaks_leaves_the_others_and_is_tried_again""",
    "kill -9": """
        killed: a_refresh_killed_in_any_phase_is_finished_by_the_next_one
        killed: a_refresh_killed_at_any_step_is_finished_by_the_next_one
        sending: a_refresh_killed_between_the_folder_and_the_hub_is_sent_by_the_next_one
        sending: a_refresh_killed_before_it_notes_what_the_hub_has_is_not_sent_twice
        sending: a_refresh_killed_at_any_step_of_publishing_is_finished_by_the_next_one
        snapshot: a_writer_that_dies_at_any_step_leaves_one_whole_version""",
    "another panel": "refresh: another_panel_makes_every_score_stale",
    "other code": "refresh: other_code_makes_every_score_stale",
    "a score that fails until its tries are spent": """
        refresh: a_score_that_fails_is_given_up_when_its_tries_are_spent_over_restarts""",
    "two refreshes": "refresh: a_second_refresh_at_the_same_time_is_refused_and_told_who_is_at_work",
    "a commit of somebody else": """
        hub: a_commit_of_somebody_else_in_the_middle_keeps_ours_away_and_the_next_refresh_comes_on_top_of_it""",
    "an upload that fails": "hub: after_an_upload_that_failed_the_next_refresh_only_sends",
    "a token that has expired": """
        hub: a_token_that_has_expired_is_told_before_anything_is_published_and_costs_no_result""",
    "an audit that refuses": "hub: what_the_audit_refuses_never_reaches_the_hub",
    "a hub that cannot help": "ours: where_the_hub_cannot_help_the_catalogue_does_and_it_is_told",
    "a user at a shell": """
        user: it_says_first_where_its_page_is_which_is_there_meanwhile_and_leaves_nothing_running
        user: one_that_is_told_to_end_leaves_nothing_running_and_the_next_one_does_the_rest""",
}
WHOLE = {
    "a refresh on the devcluster": "cluster: a_whole_refresh_on_the_cluster_gives_the_bytes_of_this_machine",
    "a refresh to a hub": "hub: a_whole_refresh_is_one_commit_in_each_data_set_and_the_next_one_asks_the_hub_nothing",
    "a refresh to a hub as a flow": """
        flow: the_scheduled_run_publishes_to_the_hub_of_a_block_whose_token_shows_nowhere""",
    "somebody who reads it": "consumer: just_prs_answers_from_the_published_folder_alone",
}
EVERY = {**GUARANTEES, **DEFECTS, **HAPPENINGS}


def test_every_guarantee_and_defect_is_spoken_of() -> None:
    assert [each.split()[0] for each in GUARANTEES] == [f"G{number}" for number in range(1, 9)]
    assert [each.split()[0] for each in DEFECTS] == [*string.ascii_lowercase[20:], "aa", "bb"]


@pytest.mark.parametrize("held", EVERY)
def test_a_promise_has_its_tests_one_of_which_names_a_mutation(held: str) -> None:
    meant = meant_by(EVERY[held], FILES)
    assert len(meant) == EVERY[held].count(": ")
    assert meant <= standing().keys()
    assert any(standing()[each] for each in meant)


@pytest.mark.parametrize("said", WHOLE.values(), ids=WHOLE)
def test_a_refresh_is_tried_as_a_whole(said: str) -> None:
    meant = meant_by(said, FILES)
    assert meant
    assert meant <= standing().keys()
