"""What dagster-slurm runs for a job that does nothing."""

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes():
    pass
