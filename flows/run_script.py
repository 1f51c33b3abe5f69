"""The flow that runs one script and keeps what it printed."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from sluiceway.core.checkout import require_one_tree
from sluiceway.tasks import run_log
from sluiceway.tasks.script import run_script_here


@flow(log_prints=False)
async def run_script(script: Path, arguments: list[str] | None = None, out: Path = Path("data/output/run")) -> Path:
    """Run a shell script on this machine.

    Args:
        script: The script, as a path on the machine where this flow runs.
        arguments: What the script gets as $1, $2 and so on.
        out: The folder for what it prints.

    Returns:
        The file that holds the script's standard output.
    """
    require_one_tree(__file__)
    run_log.show_events()
    result = await run_script_here(script, arguments or [], out)
    return result.stdout
