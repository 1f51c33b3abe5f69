"""The same run as a Prefect flow run: the first line says where its page is, and the results are the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import RequestInvalid, RunFailed
from sluiceway.core.report import console
from sluiceway.deployments.direct_or_flow import telling_its_page

if TYPE_CHECKING:
    from sluiceway.core.runs.receipt import RunReceipt
    from sluiceway.core.runs.run import Runs


async def run_as_flow(runs: Runs, *, key: str, asked: dict[str, Any]) -> RunReceipt:
    """Run the flow with these fields, and give the receipt of the run of this key, also where it failed."""
    _require_text(asked)
    from sluiceway.flows.run_script import run_script  # noqa: PLC0415 - imports Prefect

    # What the script prints is in Prefect's log; nothing of ours is to stand in its place.
    flow = telling_its_page(run_script, console.for_remarks())
    try:
        receipt: RunReceipt = await flow(**asked)
    except RunFailed:
        found = runs.receipt(runs.folder(key))
        if found is None:
            raise
        return found
    return receipt


def _require_text(asked: dict[str, Any]) -> None:
    """Raise RequestInvalid for what is no text: Prefect's server takes nothing else."""
    for text in (*asked["arguments"], *asked["environment"].values(), *map(str, asked["inputs"])):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            reason = "it holds bytes that are no text, which no flow run can be given; run it without Prefect"
            raise RequestInvalid(what="the text", value=ascii(text), reason=reason)
