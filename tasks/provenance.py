"""Verification as a Prefect task: what is wrong is shown on the run's page, and told as events."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.outputs import outputs_in
from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.provenance.verify import Depth, Finding, Verdict, verify
from sluiceway.core.remote.clock import SystemClock

FAILED: Final = "verify.failed"
"""The event of an output that is not what its manifest says; automations wait for it."""
_TOLD: Final = 100


@task(cache_policy=NO_CACHE)
def verify_manifest(paths: list[Path], *, depth: Depth = Depth.FULL) -> Verdict:
    """Compare outputs with their manifests and these with the ledger; show what was found, and tell what is wrong.

    Args:
        paths: Outputs, or folders of them.
        depth: How much is looked at.

    Returns:
        What was looked at, and what is wrong with it; whoever cannot go on calls its `require_sound`.
    """
    clock = SystemClock()
    with cache_here(clock) as cache:
        verdict = verify(outputs_in(paths), ledger=ledger_here(clock), cache=cache, depth=depth)
    _show(verdict)
    for finding in verdict.findings[:_TOLD]:
        _tell(finding)
    return verdict


def _show(verdict: Verdict) -> None:
    rows = [
        {"what": str(each.flaw), "file": str(each.file), "expected": each.expected, "found": each.found}
        for each in verdict.findings
    ]
    said = f"{len(verdict.outputs)} outputs, {len(rows)} findings; head of the ledger: {verdict.head}"
    create_table_artifact(rows or [{"what": "sound", "file": said}], key="verify", description=said)


def _tell(finding: Finding) -> None:
    resource = {
        "prefect.resource.id": f"sluiceway.output.{finding.output}",
        "prefect.resource.name": finding.output.name,
    }
    emit_event(FAILED, resource, payload={"flaw": str(finding.flaw), "said": str(finding)})
