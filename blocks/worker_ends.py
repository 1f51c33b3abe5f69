"""What the end of a job means for its flow run: pure rules, for whoever has seen the job end.

A flow run tells Prefect itself how it ended. Where its job ended before it could, somebody has to say so in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Crashed

from sluiceway.blocks.worker_order import UNREACHED
from sluiceway.core.slurm.job import EndingKind

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from sluiceway.core.runs.receipt import RunReceipt

_SAID = {
    EndingKind.SUCCEEDED: "its process ended well, and never told Prefect how the flow run ended",
    EndingKind.OUT_OF_MEMORY: "it went over its memory; ask for more in the job variable resources",
    EndingKind.TIMEOUT: "its time limit was over; ask for more in the job variable resources",
    EndingKind.KILLED: "it was killed",
    EndingKind.NODE_FAILURE: "its node failed",
    EndingKind.PREEMPTED: "it was preempted",
    EndingKind.CANCELLED: "it was cancelled on the cluster, not in Prefect",
    EndingKind.VANISHED: "it vanished",
    EndingKind.CONTRADICTORY: "it is not known how it ended",
}
# How the cluster ended it is told even where the flow run's process had time to say that it was ended.
_NAMED = frozenset(
    {
        EndingKind.OUT_OF_MEMORY,
        EndingKind.TIMEOUT,
        EndingKind.NODE_FAILURE,
        EndingKind.PREEMPTED,
        EndingKind.CANCELLED,
    }
)
_GOES_ON = (StateType.SCHEDULED, StateType.PAUSED)


def state_after(receipt: RunReceipt, state: State[Any] | None) -> State[Any] | None:
    """Give the state that a flow run gets whose job has ended so; none where its own is right.

    Args:
        receipt: How the job ended.
        state: What Prefect takes the flow run for.
    """
    told = said_of(receipt)
    match None if state is None else state.type:
        case StateType.PAUSED if not receipt.succeeded:
            return Crashed(message=told)
        # What is scheduled gets another job when its time comes.
        case StateType.COMPLETED | StateType.FAILED | StateType.CANCELLED | StateType.SCHEDULED | StateType.PAUSED:
            return None
        case StateType.CANCELLING:
            return Cancelled(message=f"The flow run was cancelled; {told}")
        case StateType.CRASHED:
            if receipt.ending not in _NAMED or (state is not None and told in (state.message or "")):
                return None
            return Crashed(message=f"{told}. The flow run itself said: {state.message if state else ''}")
        case _:
            return Crashed(message=told)


def said_of(receipt: RunReceipt) -> str:
    """Say which job ended how, by name, and by what evidence."""
    where = f"job {receipt.job_id} on {receipt.place}"
    if receipt.exit_code == UNREACHED and receipt.ending is EndingKind.FAILED:
        node = f" ({receipt.host})" if receipt.host else ""
        return f"{where}: its node{node} cannot reach the Prefect API; see the job variable api_url"
    if receipt.exit_code == 127 and receipt.ending is EndingKind.FAILED:
        return f"{where}: its command was not found; see the job variable environment"
    said = _SAID.get(receipt.ending, f"it {receipt.ending}")
    return f"{where}: {said} ({receipt.why})"


def status_of(receipt: RunReceipt, state: State[Any] | None) -> int:
    """Give the exit code by which Prefect's own worker decides whether a flow run crashed; 0 where it goes on."""
    if receipt.succeeded or (state is not None and state.type in _GOES_ON):
        return 0
    if receipt.ending is EndingKind.OUT_OF_MEMORY:
        return 137
    return receipt.exit_code or 1
