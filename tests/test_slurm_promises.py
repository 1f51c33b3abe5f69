"""Which tests break what: each failure that a job on Slurm must survive, on the fake Slurm and on the devcluster.

A to H are known failures of monitors, by the letters of the project's requirements. Where nothing on the devcluster
breaks in that way, the table says why.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.test_mutations import every_test, named

WIRE = {
    "watch": "wire/slurm/test_watch.py",
    "following": "wire/slurm/test_following.py",
    "submit": "wire/slurm/test_submit.py",
    "faults": "wire/slurm/test_faults.py",
    "killed": "wire/slurm/test_killed.py",
    "runs": "wire/slurm/test_runs.py",
    "functions": "wire/slurm/test_functions.py",
    "again": "wire/slurm/test_tried_again.py",
}
CLUSTER = {
    "jobs": "cluster/test_slurm_jobs.py",
    "faults": "cluster/test_faults.py",
    "runs": "cluster/test_runs.py",
    "functions": "cluster/test_functions.py",
    "again": "cluster/test_tried_again.py",
}
BROKEN_ON_THE_FAKE = {
    "A: left the queue, no accounting": """
        watch: a_a_failed_job_that_left_the_queue_without_accounting_is_no_success
        watch: a_what_the_node_wrote_counts_where_slurm_has_forgotten""",
    "B: failed, and still in the queue": "watch: b_a_failed_job_that_the_queue_still_knows_ends_at_once",
    "C: Slurm silent": "watch: c_a_silent_slurm_ends_no_running_job",
    "D: connection down": "watch: d_a_cut_line_neither_ends_nor_cancels_a_job",
    "E: completing": "watch: e_a_completing_job_has_not_completed",
    "F: hours in the queue": "watch: f_waiting_in_the_queue_for_hours_is_no_failure",
    "G: requeued": """
        watch: g_a_requeued_job_ends_with_its_last_run
        watch: g_the_outcome_of_a_run_before_the_requeue_counts_for_nothing
        watch: g_a_job_that_may_be_requeued_is_not_over_with_its_node""",
    "H: out of memory or time": """
        watch: h_a_job_killed_for_memory_is_out_of_memory
        watch: h_what_slurm_ended_is_told_by_its_cause
        again: a_job_over_its_memory_is_asked_for_with_more""",
    "answer of sbatch lost": """
        submit: an_answer_of_sbatch_that_is_lost_makes_no_second_job
        submit: a_line_cut_while_a_step_runs_leaves_one_job
        killed: a_run_that_is_killed_at_any_step_is_one_job_with_the_right_result""",
    "sbatch killed half-way": """
        submit: an_sbatch_that_was_killed_leaves_one_job
        faults: a_job_that_slurm_takes_late_from_an_sbatch_that_was_killed_is_the_only_one""",
    "sacct late": "watch: accounting_that_lags_ends_no_job_wrongly",
    "slurmdbd down": """
        watch: a_database_that_is_down_is_waited_for_where_only_it_could_know
        submit: a_job_is_found_while_its_answer_is_lost_and_accounting_is_down""",
    "slurmctld down for a minute": """
        watch: c_a_silent_slurm_ends_no_running_job
        submit: a_controller_that_is_down_is_waited_for
        functions: a_controller_that_is_down_when_an_array_begins_is_waited_for
        runs: a_job_is_given_up_when_slurm_answers_again""",
    "connection cut for a minute at each step": """
        faults: a_line_that_is_cut_for_a_minute_at_any_step_costs_nothing_but_time
        following: output_is_told_once_though_the_line_is_cut
        functions: an_array_that_was_cut_off_at_every_turn_is_one_array""",
    "node killed": """
        watch: h_what_slurm_ended_is_told_by_its_cause
        watch: g_a_job_that_may_be_requeued_is_not_over_with_its_node
        again: a_node_that_failed_is_left_out""",
    "preempted and requeued twice": "watch: g_a_requeued_job_ends_with_its_last_run",
    "cancelled by somebody else": "watch: a_job_that_somebody_else_cancels_is_cancelled",
    "full disk": """
        faults: a_job_whose_folder_is_full_is_a_failure_that_is_run_anew_when_there_is_room
        faults: a_folder_that_is_full_before_the_submit_is_waited_for_and_makes_one_job""",
    "clocks apart": """
        faults: clocks_that_are_apart_change_nothing
        faults: a_login_nodes_clock_that_is_put_right_meanwhile_makes_no_second_job""",
    "kill -9 at each step": "killed: a_run_that_is_killed_at_any_step_is_one_job_with_the_right_result",
    "injection": """
        submit: words_reach_the_job_as_they_are
        submit: folders_of_any_name_hold_a_job
        faults: arguments_variables_and_names_arrive_as_they_were_given""",
}
BROKEN_FOR_REAL = {
    "A: left the queue, no accounting": "not broken: the devcluster has accounting",
    "B: failed, and still in the queue": "jobs: a_database_that_is_down_neither_loses_nor_doubles_a_job",
    "C: Slurm silent": "jobs: a_controller_that_is_down_neither_loses_nor_doubles_a_job",
    "D: connection down": "runs: a_connection_that_dies_under_a_run_costs_nothing_but_time",
    "E: completing": "faults: e_a_job_that_is_completing_has_not_ended",
    "F: hours in the queue": "not broken: hours pass on the fake's clock alone",
    "G: requeued": "jobs: a_requeued_job_ends_with_its_last_run",
    "H: out of memory or time": """
        jobs: a_job_over_its_memory_is_out_of_memory
        again: a_job_over_its_memory_succeeds_at_the_second_attempt_with_more
        again: one_that_is_warned_before_its_limit_goes_on_in_the_next_attempt""",
    "answer of sbatch lost": "runs: a_run_that_is_killed_is_one_job_with_the_right_result",
    "sbatch killed half-way": "faults: an_sbatch_that_is_killed_while_the_controller_stands_still_leaves_one_job",
    "sacct late": "not broken: slurmdbd answers at once or not at all",
    "slurmdbd down": "jobs: a_database_that_is_down_neither_loses_nor_doubles_a_job",
    "slurmctld down for a minute": "jobs: a_controller_that_is_down_neither_loses_nor_doubles_a_job",
    "connection cut for a minute at each step": """
        runs: a_connection_that_dies_under_a_run_costs_nothing_but_time
        runs: a_server_that_stands_still_for_some_seconds_is_waited_for
        faults: a_login_node_that_is_cut_off_at_submit_await_and_collect_costs_nothing_but_time
        faults: a_login_node_that_is_cut_off_for_a_minute_at_each_step_is_waited_for""",
    "node killed": """
        jobs: a_node_that_fails_is_told_as_such
        faults: a_node_daemon_that_is_killed_and_comes_back_leaves_its_job_alone
        faults: a_node_that_dies_with_all_it_runs_costs_one_attempt
        again: a_node_that_failed_is_left_out_of_the_next_attempt""",
    "preempted and requeued twice": "jobs: a_job_that_is_preempted_twice_ends_with_its_last_run",
    "cancelled by somebody else": "functions: an_element_that_is_cancelled_is_made_again_alone",
    "full disk": """
        faults: a_run_whose_disk_fills_up_has_failed_and_is_run_anew_when_there_is_room
        faults: a_disk_that_is_full_before_the_submit_is_waited_for_and_makes_one_job""",
    "clocks apart": "not broken: its nodes have this machine's clock",
    "kill -9 at each step": "runs: a_run_that_is_killed_is_one_job_with_the_right_result",
    "injection": "runs: arguments_variables_and_names_arrive_as_they_were_given",
}


@cache
def standing() -> dict[str, bool]:
    """Every test that there is, and whether it names a mutation."""
    return {test: named(node) is not None for test, node in every_test()}


def meant_by(said: str, files: dict[str, str]) -> set[str]:
    """The full names of the tests that a line of a table means; none where it says why there is none."""
    return {f"tests/{files[file]}::test_{name}" for file, name in re.findall(r"^\s*(\w+): (\w+)$", said, re.MULTILINE)}


def test_both_tables_speak_of_every_failure() -> None:
    assert list(BROKEN_ON_THE_FAKE) == list(BROKEN_FOR_REAL)


@pytest.mark.parametrize("failure", BROKEN_ON_THE_FAKE)
def test_a_failure_has_its_tests_which_name_the_mutation_that_they_see(failure: str) -> None:
    meant = meant_by(BROKEN_ON_THE_FAKE[failure], WIRE)
    assert meant
    assert {test for test in meant if not standing().get(test)} == set()


@pytest.mark.parametrize("failure", BROKEN_FOR_REAL)
def test_a_failure_has_its_tests_on_the_devcluster_or_a_reason(failure: str) -> None:
    said = BROKEN_FOR_REAL[failure]
    meant = meant_by(said, CLUSTER)
    assert bool(meant) is not said.startswith("not broken: ")
    assert meant <= standing().keys()
