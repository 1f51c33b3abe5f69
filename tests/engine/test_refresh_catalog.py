"""The flow refresh_catalog in a real Prefect engine: the direct run's bytes, the plan first, never two at once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.utilities.callables import parameter_schema

from sluiceway.blocks.hub import Hub
from sluiceway.core.errors import AuthenticationFailed
from sluiceway.core.events import ROOT as EVENTS
from sluiceway.core.runs.refresh_options import OWN, RefreshOptions
from sluiceway.core.runs.refresh_summary import RefreshSummary
from sluiceway.flows.refresh_catalog import refresh_catalog
from tests.conftest import User
from tests.loopback_hub import CATALOGUE, DISTRIBUTIONS, EXPIRED, TOKEN, LoopbackHub, empty_hub
from tests.refreshing import Invented, Site

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")
STEPS = ["look_at_catalogue", "prepare_panel", "plan_scores", "bring_scores", "score_chunk", "lay_out_tables"]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"))


@pytest.fixture
def site(invented: Invented, user: User) -> Iterator[Site]:
    """A home whose settings name a catalogue; the flow and the direct run use the same one."""
    with invented.catalogue().served() as upstream:
        user.export("SLUICEWAY_HOME", str(user.folder / "home"))
        user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
        user.export("SLUICEWAY_CATALOG_API", upstream.source.api)
        user.export("SLUICEWAY_CATALOG_FILES", upstream.source.files)
        user.export("SLUICEWAY_OFFLINE", "0")
        yield Site(
            upstream=upstream,
            home=user.folder / "home",
            cache=user.folder / "cache",
            out=user.folder / "out",
            panel=invented.panel,
        )


def options(site: Site, **changes: object) -> RefreshOptions:
    given = {"panel": str(site.panel), "out": site.out, "publish": False, **changes}
    return RefreshOptions.model_validate(given)


async def artifacts(flow_run_id: UUID | None) -> dict[str, Artifact]:
    assert flow_run_id is not None
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client:
        return {str(each.key): each for each in await client.read_artifacts(artifact_filter=only)}


def test_the_flow_writes_the_same_bytes_as_the_direct_run_and_a_second_does_nothing(site: Site) -> None:
    first = refresh_catalog(options(site, chunk=4))
    assert (first.brought, first.scored, first.n_total) == (6, 6, 6)
    by_flow = [(site.out / OWN / name).read_bytes() for name in TABLES]
    second = refresh_catalog(options(site))
    assert (second.did_nothing, second.n_cached) == (True, 6)
    site.run(use_cache=False)
    assert [(site.out / OWN / name).read_bytes() for name in TABLES] == by_flow


async def test_the_page_shows_the_plan_the_counts_and_what_each_task_used(site: Site) -> None:
    state = refresh_catalog(options(site), return_state=True)
    summary = await state.aresult()
    assert isinstance(summary, RefreshSummary)
    shown = await artifacts(state.state_details.flow_run_id)
    plan = json.loads(str(shown["refresh-plan"].data))
    assert {line["state"] for line in plan} == {"new"}
    assert "6 new; 6 are refreshed now" in str(shown["refresh-plan"].description)
    assert "| 6 | 4 | 0 | 0 | 1.000 |" in str(shown["refresh"].data)
    used = json.loads(str(shown["refresh-resources"].data))
    assert [line["task"] for line in used] == [*STEPS, "all"]
    assert shown["refresh-scoring-files-brought"].data == 100.0


async def test_the_plan_is_shown_before_anything_runs(site: Site) -> None:
    state = refresh_catalog(options(site, dry_run=True), return_state=True)
    shown = await artifacts(state.state_details.flow_run_id)
    assert len(json.loads(str(shown["refresh-plan"].data))) == 6
    assert not site.out.exists()


def test_a_second_flow_run_at_the_same_time_fails_and_names_the_first(site: Site) -> None:
    with site.refresh().alone():
        state = refresh_catalog(options(site), return_state=True)
    assert state.is_failed()
    assert "is on its way: process" in str(state.message)


def test_the_form_describes_every_option_with_its_bounds() -> None:
    schema = parameter_schema(refresh_catalog).model_dump()
    fields = schema["definitions"]["RefreshOptions"]["properties"]
    assert set(fields) == set(RefreshOptions.model_fields)
    assert all(each.get("description") for each in fields.values())
    assert (fields["completeness"]["minimum"], fields["completeness"]["maximum"]) == (0, 1)
    assert (fields["chunk"]["minimum"], fields["chunk"]["maximum"]) == (1, 10_000)


def test_a_revised_file_is_refreshed_by_the_scheduled_run_without_a_word(site: Site, invented: Invented) -> None:
    refresh_catalog(options(site))
    site.upstream.revise("PGS900001", invented.content("PGS900031"))
    done = refresh_catalog(options(site))
    assert (done.planned, done.brought) == ({"revised": 1, "current": 5}, 1)


def test_a_relative_folder_is_that_of_the_flow(site: Site, user: User) -> None:
    done = refresh_catalog(options(site, out=Path("here"), scores=("PGS900001",)))
    assert (user.folder / "here" / OWN / "scores.parquet").is_file()
    assert done.n_total == 1


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    with empty_hub(monkeypatch, tmp_path) as served:
        yield served


def saved(hub: LoopbackHub, name: str, token: str) -> str:
    """Save a block of the hub, and give its name."""
    block = Hub(token=token, distributions=DISTRIBUTIONS, catalogue=CATALOGUE, endpoint=hub.base)
    block.save(name, overwrite=True)
    return name


@pytest.mark.slow
def test_the_scheduled_run_publishes_to_the_hub_of_a_block_whose_token_shows_nowhere(
    site: Site, hub: LoopbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wish = {"publish": True, "panel_name": "made"}
    expired = refresh_catalog(options(site, hub=saved(hub, "expired", EXPIRED), **wish), return_state=True)
    with pytest.raises(AuthenticationFailed, match="expired"):
        expired.result()
    state = refresh_catalog(options(site, hub=saved(hub, "ours", TOKEN), **wish), return_state=True)
    summary = state.result()
    assert isinstance(summary, RefreshSummary)
    assert [each.commit for each in summary.published] == [hub.head(name).sha for name in (DISTRIBUTIONS, CATALOGUE)]
    assert [len(each) for each in hub.repositories.values()] == [2, 2]
    shown = asyncio.run(artifacts(state.state_details.flow_run_id))
    assert hub.head(DISTRIBUTIONS).sha in str(shown["publication"].data)
    told = f"{caplog.text} {[each.data for each in shown.values()]} {summary} {expired.message}"
    assert TOKEN not in told
    assert EXPIRED not in told
