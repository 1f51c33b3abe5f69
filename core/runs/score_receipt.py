"""How an array that scores ranges ended. Ranges are no outputs: whoever scores again takes them from where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.slurm.job import EndingKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.runs.host import Attempt
    from sluiceway.core.slurm.job import Ending, JobId
    from sluiceway.core.slurm.usage import JobUsage


def ranges_receipt(
    attempt: Attempt, job: JobId, endings: Mapping[int, Ending], *, used: JobUsage | None = None
) -> RunReceipt:
    """Say how an array ended: well, if all its elements did; `used` is what they used together, where that is known."""
    folder, outcomes = attempt.folder, [each.outcome for each in endings.values() if each.outcome is not None]
    n_done = sum(each.succeeded for each in endings.values())
    return RunReceipt(
        key=folder.run.key,
        run_id=folder.run.run_id,
        attempt=folder.number,
        place=attempt.place,
        job_id=str(job),
        ending=_kind(endings, of=len(attempt.elements)),
        why=f"{n_done} of {len(attempt.elements)} elements have scored their ranges",
        exit_code=None,
        signal=None,
        folder=Path(folder.path),
        stdout=Path(folder.stdout),
        stderr=Path(folder.stderr),
        work=Path(folder.work),
        outputs=(),
        started=min((each.started for each in outcomes), default=None),
        ended=max((each.ended for each in outcomes), default=None),
        host=None,
        peak_memory=max((each.peak_memory for each in outcomes if each.peak_memory is not None), default=None),
        cpu_seconds=None if used is None else used.cpu_time.total_seconds(),
        usage=None if used is None else used.as_json(),
    )


def _kind(endings: Mapping[int, Ending], *, of: int) -> EndingKind:
    kinds = [each.kind for each in endings.values()]
    if kinds.count(EndingKind.SUCCEEDED) == of:
        return EndingKind.SUCCEEDED
    return EndingKind.CANCELLED if kinds.count(EndingKind.CANCELLED) == of else EndingKind.FAILED
