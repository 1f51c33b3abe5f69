"""The fake Slurm as a test holds it: its programs, its jobs, and every way to make it misbehave."""

from __future__ import annotations

import copy
import shlex
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tests.fake_slurm.state import FINAL, Store, finish, matches, requeue, signal_runner

_PROGRAM = """\
#!{python} -IS
import sys
sys.path.insert(0, {home!r})
from tests.fake_slurm.programs import run
run({name!r}, {folder!r})
"""
_DATE = """\
#!/bin/sh
[ "$*" = +%s ] || exec {date} "$@"
echo $(($({date} +%s) + $(cat {folder}/ahead)))
"""
NAMES = ("sbatch", "squeue", "sacct", "scancel", "scontrol")


@dataclass(frozen=True, slots=True)
class FakeSlurm:
    """A cluster of one node with room for everything."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Self:
        """Write the programs into a new folder."""
        made = cls(folder)
        made.programs.mkdir(parents=True)
        for name in NAMES:
            program = made.programs / name
            home = str(Path(__file__).parent.parent.parent)
            program.write_text(_PROGRAM.format(python=sys.executable, home=home, name=name, folder=str(folder)))
            program.chmod(0o755)
        return made

    @property
    def programs(self) -> Path:
        """The folder that goes first on PATH."""
        return self.folder / "bin"

    @property
    def store(self) -> Store:
        """The state, and the right to change it."""
        return Store(self.folder)

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Every job that there ever was, forgotten ones too."""
        jobs: list[dict[str, Any]] = self.store.seen()["jobs"]
        return jobs

    def only_job(self) -> dict[str, Any]:
        """The one job there is; fails where there are none, or several."""
        (job,) = self.jobs
        return job

    def asked(self, program: str) -> list[list[str]]:
        """How a program was called, each time."""
        return [each for each in self.store.seen()["asked"] if each[0] == program]

    # Answers that go wrong. Each is used up by the next call of that program.

    def lose_answer(self, program: str = "sbatch", *, times: int = 1) -> None:
        """Let a program do its work, and then say that it timed out."""
        self._plant(program, "lose", times)

    def kill(self, program: str = "sbatch", *, when: Literal["before", "after"] = "before") -> None:
        """Let a program be killed before it has done its work, or after it, before it can say so."""
        self._plant(program, f"kill {when}", 1)

    def take_late(self, seconds: float) -> None:
        """Let sbatch be killed when it has asked for its job, which the controller takes so long afterwards."""
        self._plant("sbatch", f"late {seconds}", 1)

    def garble(self, program: str, *, times: int = 1) -> None:
        """Let a program say what nobody can read, and end well."""
        self._plant(program, "garbage", times)

    def slow(self, program: str, seconds: float, *, times: int = 1) -> None:
        """Let a program's answer take long."""
        self._plant(program, f"wait {seconds}", times)

    def refuse(self, reason: str) -> None:
        """Let the next sbatch be refused, in Slurm's words."""
        self._plant("refuse", reason, 1)

    # Daemons that are down, until they are up again.

    def set_controller(self, *, up: bool) -> None:
        """Let slurmctld be down, or up again; jobs go on meanwhile."""
        with self.store.changed() as state:
            state["controller"] = up

    def set_accounting(self, how: Literal["up", "down", "none"]) -> None:
        """Let slurmdbd be up, down, or not there at all."""
        with self.store.changed() as state:
            state["accounting"] = how

    def freeze_accounting(self) -> None:
        """Let accounting lag: it tells what it knows now, until it is thawed."""
        with self.store.changed() as state:
            state["snapshot"] = copy.deepcopy(state["jobs"])

    def thaw_accounting(self) -> None:
        """Let accounting know everything again."""
        with self.store.changed() as state:
            state["snapshot"] = None

    def set_clock(self, *, ahead: int) -> None:
        """Let the login node's clock be so many seconds ahead of the nodes'."""
        (self.folder / "ahead").write_text(str(ahead))
        program = self.programs / "date"
        if not program.exists():
            program.write_text(_DATE.format(date=shutil.which("date"), folder=shlex.quote(str(self.folder))))
            program.chmod(0o755)

    def set_largest_array(self, size: int) -> None:
        """Let arrays have so many elements at most."""
        with self.store.changed() as state:
            state["largest array"] = size

    def set_partitions(self, **machines: list[str]) -> None:
        """Let there be these partitions, the first of them the default, with nodes of these architectures."""
        with self.store.changed() as state:
            state["partitions"] = machines

    def set_starts(self, *, on: bool) -> None:
        """Let jobs wait in the queue, or start."""
        with self.store.changed() as state:
            state["starts"] = on

    # What becomes of a job.

    def forget(self, number: object) -> None:
        """Let squeue know nothing of a job any more, as after MinJobAge."""
        self._change(number, forgotten=True)

    def vanish(self, number: object) -> None:
        """Let a job be gone without a trace, its processes too."""
        self._change(number, forgotten=True, unaccounted=True, doom="CANCELLED", kill=True)

    def finish(self, number: object, state: str, *, status: int = 0) -> None:
        """Let a job be over, in this state and with this status as of wait(2); its processes are killed."""
        with self.store.changed() as held:
            for job in held["jobs"]:
                if matches(job, str(number)):
                    finish(job, state, status=status)
                    signal_runner(job, signal.SIGUSR1)

    def set_state(self, number: object, state: str, *, reason: str = "None") -> None:
        """Let Slurm tell this state of a job, whatever its processes do."""
        self._change(number, state=state, reason=reason)

    def expect_start(self, number: object, at: int) -> None:
        """Let Slurm expect to start a job that waits at this second of Unix time."""
        self._change(number, start=at)

    def run_over_memory(self, number: object) -> None:
        """Let a job be killed as Slurm without memory cgroups does: FAILED 0:9, and a line on its stderr."""
        self._change(number, doom="OVER_MEMORY", kill=True)

    def requeue(self, number: object, *, as_was: str = "REQUEUED") -> None:
        """Kill a job and put it back into the queue: REQUEUED, PREEMPTED or NODE_FAIL, as accounting calls the run."""
        with self.store.changed() as state:
            for job in state["jobs"]:
                if matches(job, str(number)) and job["pid"]:
                    job["doom"] = f"requeue:{as_was}"
                    signal_runner(job, signal.SIGUSR1)
                elif matches(job, str(number)):
                    requeue(job, as_was=as_was)

    def wait(self, number: object, *states: str, seconds: float = 60) -> None:
        """Wait until a job is in one of these states, or in any final one."""
        wanted = states or FINAL
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            mine = [job for job in self.jobs if matches(job, str(number))]
            # A job that runs is one whose processes can be signalled.
            if mine and all(job["state"] in wanted and (job["pid"] or job["state"] != "RUNNING") for job in mine):
                return
            time.sleep(0.02)
        raise AssertionError(f"{number} did not come to {wanted}: {self.jobs}")

    def stop(self) -> None:
        """Kill what still runs."""
        with self.store.changed() as state:
            state["starts"] = False
            for job in state["jobs"]:
                if job["state"] not in FINAL:
                    job["doom"] = "CANCELLED"
                    signal_runner(job, signal.SIGUSR1)

    def _plant(self, command: str, how: str, times: int) -> None:
        with self.store.changed() as state:
            state["faults"] += [{"command": command, "how": how}] * times

    def _change(self, number: object, *, kill: bool = False, **fields: Any) -> None:
        with self.store.changed() as state:
            for job in state["jobs"]:
                if matches(job, str(number)):
                    job.update(fields)
                    if kill:
                        signal_runner(job, signal.SIGUSR1)
