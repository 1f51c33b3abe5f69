"""Ranges as Dask tasks: the bits of this process's threads, and other people's schedulers stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.errors import PlaceUnusable, Unreachable
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Staged
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.genetics.score import Partial
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.place import Dask, parse
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.tasks import dask_cluster, dask_ranges
from tests.conftest import User

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture
def place(user: User) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    make_panel(user.folder / "panel", variants=2_000, people=30)
    make_scores(user.folder / "scores", user.folder / "panel")
    return user.folder


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in TABLES]


def run(place: Path, out: str, on: str) -> list[bytes]:
    asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=place / out, limit=14, use_cache=False)
    with dask_ranges.scorer_at(parse(on), workers=2) as scorer:
        ReferenceScoring(asked, clock=SystemClock(), scorer=scorer).run()
    return contents(place / out)


@pytest.mark.slow
def test_workers_of_this_machine_and_of_a_running_scheduler_give_the_bits_of_threads(place: Path) -> None:
    local = run(place, "local", "local")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as theirs:  # type: ignore[no-untyped-call]
        assert run(place, "theirs", f"dask:{theirs.scheduler_address}") == local
        with Client(theirs, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            assert client.submit(sum, [1, 2]).result() == 3
    command = ["score", "--panel", "panel", "--scores", "scores", "--limit", "14", "--out", "own", "--on", "dask"]
    done = CliRunner().invoke(cli.app, [*command, "--no-cache", "--workers", "2"])
    assert done.exit_code == 0, done.output
    assert contents(place / "own") == local


@pytest.mark.parametrize("on", [Dask(), Dask(cluster="west")])
def test_a_scheduler_that_the_environment_names_is_used_and_never_ended(user: User, on: Dask) -> None:
    user.export("SLURM_JOB_ID", "7")
    user.export("DASK_SCHEDULER_ADDRESS", "tcp://10.0.0.9:8786")
    with dask_cluster.dask_cluster(on, workers=1) as found:
        assert (found.address, found.why) == ("tcp://10.0.0.9:8786", "DASK_SCHEDULER_ADDRESS names it")
    with dask_cluster.dask_cluster(Dask(address="tcp://10.0.0.1:1"), workers=1) as found:
        assert (found.address, found.why) == ("tcp://10.0.0.1:1", "it was named")


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_no_bit(place: Path) -> None:
    """Red on: tasks/dask_ranges.py: `client.map(score, asked,` -> `client.map(score, asked[1:],`."""
    local = run(place, "local", "local")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as theirs,  # type: ignore[no-untyped-call]
        Client(theirs, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        ranges = dask_ranges.DaskRanges(client=client)

        def one_dies(reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
            for number, part in enumerate(ranges(reference, staged, parts)):
                yield part
                if number == 0:
                    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=place / "out", limit=14, use_cache=False)
        ReferenceScoring(asked, clock=SystemClock(), scorer=one_dies).run()
    assert contents(place / "out") == local


def test_a_worker_with_other_code_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = scoring_software()
    other.modules["sluiceway.core.genetics.score"] = "sha256:of something else"
    monkeypatch.setattr(dask_ranges, "scoring_software", lambda: other)
    with pytest.raises(PlaceUnusable, match="a worker has another version"):
        run(place, "out", "dask")


def test_a_scheduler_that_is_not_there_is_unreachable(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_PATIENCE", "1s")
    with pytest.raises(Unreachable, match="dask:tcp://127"):
        run(place, "out", "dask:tcp://127.0.0.1:9")


@pytest.mark.parametrize("on", ["west", "dask@west"])
def test_a_cluster_that_nobody_knows_is_refused(place: Path, on: str) -> None:
    with pytest.raises(PlaceUnusable, match="west"):
        run(place, "out", on)


def test_nobody_imports_dask_who_does_not_ask_for_it() -> None:
    said = "import sys, sluiceway.tasks.dask_ranges; print({'dask', 'distributed', 'prefect'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout == "set()\n"
