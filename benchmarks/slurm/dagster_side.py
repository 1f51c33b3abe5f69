"""Runs assets through dagster-slurm, with the Python that has it: `python dagster_side.py ACCOUNT`.

The account is a file of JSON: how to log in, where runs go, where an environment with dagster-pipes is, what the
payload is, and how many assets there are. One asset runs in this process, several at once in processes of their own,
which is how Dagster does it. Each prints the seconds that the client's call took.
"""

# No `from __future__ import annotations`: Dagster looks at the annotation itself.

import json
import os
import sys
import time
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DagsterInstance,
    Definitions,
    JobDefinition,
    MaterializeResult,
    asset,
    define_asset_job,
    execute_job,
    materialize,
    multiprocess_executor,
    reconstructable,
)
from dagster_slurm import BashLauncher, SlurmQueueConfig, SlurmResource, SSHConnectionResource
from dagster_slurm.pipes_clients import SlurmPipesClient

VARIABLE = "SLUICEWAY_BENCHMARK_ACCOUNT"
ACCOUNT = json.loads(Path(os.environ.setdefault(VARIABLE, sys.argv[-1])).read_text())


def client() -> SlurmPipesClient:
    """Give its client with its own defaults, save that the environment is there already."""
    ssh = SSHConnectionResource(**ACCOUNT["ssh"])
    queue = SlurmQueueConfig(cpus=1, mem="100M", time_limit="00:30:00")
    slurm = SlurmResource(ssh=ssh, queue=queue, remote_base=ACCOUNT["base"])
    return SlurmPipesClient(slurm, BashLauncher(), pre_deployed_env_path=ACCOUNT["environment"])


def measured(number: int) -> AssetsDefinition:
    """Make an asset that is one job."""

    @asset(name=f"measured_{number}")
    def one(context: AssetExecutionContext) -> MaterializeResult:
        began = time.perf_counter()
        done = client().run(context=context, payload_path=ACCOUNT["payload"])
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
        return done.get_materialize_result()

    return one


def all_of_them() -> JobDefinition:
    """Make the job of all assets at once."""
    n = ACCOUNT["assets"]
    executor = multiprocess_executor.configured({"max_concurrent": n, "start_method": {"forkserver": {}}})
    job = define_asset_job("all_of_them", executor_def=executor)
    return Definitions(assets=[measured(each) for each in range(n)], jobs=[job]).get_job_def("all_of_them")


def main() -> None:
    """Run them."""
    if ACCOUNT["assets"] == 1:
        materialize([measured(0)], instance=DagsterInstance.ephemeral())
    else:
        with DagsterInstance.local_temp() as instance:
            execute_job(reconstructable(all_of_them), instance=instance)


if __name__ == "__main__":
    main()
