"""What a run's page shows of an output: what it is and how it came to be, and what it came from.

Prefect's own server keeps events of assets but draws nothing of them; so the run has its lineage as an artifact.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.errors import InputMissing, LedgerBroken, ManifestBroken
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.ledger import History, ledger_here
from sluiceway.core.provenance.lineage import Direction, Tracer
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.report.lineage import lines

if TYPE_CHECKING:
    from sluiceway.core.provenance.manifest import Manifest

KEY: Final = "provenance"
_TOLD: Final = "What it is, how it came to be, and what it came from"
_MOST_LINES: Final = 200


@task(cache_policy=NO_CACHE)
def show_provenance(output: Path) -> None:
    """Show a sealed output's manifest in short and its lineage, as an artifact of this run."""
    create_markdown_artifact(_page(output), key=KEY, description=_TOLD)


@task(cache_policy=NO_CACHE)
async def ashow_provenance(output: Path) -> None:
    """Do the same from an asynchronous flow."""
    await show_here(output)


async def show_here(output: Path) -> None:
    """Show it as an artifact of the very task run, or flow run, that this is called in."""
    await acreate_markdown_artifact(await asyncio.to_thread(_page, output), key=KEY, description=_TOLD)


def _page(output: Path) -> str:
    place = manifests.path_of(output)
    try:
        manifest = manifests.read(place)
    except (InputMissing, ManifestBroken) as error:
        # The work is done all the same; `verify` makes a failure of it.
        return f"# {output.name}\n\n{error}\n".encode(errors="backslashreplace").decode()
    rows = "".join(f"| {name} | `{_cell(value)}` |\n" for name, value in _short(manifest).items() if value is not None)
    tree = "\n".join(islice(lines(Tracer(history=_history()).trace(output, Direction.UP)), _MOST_LINES))
    told = f"| place | `{_cell(output)}` |\n| manifest | `{digest_of_file(place)}` |\n{rows}"
    page = f"# {manifest.output_id}\n\n| | |\n|---|---|\n{told}\n## Where it came from\n\n~~~text\n{tree}\n~~~\n"
    # What a path holds that is no text is written out.
    return page.encode(errors="backslashreplace").decode()


def _short(manifest: Manifest) -> dict[str, Any]:
    git, times = manifest.git, manifest.times
    head = git.head if git.head is None or not git.dirty else f"{git.head}, with changes"
    return {
        "ended": manifest.ending.error or manifest.ending.status,
        "content": manifest.data_version,
        "content key": manifest.content_key,
        "recipe": manifest.recipe,
        "files": None if manifest.outputs is None else len(manifest.outputs),
        "inputs": None if manifest.inputs is None else len(manifest.inputs),
        "commit": head,
        "sluiceway": manifest.sluiceway_version,
        "machine": manifest.host.name,
        "Slurm job": manifest.slurm.job_id,
        "began": times.started,
        "finished": times.finished,
        "processor seconds": manifest.resources.cpu_seconds,
        "asked for by": manifest.submitted_by,
        "warnings": "; ".join(manifest.warnings or ()) or None,
    }


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("`", "'").replace("\n", " ")


def _history() -> History:
    try:
        return ledger_here(SystemClock()).history()
    except LedgerBroken:
        # `verify` says so; manifests alone tell most of it.
        return History([])
