"""A person's way through Prefect's pages: deployments, a form, a run with its graph, what it left; pictures of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, FlowRun

from sluiceway.blocks.slurm import SlurmJob
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from tests.browser.chromium import Page, chromium
from tests.conftest import Missing
from tests.deployments.runs import PATIENCE, asked_for, client_of, has_ended, is_running, runs_of, until
from tests.deployments.upped import Up, upped

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, missing: Missing) -> Iterator[Up]:
    if shutil.which("chromium") is None:
        missing.part("browser", why="Debian's chromium is not installed", get="make debian, as root or with sudo")
    with upped(tmp_path_factory.mktemp("up"), "--no-run") as started:
        yield started


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: to the folder that a variable names, whoever wants to look at them or to keep them.

    With `--basetemp` below somebody's home the paths in them are of that kind.
    """
    folder = Path(os.environ.get("PICTURES", str(tmp_path / "pictures")))
    folder.mkdir(exist_ok=True)
    return folder


async def test_all_deployments_are_listed(up: Up, page: Page, pictures: Path) -> None:
    await page.open(f"{up.url}/deployments")
    await page.until("refresh", "score-reference", "run-script", "verify", "reconcile", "gc")
    await page.picture(pictures / "deployments.png")


async def test_a_form_that_is_filled_and_submitted_is_a_run_with_what_was_filled_in(
    up: Up, page: Page, pictures: Path
) -> None:
    async with client_of(up.url) as client:
        known = await client.read_deployment_by_name("reconcile/reconcile")
        await page.open(f"{up.url}/deployments/deployment/{known.id}/run")
        await page.until("How long after its work has ended a flow run that says it is running is left alone.")
        await page.fill("input[type=number]", "7")
        await page.picture(pictures / "form.png")
        await page.click("Submit")
        async with asyncio.timeout(120):
            while not (
                mine := [each for each in await runs_of(client, "reconcile/reconcile") if not each.auto_scheduled]
            ):
                await asyncio.sleep(0.5)
        ended = await until(client, mine[0], has_ended)
    assert ended.parameters == {"zombie_minutes": 7}
    assert ended.state is not None
    assert ended.state.is_completed()


@pytest.fixture(scope="module")
def panel(up: Up) -> dict[str, Any]:
    """What is asked of a run that scores: invented scores on an invented panel."""
    panel, scores = up.folder / "panel" / "synthetic", up.folder / "scores"
    make_panel(panel)
    make_scores(scores, panel)
    return {"panel": str(panel), "scores": [str(scores)], "out": str(up.folder / "out"), "synthetic": True}


def bars(graph: Image.Image) -> int:
    """Count the rows of a graph in which something stands that has ended well: it is green, and light."""
    red, green, blue = (each.tobytes() for each in graph.split())
    done = [g > 120 and r < 90 and b < 120 for r, g, b in zip(red, green, blue, strict=True)]
    rows = [sum(done[start : start + graph.width]) > 5 for start in range(0, len(done), graph.width)]
    return sum(here and not above for above, here in pairwise([False, *rows]))


async def shown(client: PrefectClient, run: FlowRun) -> dict[str, Artifact]:
    """What a run has left on its page, by the ends of the keys."""
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    return {str(each.key): each for each in await client.read_artifacts(artifact_filter=only)}


async def test_a_run_shows_its_graph_with_what_each_step_left_and_its_log(
    up: Up, page: Page, pictures: Path, panel: dict[str, Any]
) -> None:
    async with client_of(up.url) as client:
        run = await until(client, await asked_for(client, "score-reference/score-reference", **panel), is_running)
        await page.open(f"{up.url}/runs/flow-run/{run.id}")
        await page.until("Running")
        ended = await until(client, run, has_ended)
        assert ended.state is not None
        assert ended.state.is_completed()
        await page.until("Completed", "summarise_distributions")
        # Opened anew it is laid out for the whole run.
        await page.open(f"{up.url}/runs/flow-run/{run.id}")
        await page.until("Completed", "summarise_distributions")
        await page.picture(pictures / "run.png")
        # The line of time below is one; how many tasks fit above it is the page's to choose.
        assert bars(await page.cut_out("canvas")) >= 4
        left = await shown(client, run)
    await page.open(f"{up.url}/artifacts/artifact/{left['reference-scores-quality'].id}")
    await page.until("reference-scores-quality", "pgs_id", "PGS900001", "coverage")
    await page.picture(pictures / "table.png")
    await page.open(f"{up.url}/artifacts/artifact/{left['reference-scores-distributions'].id}")
    await page.until("reference-scores-distributions", "Distributions of")
    assert await page.until_drawn("img[src^='data:image/svg']") > 300
    await page.picture(pictures / "picture.png")


CHAPTERS = """
tell() { echo "$1" >>"$SLUICEWAY_MESSAGES"; }
tell '{"kind": "progress", "done": 1, "of": 4, "what": "chapters"}'
until [ -e "$1/half" ]; do sleep 0.2; done
tell '{"kind": "progress", "done": 3, "of": 4, "what": "chapters"}'
until [ -e "$1/all" ]; do sleep 0.2; done
tell '{"kind": "progress", "done": 4, "of": 4, "what": "chapters"}'
"""


async def test_how_far_a_run_is_moves_on_its_page_while_it_runs(up: Up, page: Page, pictures: Path) -> None:
    (up.folder / "chapters.sh").write_text(CHAPTERS)
    wish = {"script": str(up.folder / "chapters.sh"), "arguments": [str(up.folder)], "out": str(up.folder / "read")}
    async with client_of(up.url) as client:
        run = await asked_for(client, "run-script/run-script", **wish)
        async with asyncio.timeout(PATIENCE):
            while "run-progress-chapters" not in (left := await shown(client, run)):
                await asyncio.sleep(0.5)
        await page.open(f"{up.url}/runs/flow-run/{run.id}")
        # The page goes to the log by itself, and only then stays where one goes.
        await page.until("Beginning flow run")
        await page.click("Artifacts", among="li")
        await page.until("chapters: 1 of 4")
        (up.folder / "half").touch()
        await page.until("chapters: 3 of 4")
        await page.picture(pictures / "progress.png")
        await page.open(f"{up.url}/artifacts/artifact/{left['run-progress-chapters'].id}")
        await page.until("run-progress-chapters", "Progress: 75%")
        (up.folder / "all").touch()
        ended = await until(client, run, has_ended)
        await page.open(f"{up.url}/artifacts/artifact/{left['run-progress-chapters'].id}")
        await page.until("Progress: 100%")
    assert ended.state is not None
    assert ended.state.is_completed()


async def test_a_block_is_opened_changed_and_saved_and_nothing_else_of_it_is_another(
    up: Up, page: Page, pictures: Path
) -> None:
    async with client_of(up.url) as client:
        before = await client.read_block_document_by_name("example-cluster", "slurm-job")
        known: SlurmJob = await SlurmJob.aload("example-cluster", client=client)
        await page.open(f"{up.url}/blocks/block/{before.id}/edit")
        await page.until("Block Name", "Save")
        await page.replace("login.cluster.example.org", "head.cluster.example.org")
        await page.picture(pictures / "block.png")
        await page.click("Save")
        await page.until("Block updated successfully")
        # The form leaves out what is as it is by default.
        saved: SlurmJob = await SlurmJob.aload("example-cluster", client=client)
    assert saved.settings == known.settings.model_copy(update={"host": "head.cluster.example.org"})
    assert saved.command == known.command
