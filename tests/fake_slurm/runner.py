"""Runs one job, as Slurm's node daemon does: its files, its variables, its time limit, and word of how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.fake_slurm.state import Store, finish, requeue

KILL_WAIT = 2.0
PAUSE = 0.01


def main(folder: str, wanted: str, restarts: str) -> None:
    """Run the job of this id, unless it was taken back meanwhile."""
    store = Store(Path(folder))
    told: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: told.append(number))
    signal.signal(signal.SIGUSR1, lambda number, _: told.append(number))
    with store.changed() as state:
        job = _find(state, wanted)
        if job["state"] != "RUNNING" or job["restarts"] != int(restarts):
            return
        job["pid"] = os.getpid()
    _run(store, job, told)


def _run(store: Store, job: dict[str, Any], told: list[int]) -> None:
    mode = "ab" if job["append"] else "wb"
    try:
        with Path(job["stdout"]).open(mode) as stdout, Path(job["stderr"]).open(mode) as stderr:
            process = subprocess.Popen(
                [job["script"]], cwd=job["chdir"], env=_environment(job), stdin=subprocess.DEVNULL, stdout=stdout,
                stderr=stderr, start_new_session=True,
            )  # fmt: skip
            status = _wait(job, process, told)
            _say_why(store, job, stderr)
    except OSError:
        status = 1 << 8
    with store.changed() as state:
        _end(_find(state, str(job["id"])), status)


def _wait(job: dict[str, Any], process: subprocess.Popen[bytes], told: list[int]) -> int:
    """Wait for the end; USR1 to this process means: kill at once, USR2: with grace."""
    began, warned, killed_at = time.time(), False, 0.0
    while process.poll() is None:
        time.sleep(PAUSE)
        elapsed = time.time() - began
        if signal.SIGUSR1 in told:
            _signal(process, signal.SIGKILL)
        elif job["lead"] is not None and not warned and elapsed > job["limit"] - job["lead"]:
            warned = True
            process.send_signal(signal.SIGUSR1)
        elif signal.SIGUSR2 in told or elapsed > job["limit"]:
            if not killed_at:
                killed_at = time.time()
                job["doom"] = "TIMEOUT" if elapsed > job["limit"] else None
                _signal(process, signal.SIGTERM)
            elif time.time() - killed_at > KILL_WAIT:
                _signal(process, signal.SIGKILL)
    code = process.returncode
    return code << 8 if code >= 0 else -code


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _say_why(store: Store, job: dict[str, Any], stderr: Any) -> None:
    doom = _find(store.seen(), str(job["id"]))["doom"]
    if doom == "OVER_MEMORY":
        line = f"slurmstepd-node1: error: StepId={job['id']}.batch exceeded memory limit (422 > 314), being killed\n"
        stderr.write(line.encode())
    if job["doom"] == "TIMEOUT":
        with store.changed() as state:
            _find(state, str(job["id"]))["doom"] = "TIMEOUT"


def _end(job: dict[str, Any], status: int) -> None:
    doom, job["pid"] = job["doom"], None
    if job["state"].split()[0] != "RUNNING":
        return
    if doom is None or doom == "OVER_MEMORY":
        finish(job, "COMPLETED" if status == 0 else "FAILED", status=status)
    elif doom.startswith("requeue:"):
        requeue(job, as_was=doom.partition(":")[2])
    else:
        finish(job, doom, status=status if doom == "CANCELLED" else 0)


def _environment(job: dict[str, Any]) -> dict[str, str]:
    own = {"SLURM_JOB_ID": str(job["id"]), "SLURM_JOB_NAME": job["name"], "SLURMD_NODENAME": "node1"}
    if job["restarts"]:
        own["SLURM_RESTART_COUNT"] = str(job["restarts"])
    if job["task"] is not None:
        own.update(SLURM_ARRAY_JOB_ID=str(job["number"]), SLURM_ARRAY_TASK_ID=str(job["task"]))
    return {**os.environ, **own}


def _find(state: dict[str, Any], wanted: str) -> dict[str, Any]:
    found: dict[str, Any] = next(job for job in state["jobs"] if str(job["id"]) == wanted)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
