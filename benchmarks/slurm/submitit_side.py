"""Runs functions through submitit on the login node: `python submitit_side.py noop|watch|map FOLDER COUNT [AT ONCE]`.

It prints the seconds from submit to the last result; its own start and imports are not in them.
"""

from __future__ import annotations

import sys
import time

import submitit


def doubled(number: int) -> int:
    """Do next to nothing."""
    return 2 * number


def main() -> None:
    """Do one of them."""
    what, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    executor = submitit.AutoExecutor(folder, cluster="slurm")
    executor.update_parameters(timeout_min=30, cpus_per_task=1, slurm_mem="100M")
    began = time.perf_counter()
    if what == "map":
        executor.update_parameters(slurm_array_parallelism=int(sys.argv[4]))
        jobs = executor.map_array(doubled, range(count))
    elif what == "watch":
        jobs = [executor.submit(time.sleep, 1700) for _ in range(count)]
    else:
        jobs = [executor.submit(doubled, number) for number in range(count)]
    results = [job.result() for job in jobs]
    if what != "watch" and results != [2 * number for number in range(count)]:
        raise SystemExit(f"wrong results: {results}")
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
