"""What dagster-slurm runs for a job that is watched for long."""

import time

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes():
    time.sleep(1700)
