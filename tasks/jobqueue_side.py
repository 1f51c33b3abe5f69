"""Runs Dask's scheduler on a login node, with workers that are Slurm jobs, as many as there is work for.

It is started as `python3 jobqueue_side.py ORDER` by a Python that has dask-jobqueue; ORDER is a JSON text. It writes
connection.json into its folder, and ends, with all its jobs, when the file `over` appears there, when it is told to
end, or when nobody listens to its output any more: whoever started it has gone then. It needs nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

UNUSABLE = 78
CONNECTION, OVER = "connection.json", "over"
_LOOK_SECONDS, _BEAT_SECONDS = 0.5, 2.0
# Much more often than a day, after which a silent folder counts as left.
_SIGN_SECONDS = 1800.0


def main(words: list[str]) -> int:
    """Hold a cluster until it is over."""
    order = json.loads(words[1])
    # As an exception, so that the cluster is closed.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    try:
        from dask_jobqueue.slurm import SLURMCluster  # noqa: PLC0415 - where it is missing, that is said
    except ImportError as error:
        sys.stderr.write(f"{sys.executable} has no dask-jobqueue ({error})\n")
        return UNUSABLE
    # Workers start in the folder from which they were submitted.
    os.chdir(order["folder"])
    with SLURMCluster(**order["cluster"]) as cluster:
        cluster.adapt(**order["adapt"])
        _tell(order["folder"], cluster)
        _wait(os.path.join(order["folder"], OVER))
    return 0


def _tell(folder: str, cluster: Any) -> None:
    address, dashboard = cluster.scheduler_address, f"{cluster.dashboard_link or ''}"
    told = {"launcher": "dask", "state": "ready", "address": address, "dashboard": dashboard, "nodes": []}
    told["script"] = cluster.job_script()
    staged = os.path.join(folder, f".{CONNECTION}")
    with open(staged, "w", encoding="ascii") as file:
        json.dump(told, file)
    os.rename(staged, os.path.join(folder, CONNECTION))


def _wait(over: str) -> None:
    beat = sign = 0.0
    while not os.path.exists(over):
        if time.monotonic() - sign > _SIGN_SECONDS:
            sign = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(os.path.dirname(over))
        if time.monotonic() - beat > _BEAT_SECONDS:
            beat = time.monotonic()
            try:
                os.write(1, b".")
            except OSError:
                return
        time.sleep(_LOOK_SECONDS)


def _end(_number: int, _frame: Any) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
