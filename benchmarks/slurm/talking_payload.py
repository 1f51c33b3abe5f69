"""What dagster-slurm runs for a job that says what time it is."""

import time

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes():
    for _ in range(40):
        print(time.time(), flush=True)
        time.sleep(0.7)
