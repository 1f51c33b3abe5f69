"""The flow score_reference on a cluster, in a real Prefect engine: the direct run's bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    make_panel(user.folder / "panel", variants=2_000, people=30)
    make_scores(user.folder / "scores", user.folder / "panel")
    asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=Path("direct"), limit=14, use_cache=False)
    ReferenceScoring(asked, clock=SystemClock()).run()
    score_reference(Path("panel"), [Path("scores")], Path("flow"), limit=14, on="west", use_cache=False)
    for table in ("scores.parquet", "distributions.parquet", "quality.parquet"):
        assert Path("flow", table).read_bytes() == Path("direct", table).read_bytes(), table
    assert len({job["number"] for job in slurm.jobs}) == 1
