"""The flow that holds outputs against their manifests; deployed on a schedule, it finds damage before a reader does."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from sluiceway.core import settings
from sluiceway.core.checkout import require_one_tree
from sluiceway.core.provenance.verify import Depth, Verdict
from sluiceway.tasks import provenance, run_log


@flow(log_prints=False)
def verify(paths: list[Path] | None = None, depth: Depth = Depth.FULL) -> Verdict:
    """Compare outputs with their manifests byte by byte, and these with the ledger.

    Args:
        paths: Outputs, or folders of them, on the machine where this flow runs; by default the folder where results go.
        depth: `fast` reads what changed since it was last read, `full` everything, `chain` follows inputs as well.

    Returns:
        What was looked at; the flow fails where anything is wrong, after an event `verify.failed` for each finding.
    """
    require_one_tree(__file__)
    run_log.show_events()
    output_dir = settings.load().output_dir
    chosen = paths or ([output_dir] if output_dir.is_dir() else [])
    verdict = provenance.verify_manifest(chosen, depth=depth)
    verdict.require_sound()
    return verdict
