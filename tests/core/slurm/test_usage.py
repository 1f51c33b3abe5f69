"""What a job used, from its rows in accounting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sluiceway.core.slurm.job import JobId
from sluiceway.core.slurm.parse import AccountRow, Told, read_accounts
from sluiceway.core.slurm.usage import usage_of, used_together

TIMES = "1795277000|1795277010|1795277110|100"
ROWS = (
    f"9|9|NODE_FAIL|0:0|0:0|{TIMES}|00:00:05|4||cpu=4,gres/gpu=2,mem=8G,node=1|node1|None|job",
    f"9|9|COMPLETED|0:0|0:0|{TIMES}|00:03:20|4||billing=4,cpu=4,gres/gpu=2,mem=8G,node=1|node2|None|job",
    f"9.batch|9.batch|COMPLETED|0:0||{TIMES}|00:03:20|4|1048576K|cpu=4,mem=8G,node=1|node2||batch",
    f"9.0|9.0|COMPLETED|0:0||{TIMES}|00:03:20|4|2G|cpu=4,mem=8G,node=1|node2||python",
)


def rows(*lines: str) -> tuple[AccountRow, ...]:
    read = read_accounts(Told(lines=lines, exit_code=0))
    assert isinstance(read, tuple)
    return read


def test_the_last_run_and_its_steps_are_summed_up() -> None:
    used = usage_of(rows(*ROWS), JobId(9))
    assert used is not None
    assert (used.elapsed, used.waited, used.gpus) == (timedelta(seconds=100), timedelta(seconds=10), 2)
    assert (used.cpu_efficiency, used.memory_efficiency, used.nodes) == (0.5, 0.25, "node2")


def test_a_job_that_accounting_has_not_seen_end_used_nothing_yet() -> None:
    assert usage_of(rows(ROWS[1].replace("COMPLETED", "RUNNING")), JobId(9)) is None
    assert usage_of((), JobId(9)) is None


def test_what_elements_of_an_array_used_is_summed_and_of_what_each_had_the_most_counts() -> None:
    one = usage_of(rows(*ROWS), JobId(9))
    assert one is not None
    other = replace(one, elapsed=timedelta(seconds=300), peak_memory=None, nodes="node3")
    used = used_together(JobId(9, 1), (one, other))
    assert used is not None
    assert (used.job, used.elapsed, used.cpus, used.nodes) == (JobId(9), timedelta(seconds=400), 4, "node2,node3")
    assert (used.cpu_efficiency, used.peak_memory) == (0.25, one.peak_memory)
    assert used_together(JobId(9), ()) is None
