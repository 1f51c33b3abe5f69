"""What a cluster's job made: its steps become artifacts when it ends, and what shows late is waited for."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import PendingVisibility
from sluiceway.core.provenance.tree import digest_of_tree
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.run import await_end, collect, stage, submit
from sluiceway.core.runs.streams import STEPS
from sluiceway.core.store.homes import store_here
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import PLACE, There


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


async def test_steps_of_a_job_on_a_cluster_become_artifacts_when_it_has_ended(there: There) -> None:
    """Red on: core/runs/run.py: `await streams.collect(attempt)` -> `pass`."""
    text = "for n in 1 2 3; do mkdir -p s/$n; echo $n >s/$n/w; done; touch s/1/DONE s/2/DONE; exit 3"
    receipt = await there.run(there.request(text, **declaring(["s/*/DONE:marker"])))
    assert not receipt.succeeded
    sealed = json.loads((receipt.folder / STEPS).read_text())
    assert sealed == {f"s/{n}": digest_of_tree(receipt.work / "s" / str(n)) for n in (1, 2)}
    assert all(store_here(SystemClock()).verified(each) for each in sealed.values())
    assert not (receipt.work / "s" / "3").exists()


@pytest.mark.parametrize("in_time", [True, False])
async def test_an_output_that_its_login_node_shows_late_is_no_failure(there: There, *, in_time: bool) -> None:
    """Red on: core/runs/transfer.py: `or not is_there else None` -> `or True else None`."""
    request = there.request("echo made >made.txt", outputs=("made.txt",))
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    job = await submit(attempt, runs=there.runs, host=there.host())
    ending = await await_end(attempt, job, host=there.host())
    made = Path(attempt.folder.at(there.access.base).output("made.txt"))
    made.rename(made.with_name("hidden"))

    async def show() -> None:
        await there.clock.sleep(timedelta(seconds=10 * in_time))
        made.with_name("hidden").rename(made)

    if in_time:
        await asyncio.gather(show(), collect(attempt, ending, runs=there.runs, host=there.host()))
    else:
        with pytest.raises(PendingVisibility):
            await collect(attempt, ending, runs=there.runs, host=there.host())
        await show()
    receipt = await there.run(request)
    assert (receipt.succeeded, receipt.attempt) == (True, 1)
    assert receipt.path(receipt.outputs[0]).read_text() == "made\n"
