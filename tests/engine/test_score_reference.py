"""The flow score_reference in a real Prefect engine: the direct run's bytes, and a page that tells how it went."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema

from sluiceway.core.catalog.library import Library
from sluiceway.core.catalog.score_table import ParsedScore
from sluiceway.core.events import ROOT as EVENTS
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import NAMED, Policy
from sluiceway.core.genetics.reference import How, Reference, score_batch
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import BROKEN, RULES, make_scores
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.genetics.variants import prepare
from sluiceway.core.provenance import manifest
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from sluiceway.core.store.objects import ObjectStore
from sluiceway.flows.score_reference import score_reference
from sluiceway.tasks import scoring
from tests.conftest import User
from tests.engine.test_demo import servers

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet", "matches.parquet")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


@dataclass(frozen=True, kw_only=True)
class Invented:
    panel: Path
    scores: Path


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    folder = tmp_path_factory.mktemp("invented")
    make_panel(folder / "panel", variants=8_000, people=60)
    make_scores(folder / "scores", folder / "panel")
    return Invented(panel=folder / "panel", scores=folder / "scores")


@pytest.fixture
def nothing_cached(user: User) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user.folder


@pytest.mark.parametrize("policy", NAMED)
def test_the_flow_writes_the_same_bytes_as_the_direct_run(
    invented: Invented, nothing_cached: Path, policy: str
) -> None:
    direct, flow = nothing_cached / "direct", nothing_cached / "flow"
    asked = Asked(panel=invented.panel, scores=(invented.scores,), out=direct, policy=NAMED[policy], match_log=True)
    ReferenceScoring(asked, clock=SystemClock()).run()
    summary = score_reference(
        invented.panel, [invented.scores], flow, policy=NAMED[policy], use_cache=False, match_log=True
    )
    assert (summary.n_total, summary.n_cached) == (len(RULES) + 1, 0)
    for table in TABLES:
        assert (flow / table).read_bytes() == (direct / table).read_bytes(), table


def test_a_second_run_finds_everything_cached_and_writes_the_same_tables(
    invented: Invented, nothing_cached: Path
) -> None:
    first, second = (
        score_reference(invented.panel, [invented.scores], nothing_cached / out, match_log=True)
        for out in ("first", "second")
    )
    assert (first.n_cached, second.n_cached) == (0, first.n_total - first.n_failed)
    assert second.n_failed > len(BROKEN)
    for table in TABLES:
        assert (first.out / table).read_bytes() == (second.out / table).read_bytes(), table


def test_a_flow_run_without_any_result_fails_and_tells_why(invented: Invented, nothing_cached: Path) -> None:
    broken = [each for each in invented.scores.iterdir() if each.name.startswith(tuple(BROKEN))]
    state = score_reference(invented.panel, broken, nothing_cached / "out", return_state=True)
    assert state.is_failed()
    assert "none of 4 scores has a result" in str(state.message)
    assert (nothing_cached / "out" / "manifest.json").is_file()


async def artifacts(flow_run_id: UUID) -> dict[str, Artifact]:
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client:
        return {str(each.key): each for each in await client.read_artifacts(artifact_filter=only)}


async def test_the_runs_page_shows_progress_quality_and_where_the_report_is(
    invented: Invented, nothing_cached: Path
) -> None:
    out = nothing_cached / "out"
    state = score_reference(invented.panel, [invented.scores], out, return_state=True)
    summary = await state.aresult()
    assert isinstance(summary, Summary)
    assert state.state_details.flow_run_id is not None
    shown = await artifacts(state.state_details.flow_run_id)
    assert f"| {summary.n_total} | {summary.n_ok} | {summary.n_failed} | 0 |" in str(shown["reference-scores"].data)
    assert str(out / "report.html") in str(shown["reference-scores"].data)
    lines = json.loads(str(shown["reference-scores-quality"].data))
    assert {line["pgs_id"] for line in lines} == set(summary.quality["pgs_id"])
    assert lines[0]["status"] != "ok"
    for kind in ("panel", "scoring-files", "ranges"):
        assert shown[f"reference-scores-{kind}"].data == 100.0, kind
    picture = str(shown["reference-scores-distributions"].data)
    assert picture.startswith("data:image/svg+xml;base64,")
    assert f"]({picture})" in str(shown["reference-scores"].data)


async def test_the_runs_page_and_the_manifest_tell_what_each_task_used(
    invented: Invented, nothing_cached: Path
) -> None:
    out = nothing_cached / "out"
    state = score_reference(invented.panel, [invented.scores], out, limit=4, return_state=True)
    assert state.state_details.flow_run_id is not None
    shown = await artifacts(state.state_details.flow_run_id)
    lines = {line["task"]: line for line in json.loads(str(shown["reference-scores-resources"].data))}
    tasks = ["prepare_panel", "plan_scores", "score_batches", "log_matches", "summarise_distributions"]
    assert list(lines) == [*tasks, "write_manifest"]
    for figure in ("seconds", "processor seconds", "peak memory, MiB", "read, MiB"):
        assert lines["prepare_panel"][figure] > 0, figure
    written = manifest.read(out / "manifest.json")
    assert [each.name for each in written.steps or ()] == tasks
    assert sum(each.resources.cpu_seconds or 0 for each in written.steps or ()) <= (written.resources.cpu_seconds or 0)


def test_the_form_describes_every_choice_of_the_policy() -> None:
    schema = parameter_schema(score_reference).model_dump()
    assert all(each.get("description") for each in schema["properties"].values())
    choices = schema["definitions"]["Policy"]["properties"]
    assert set(choices) == set(Policy.model_fields)
    assert all(each["description"] for each in choices.values())


def itself(score: ParsedScore) -> ParsedScore:
    return score


def test_the_public_tasks_give_the_batchs_result_to_the_bit(invented: Invented, tmp_path: Path) -> None:
    panel = open_panel(invented.panel)
    reference = Reference.of(panel, prepare(panel, tmp_path / "panels"))
    library = Library(ObjectStore(tmp_path / "library"))
    files = [each for each in sorted(invented.scores.iterdir()) if not each.name.startswith(tuple(BROKEN))]
    parsed = [library.numbers(each) for file in files for each in library.load(file)]
    assert any(each.complex for each in parsed)
    readers = [partial(itself, each) for each in parsed]

    @flow
    def composed() -> list[ScoreResult]:
        (tmp_path / "rows").mkdir()
        staged = scoring.stage_batch(reference, readers, Policy(), tmp_path / "rows")
        partials = [scoring.score_range.submit(reference, staged, part) for part in reference.ranges]
        return scoring.reduce_ranges(reference, staged, [each.result() for each in partials])

    expected = score_batch(reference, readers, Policy(), How(scratch=tmp_path / "scratch"))
    for one, other in zip(composed(), expected, strict=True):
        assert one.people.equals(other.people)
        assert (one.reasons, one.mass, one.used) == (other.reasons, other.mass, other.used)


def score_command(invented: Invented, out: Path, *options: str, api: str | None) -> subprocess.CompletedProcess[str]:
    """Run `sluiceway score` as a program, with this server in its environment."""
    command = [str(Path(sys.executable).with_name("sluiceway")), "score", "--panel", str(invented.panel)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    return subprocess.run(
        [*command, "--scores", str(invented.scores), "--out", str(out), "--match-log", *options],
        env=own if api is None else {**own, "PREFECT_API_URL": api},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_is_a_flow_run_where_a_server_is_configured_with_the_same_bytes(
    invented: Invented, nothing_cached: Path
) -> None:
    direct = score_command(invented, nothing_cached / "direct", "--json", api=None)
    flow = score_command(invented, nothing_cached / "flow", "--no-cache", api=PREFECT_API_URL.value())
    assert (direct.returncode, flow.returncode) == (0, 0), direct.stderr + flow.stderr
    assert "Prefect" not in direct.stdout + direct.stderr
    assert json.loads(direct.stdout)["n_cached"] == 0
    assert re.match(r"Prefect: http://\S+/runs/flow-run/[0-9a-f-]{36}\n", flow.stdout)
    for table in TABLES:
        assert (nothing_cached / "flow" / table).read_bytes() == (nothing_cached / "direct" / table).read_bytes(), table


@pytest.mark.slow
def test_a_flow_run_that_is_asked_for_brings_its_server_and_leaves_none(
    invented: Invented, nothing_cached: Path
) -> None:
    done = score_command(invented, nothing_cached / "out", "--flow", "--json", "--limit", "6", api=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_total"] == 6
    assert re.search(r"^Prefect: http://127\.0\.0\.1:\d+/runs/flow-run/", done.stderr, re.MULTILINE)
    assert servers(nothing_cached / "home") == []
