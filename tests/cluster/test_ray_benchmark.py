"""The benchmark of launchers runs, in little and with Dask alone, and its tables can be made of what it measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from benchmarks.launchers import report
from benchmarks.launchers.contenders import Ours
from benchmarks.launchers.outcome import Outcome
from benchmarks.launchers.run import Bench
from sluiceway.core.launch.dask import DaskLauncher
from tests.cluster.test_score_array import python as python  # noqa: PLC0414 - a fixture
from tests.conftest import User
from tests.engines import environment_with

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.deployments.devcluster.cluster import Devcluster


@pytest.mark.nightly
async def test_it_measures_starts_on_each_number_of_nodes_and_an_environment(
    devcluster: Devcluster, user: User, python: Path, tmp_path: Path
) -> None:
    # It sets them for itself.
    for name in ("PATH", "SLUICEWAY_HOME", "SLUICEWAY_CACHE_DIR"):
        user.export(name, os.environ.get(name, str(tmp_path)))
    dask = Ours(name="dask", launcher=DaskLauncher(), python=python)
    bench = Bench(plan=devcluster.plan, contenders=[dask], sizes=(1, 2), rounds=1)
    await bench.run()
    (await bench.ship({"small": environment_with("cloudpickle")}, tmp_path)).write(tmp_path / "kept.json")
    kept = Outcome.read(tmp_path / "kept.json")
    assert kept == bench.outcome
    assert kept.failures == []
    assert [(each.name, each.nodes, each.ready > 0, each.over > 0) for each in kept.starts] == [
        ("dask", 1, True, True), ("dask", 2, True, True),
    ]  # fmt: skip
    (shipped,) = kept.shipments
    assert (shipped.name, shipped.files > 0) == ("small", True)
    assert shipped.found < shipped.shipped
    for block in report.BLOCKS.values():
        assert block(kept)
