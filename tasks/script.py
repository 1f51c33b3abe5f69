"""Scripts as Prefect tasks."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs import script
from sluiceway.core.runs.script import ScriptResult


@task(cache_policy=NO_CACHE)
async def run_script_here(path: Path, arguments: list[str], out: Path) -> ScriptResult:
    """Run a shell script on this machine; its output is kept in `out`."""
    return await script.run_script(path, arguments, out=out, shell=LocalShell())
