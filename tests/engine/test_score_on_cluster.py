"""The flow score_reference on a cluster, or on Dask, in a real Prefect engine: the direct run's bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from sluiceway.core.genetics import ranges
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.flows.score_reference import score_reference
from tests.conftest import User
from tests.fake_slurm.slurm import FakeSlurm

CLUSTER = """\
[clusters.west]
base = "{base}"
python = "{python}"
resources = {{ cpus = 3 }}
busy_poll_seconds = 0.2
"""


@pytest.fixture
def slurm(user: User) -> Iterator[FakeSlurm]:
    slurm = FakeSlurm.made(user.folder / "slurm")
    user.export("PATH", f"{slurm.programs}:{os.environ['PATH']}")
    yield slurm
    slurm.stop()


def test_the_flow_on_a_cluster_writes_the_same_bytes_as_the_direct_run_here(user: User, slurm: FakeSlurm) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    user.write("home/clusters.toml", CLUSTER.format(base=user.folder / "base", python=sys.executable))
    direct_run(user)
    score_reference(Path("panel"), [Path("scores")], Path("flow"), limit=14, on="west", use_cache=False)
    require_same()
    assert len({job["number"] for job in slurm.jobs}) == 1


def direct_run(user: User) -> None:
    make_panel(user.folder / "panel", variants=2_000, people=30)
    make_scores(user.folder / "scores", user.folder / "panel")
    asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=Path("direct"), limit=14, use_cache=False)
    ReferenceScoring(asked, clock=SystemClock()).run()


def require_same() -> None:
    for table in ("scores.parquet", "distributions.parquet", "quality.parquet"):
        assert Path("flow", table).read_bytes() == Path("direct", table).read_bytes(), table


async def test_one_task_maps_ranges_through_dask_and_the_flow_writes_the_direct_runs_bytes(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "_SMALLEST", 256)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    direct_run(user)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as theirs:  # type: ignore[no-untyped-call]
        user.export("DASK_SCHEDULER_ADDRESS", theirs.scheduler_address)
        state = score_reference(
            Path("panel"), [Path("scores")], Path("flow"), limit=14, on="dask", use_cache=False, return_state=True
        )
        scored = {key for key, *_ in theirs.scheduler.transition_log if key.startswith("score_range")}
    assert state.is_completed()
    require_same()
    assert len(scored) > 5
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        tasks = [each.name.rpartition("-")[0] for each in await client.read_task_runs(flow_run_filter=only)]
    assert tasks.count("score_batches") == 1
    assert "score_range" not in tasks
