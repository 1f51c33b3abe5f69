"""Prints the scripts of dagster-slurm's Ray launcher as JSON: `python dagster_side.py FOLDER PYTHON ACTIVATE`."""

import json
import sys

from dagster_slurm.launchers.ray import RayLauncher


def main() -> None:
    """Make them with its own defaults; of the machine it must not take more than the job has."""
    folder, python, activate = sys.argv[1:]
    launcher = RayLauncher(object_store_memory_gb=1)
    plan = launcher.prepare_execution(f"{folder}/payload.py", python, folder, {}, activation_script=activate)
    print(json.dumps({"main.sh": "\n".join(plan.payload), **plan.auxiliary_scripts}))


if __name__ == "__main__":
    main()
