"""What a job used, from its rows in accounting."""

from __future__ import annotations

from datetime import timedelta

from sluiceway.core.slurm.job import JobId
from sluiceway.core.slurm.parse import AccountRow, Told, read_accounts
from sluiceway.core.slurm.usage import usage_of

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
