"""A person's way through Prefect's pages: deployments, a form, a run with its graph, what it left; pictures of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from tests.browser.chromium import Page, chromium
from tests.conftest import Missing
from tests.deployments.runs import asked_for, client_of, has_ended, is_running, runs_of, until
from tests.deployments.upped import Up

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, missing: Missing) -> Iterator[Up]:
    if shutil.which("chromium") is None:
        missing.part("browser", why="Debian's chromium is not installed", get="apt-get install chromium")
    started = Up(tmp_path_factory.mktemp("up"), "--no-run")
    try:
        yield started.until("Ctrl-C ends it")
    finally:
        started.wipe()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: to the folder that a variable names, whoever wants to look at them or to keep them."""
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


async def test_a_run_shows_its_graph_with_what_each_step_left_and_its_log(up: Up, page: Page, pictures: Path) -> None:
    panel, scores = up.folder / "panel" / "synthetic", up.folder / "scores"
    make_panel(panel)
    make_scores(scores, panel)
    wish = {"panel": str(panel), "scores": [str(scores)], "out": str(up.folder / "out"), "synthetic": True}
    async with client_of(up.url) as client:
        run = await until(client, await asked_for(client, "score-reference/score-reference", **wish), is_running)
        await page.open(f"{up.url}/runs/flow-run/{run.id}")
        await page.until("Running")
        ended = await until(client, run, has_ended)
    assert ended.state is not None
    assert ended.state.is_completed()
    await page.until("Completed", "summarise_distributions")
    await page.picture(pictures / "run.png")
