"""Starts a payload as several tasks: by srun inside of a job, and elsewhere as so many processes of this machine.

It is started as `python3 -I single_side.py TASKS MPI PAYLOAD...`. Without Slurm, each task finds its number where srun
would put it (SLURM_PROCID, SLURM_LOCALID, SLURM_NTASKS), and once one has failed, the others are ended, as srun does:
asked first, then made to, with what they leave behind in their groups.
"""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, List, Set

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.children import FORWARDED, complain, end_like, spawn
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from children import FORWARDED, complain, end_like, spawn

_NOT_FOUND, _GRACE_SECONDS = 127, 5.0


def main(words: List[str]) -> int:
    """Run the tasks; the exit code is that of the first one that failed, or zero."""
    count, mpi, payload = int(words[1]), words[2], words[3:]
    if "SLURM_JOB_ID" in os.environ:
        return _become_srun(count, mpi, payload)
    return Tasks(count).run(payload)


def _become_srun(count: int, mpi: str, payload: List[str]) -> int:
    options = ["--ntasks=%d" % count, "--kill-on-bad-exit=1", "--export=ALL"]
    # Not told by the variable of sbatch since 22.05.
    if "SLURM_CPUS_PER_TASK" in os.environ:
        options.append("--cpus-per-task=" + os.environ["SLURM_CPUS_PER_TASK"])
    if mpi:
        options.append("--mpi=" + mpi)
    try:
        os.execvp("srun", ["srun"] + options + ["--"] + payload)
    except OSError as error:
        complain("could not start srun: %s" % error)
    return _NOT_FOUND


class Tasks:
    """So many processes that run the same payload, told apart by their numbers."""

    def __init__(self, count: int, grace: float = _GRACE_SECONDS) -> None:
        """Know how many, and how many seconds one has to end by itself once another has failed."""
        self._count, self._grace = count, grace
        self._running: Set[int] = set()

    def run(self, payload: List[str]) -> int:
        """Run them to the end of the last one; give the exit code of the first that failed."""
        for number in FORWARDED:
            signal.signal(number, self._forward)
        # The clock ends no wait: what it does is done within.
        signal.signal(signal.SIGALRM, lambda _number, _frame: self._signal(signal.SIGKILL))
        for task in range(self._count):
            self._start(task, payload)
        first = 0
        ended: Set[int] = set()
        while self._running:
            process, status = os.wait()
            if status and not first:
                first, ended = status, set(self._running)
                self._signal(signal.SIGTERM)
                signal.setitimer(signal.ITIMER_REAL, self._grace)
            self._running.discard(process)
        for each in ended:
            _signal_group(each, signal.SIGKILL)
        return end_like(os.WTERMSIG(first)) if os.WIFSIGNALED(first) else os.WEXITSTATUS(first)

    def _start(self, task: int, payload: List[str]) -> None:
        own = {"SLURM_PROCID": task, "SLURM_LOCALID": task, "SLURM_NTASKS": self._count, "SLURM_NODEID": 0}
        variables = dict(os.environ, **{name: str(value) for name, value in own.items()})
        self._running.add(spawn(payload, variables, leads=True))

    def _forward(self, number: int, _frame: Any) -> None:
        self._signal(number)

    def _signal(self, number: int) -> None:
        for process in list(self._running):
            _signal_group(process, number)


def _signal_group(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
