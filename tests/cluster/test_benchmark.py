"""The benchmark of jobs runs, in little and without the others, and its tables can be made of what it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.slurm import report
from benchmarks.slurm.outcome import OURS, Outcome
from benchmarks.slurm.run import Bench, Extent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.deployments.devcluster.cluster import Devcluster

LITTLE = Extent(
    rounds=1, lines=2, watched=(1, 2), theirs=0, settle=0, window=2, items=3, pack=2, at_once=2
)  # fmt: skip


@pytest.fixture
def bench(devcluster: Devcluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("SLUICEWAY_HOME", str(tmp_path / "home"))
    bench = Bench(plan=devcluster.plan, work=tmp_path, extent=LITTLE, with_peers=False)
    yield bench
    (bench.node.home / ".bashrc").unlink()


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_it_measures_everything_of_ours(bench: Bench, tmp_path: Path) -> None:
    (await bench.run()).write(tmp_path / "kept.json")
    kept = Outcome.read(tmp_path / "kept.json")
    assert kept == bench.outcome
    assert kept.submitted[OURS] == [{"sbatch": 1, "session": 2, "squeue": 1}]
    assert [(each.jobs, each.asked["squeue"] > 0) for each in kept.rates] == [(1, True), (2, True)]
    assert len(kept.lag[OURS]) == LITTLE.lines
    for block in report.BLOCKS.values():
        assert block(kept)
