"""The flow that mends what crashes left; deployed on a schedule, it may run at any time and as often as one likes."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact

from sluiceway.core.checkout import require_one_tree
from sluiceway.tasks import registry, run_log


@flow(log_prints=False)
async def reconcile(zombie_minutes: int = 10) -> list[str]:
    """Collect finished jobs that nobody collected, free claims of dead processes, and end flow runs in name only.

    Args:
        zombie_minutes: How long after its work has ended a flow run that says it is running is left alone.

    Returns:
        What was mended, a line for each thing.
    """
    require_one_tree(__file__)
    run_log.show_events()
    mended = [*await registry.mend_runs(), *await registry.end_zombie_flow_runs(zombie_minutes)]
    text = "\n".join(f"- {each}" for each in mended) or "Nothing was broken."
    await acreate_markdown_artifact(text, key="reconcile", description="What was mended")
    return mended
