"""What the fake Slurm knows: jobs, faults and switches, in one JSON file that all its programs share."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FINAL = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
)  # fmt: skip
EMPTY: dict[str, Any] = {
    "next": 101,
    "jobs": [],
    # Answers to spoil, one entry for each: {"command": "sbatch", "how": "lose"}.
    "faults": [],
    "asked": [],
    "controller": True,
    "accounting": "up",
    "snapshot": None,
    "starts": True,
}


class Store:
    """The file, and the right to change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def changed(self) -> Iterator[dict[str, Any]]:
        """Give the state to change; nobody else sees it meanwhile, and what can start afterwards does."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self._read()
            try:
                yield state
            finally:
                # Also a program that answers with an error has used a fault up.
                started = start_what_can(state)
                staged = self.folder / "state.new"
                staged.write_text(json.dumps(state))
                staged.replace(self.folder / "state.json")
        for job in started:
            self._run(job)

    def seen(self) -> dict[str, Any]:
        """Give the state as it is."""
        return self._read()

    def _read(self) -> dict[str, Any]:
        try:
            read: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            read = copy.deepcopy(EMPTY)
        return read

    def _run(self, job: dict[str, Any]) -> None:
        """Start the runner of a job; it outlives whoever started it."""
        runner = Path(__file__).with_name("runner.py")
        command = [sys.executable, "-IS", str(runner), str(self.folder), str(job["id"]), str(job["restarts"])]
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, close_fds=True)


def start_what_can(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Let jobs start whose time has come, and end those that can never; give the started ones."""
    started = []
    for job in state["jobs"]:
        if job["state"] != "PENDING" or job["held"] or not state["starts"]:
            continue
        verdict = _dependency(state, job)
        if verdict == "wait":
            job["reason"] = "Dependency"
        elif verdict == "never":
            job["reason"] = "DependencyNeverSatisfied"
            if job["kill_on_invalid_dep"]:
                finish(job, "CANCELLED")
        elif job["begin"] <= time.time():
            job.update(state="RUNNING", reason="None", start=int(time.time()), nodes="node1")
            started.append(job)
    return started


def _dependency(state: dict[str, Any], job: dict[str, Any]) -> str:
    verdict = "go"
    for kind, number in job["dependencies"]:
        others = [each for each in state["jobs"] if each["number"] == number]
        if any(each["state"].split()[0] not in FINAL for each in others):
            verdict = "wait"
        elif kind == "afterok" and any(each["state"] != "COMPLETED" for each in others):
            return "never"
    return verdict


def finish(job: dict[str, Any], state: str, *, status: int = 0) -> None:
    """Let a job be over."""
    job.update(state=state, status=status, end=int(time.time()))


def requeue(job: dict[str, Any], *, as_was: str) -> None:
    """Put a job back into the queue; accounting keeps a row of the run that was."""
    job["history"].append({**job, "state": as_was, "end": int(time.time()), "history": []})
    job.update(state="PENDING", reason="BeginTime", restarts=job["restarts"] + 1, status=0, end=0, doom=None, pid=None)
    job["submit"] = job["begin"] = int(time.time())


def shown_id(job: dict[str, Any]) -> str:
    """The id as squeue and sacct show it."""
    return str(job["number"]) if job["task"] is None else f"{job['number']}_{job['task']}"


def matches(job: dict[str, Any], wanted: str) -> bool:
    """Whether an id as users write it means this job."""
    return wanted in (shown_id(job), str(job["number"]))


def signal_runner(job: dict[str, Any], number: int) -> None:
    """Send a signal to the process that runs a job, if there is one."""
    if job["pid"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(job["pid"], number)
