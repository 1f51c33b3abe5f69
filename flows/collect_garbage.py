"""The flow that clears a store of what nothing names any more; deploy it with a schedule."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow

from sluiceway.core.checkout import require_one_tree
from sluiceway.core.store.trash import GRACE, Collected
from sluiceway.tasks import garbage, run_log


@flow(log_prints=False)
def collect_garbage(
    grace: timedelta = GRACE,
    keep_trash: timedelta = GRACE,
    do: bool = False,  # noqa: FBT001, FBT002 - Prefect gives parameters by name
) -> Collected:
    """Move artifacts that nothing names to the trash, and what has been in the trash long enough away for good.

    Args:
        grace: What was put, linked or named later than that stays.
        keep_trash: How long what is in the trash can be restored.
        do: Collect it; else only tell what would be.

    Returns:
        What went, came back and is gone.
    """
    require_one_tree(__file__)
    run_log.show_events()
    return garbage.collect(grace=grace, keep_trash=keep_trash, do=do)
