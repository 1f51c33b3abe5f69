"""Steps of a running job become artifacts once their markers appear, while the job goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.tree import digest_of_tree
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.declared import declaring, step_of, whole_only
from sluiceway.core.runs.folder import RunFolder
from sluiceway.core.runs.references import named_by
from sluiceway.core.runs.streams import STEPS, Steps
from sluiceway.core.store.homes import store_here
from tests.core.runs.here import Here, until

MARKER = "checkpoints/step-*/DONE"
SLOW = (
    "for n in 1 2; do mkdir -p checkpoints/step-$n; echo $n >checkpoints/step-$n/weights; "
    "touch checkpoints/step-$n/DONE; done; mkdir checkpoints/step-3; echo 3 >checkpoints/step-3/weights; "
    'while [ ! -e "{go}" ]; do sleep 0.05; done; {end}'
)


@pytest.fixture
def steps(place: Path) -> Steps:
    """The steps of an attempt of which nothing is made yet."""
    clock = SystemClock()
    folder = RunFolder(base=PurePosixPath(place / "home"), key=f"sha256:{'ab' * 32}").attempt(1)
    Path(folder.work).mkdir(parents=True)
    about = Manifest(output_id="run", ending=Ending(status="ok"), run_id="run", attempt=1)
    return Steps(folder=folder, markers=(MARKER,), about=about, store=store_here(clock), ledger=ledger_here(clock))


def make(steps: Steps, name: str, *, marker: bool = True) -> Path:
    step = Path(steps.folder.work) / "checkpoints" / name
    step.mkdir(parents=True, exist_ok=True)
    (step / "weights").write_text(name)
    if marker:
        (step / "DONE").touch()
    return step


def test_a_step_is_sealed_once_its_marker_is_there_and_only_once(steps: Steps) -> None:
    """Red on: core/runs/streams.py: `if name not in known:` -> `if True:`."""
    step = make(steps, "step-1", marker=False)
    assert steps.look() == []
    make(steps, "step-1")
    assert steps.look() == ["checkpoints/step-1"]
    sealed = digest_of_tree(step)
    (step / "weights").write_text("written again, against what the marker says")
    assert steps.look() == []
    artifact = steps.store.verified(sealed, full=True)
    assert artifact is not None
    assert (artifact.path / "weights").read_text() == "step-1"
    assert artifact.facts == {"run": steps.folder.run.key, "attempt": 1, "step": "checkpoints/step-1"}


def test_a_step_has_a_manifest_that_the_ledger_knows_and_the_job_does_not_see(steps: Steps) -> None:
    step = make(steps, "step-1")
    steps.look()
    entry = steps.ledger.history().last_of(step)
    assert entry is not None
    (kept,) = steps.store.manifests_in()
    assert entry.manifest == f"sha256:{kept.stem}"
    manifest = manifests.read(kept)
    assert (manifest.output_type, manifest.output_id) == ("step", "run/checkpoints/step-1")
    assert manifest.data_version == digest_of_tree(step)
    assert sorted(each.name for each in step.iterdir()) == ["DONE", "weights"]


def test_whoever_looks_later_knows_what_was_sealed_before(steps: Steps) -> None:
    make(steps, "step-1")
    steps.look()
    again = Steps(folder=steps.folder, markers=steps.markers, about=steps.about, store=steps.store, ledger=steps.ledger)
    make(steps, "step-2")
    assert again.look() == ["checkpoints/step-2"]
    known = json.loads((Path(steps.folder.path) / STEPS).read_text())
    assert sorted(known) == ["checkpoints/step-1", "checkpoints/step-2"]
    assert {*known.values()} <= named_by(Path(str(steps.folder.run.base)), SystemClock())


def test_only_steps_with_a_marker_are_kept_of_what_a_job_made() -> None:
    folder = step_of(MARKER)
    made = [
        {"name": "checkpoints/step-1/DONE", "patterns": [MARKER, folder]},
        {"name": "checkpoints/step-1/sub/weights", "patterns": [folder]},
        {"name": "checkpoints/step-2/weights", "patterns": [folder]},
        {"name": "log.txt", "patterns": ["*.txt"]},
    ]
    kept = whole_only(made, [MARKER, "*.txt"], [MARKER])
    assert [each["name"] for each in kept] == [made[0]["name"], made[1]["name"], made[3]["name"]]


@pytest.mark.parametrize("end", ["true", "exit 3"])
async def test_steps_are_artifacts_while_their_job_still_runs(place: Path, end: str) -> None:
    """Red on: core/runs/streams.py: `while not over.is_set():` -> `while False:`."""
    here = Here(place)
    go = place / "go"
    request = here.request(SLOW.format(go=go, end=end), **declaring([f"{MARKER}:marker"]))
    running = asyncio.create_task(here.run(request))
    sealed = json.loads(await until(Path(here.attempt(request).path) / STEPS))
    store = store_here(SystemClock())
    assert not running.done()
    while len(sealed) < 2:
        await asyncio.sleep(0.05)
        sealed = json.loads(await until(Path(here.attempt(request).path) / STEPS))
    assert all(store.verified(each) for each in sealed.values())
    assert not running.done()
    go.touch()
    receipt = await running
    assert receipt.succeeded is (end == "true")
    assert sorted(each.name for each in receipt.outputs) == [
        f"checkpoints/step-{number}/{name}" for number in (1, 2) for name in ("DONE", "weights")
    ]


async def test_a_job_that_makes_no_step_has_not_made_what_was_declared(place: Path) -> None:
    receipt = await Here(place).run(Here(place).request("true", **declaring([f"{MARKER}:marker"])))
    assert (receipt.succeeded, receipt.why) == (False, f"the declared output {MARKER!r} was not made")
