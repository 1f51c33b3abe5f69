"""Ranges as Dask tasks: the bits of this process's threads, and other people's schedulers stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from distributed import Client, Future, LocalCluster
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.errors import EngineLost, PlaceUnusable, Unreachable
from sluiceway.core.genetics import ranges as range_plan
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Scorer, Staged
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.genetics.score import Partial
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.place import Dask, parse
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.store.objects import ObjectStore
from sluiceway.tasks import dask_cluster, dask_ranges
from sluiceway.tasks.dask_cluster import background
from tests.conftest import User
from tests.test_dask_cluster import access_here

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")
# How many ranges nobody holds.
FREE = 4


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


def held(score: Callable[[Range], Partial], folder: Path, part: Range) -> Partial:
    """Score a range, and note by whom; the first few at once, the others once there is leave."""
    with (folder / "begun").open("a") as file:
        file.write(f"{part.number} {os.getpid()}\n")
    while part.number >= FREE and not (folder / "leave").exists():
        time.sleep(0.02)
    return score(part)


@dataclass(frozen=True)
class Held:
    """A client whose ranges are held."""

    client: Any
    folder: Path

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def map(self, score: Callable[[Range], Partial], asked: Sequence[Range], **options: Any) -> Any:
        return self.client.map(partial(held, score, self.folder), asked, **options)

    def begun(self) -> list[tuple[int, int]]:
        """Which ranges have been begun, in which process."""
        file = self.folder / "begun"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(number), int(pid)) for number, pid in map(str.split, lines)]

    def kill_one(self) -> int:
        """Kill a worker that is at a range; give the range."""
        while not (late := [each for each in self.begun() if each[0] >= FREE]):
            time.sleep(0.02)
        number, pid = late[0]
        os.kill(pid, signal.SIGKILL)
        (self.folder / "leave").touch()
        return number


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_plan, "_SMALLEST", 64)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_ranges_of_a_worker_that_is_killed_run_again_and_count_once(
    place: Path, user: User, small_ranges: None
) -> None:
    """Red on: tasks/dask_ranges.py: `pure=False, key="score_range")` ->
    `pure=False, key="score_range", workers=sorted(client.scheduler_info()["workers"])[0])`.
    """
    lost: list[int] = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as theirs,  # type: ignore[no-untyped-call]
        Client(theirs, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        ours = Held(client, place)
        ranges = dask_ranges.DaskRanges(client=ours, place="dask")

        def one_dies(reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
            assert len(parts) > 20
            for part in ranges(reference, staged, parts):
                yield part
                if not lost:
                    lost.append(ours.kill_one())

        asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=place / "out", limit=14)
        summary = ReferenceScoring(asked, clock=SystemClock(), scorer=one_dies).run()
    times = Counter(number for number, _ in ours.begun())
    assert times[lost[0]] == 2
    assert len({pid for number, pid in ours.begun() if number == lost[0]}) == 2
    assert len(list(ObjectStore(place / "home" / "store").every())) == summary.n_total - summary.n_failed == 14
    assert [each.output for each in ledger_here(SystemClock()).history().entries] == [str(place / "out")]
    user.export("SLUICEWAY_HOME", str(place / "another home"))
    assert contents(place / "out") == run(place, "local", "local")


@pytest.mark.slow
def test_two_runs_of_the_same_scores_take_nothing_from_each_other(place: Path, user: User) -> None:
    """Red on: tasks/dask_ranges.py: `BATCHES / secrets.token_hex(8)` -> `BATCHES / "rows"`."""
    local = run(place, "local", "local")
    base = place / "base"
    old = base / "dask-batches" / "of a run that was killed"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    access = access_here(PurePosixPath(base), python=sys.executable)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as theirs,  # type: ignore[no-untyped-call]
        background() as loop,
        ExitStack() as stack,
    ):

        def away(name: str) -> dask_ranges.DaskRangesAway:
            client = stack.enter_context(dask_cluster.dask_client(theirs.scheduler_address, name=name))
            return dask_ranges.DaskRangesAway(client=client, access=access, loop=loop, place=name)

        def score(name: str, scorer: Scorer) -> None:
            user.export("SLUICEWAY_HOME", str(place / f"home of {name}"))
            asked = Asked(panel=Path("panel"), scores=(Path("scores"),), out=place / name, limit=14, use_cache=False)
            ReferenceScoring(asked, clock=SystemClock(), scorer=scorer).run()

        first, second = away("first"), away("second")

        def while_another_ends(reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
            partials = second(reference, staged, parts)
            score("first", first)
            first.tidy()
            yield from partials

        score("second", while_another_ends)
        (left,) = (base / "dask-batches").iterdir()
        second.tidy()
    assert contents(place / "first") == contents(place / "second") == local
    assert (old == left, left.exists()) == (False, False)
    assert [each for each in (base / "inputs").iterdir() if each.stat().st_size == 0] == []


DIES = """
import os, signal
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
class Dies({kind}Plugin):
    def transition(self, key, start, finish, *_, **__):
        if finish == "{state}" and key.startswith("score_range"):
            os.kill(os.getpid(), signal.SIGKILL)
async def dask_setup(one):
    {add}(Dies())
"""
DYING = {
    "scheduler": DIES.format(kind="Scheduler", state="memory", add="one.add_plugin"),
    "worker": DIES.format(kind="Worker", state="executing", add="await one.plugin_add"),
}
WITHOUT_US = "import sys\nsys.modules['sluiceway'] = None\n"
PART = [sys.executable, "-m", "distributed.cli.dask_{}", "--no-dashboard", "--host", "127.0.0.1"]


@pytest.fixture
def started(place: Path) -> Iterator[Callable[..., None]]:
    """Starts parts of a Dask cluster, each in a process of its own."""
    with ExitStack() as stack:

        def start(part: str, *words: str, first: str) -> None:
            (place / f"{part}.py").write_text(first)
            command = [*(word.format(part) for word in PART), *words, "--preload", str(place / f"{part}.py")]
            env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
            process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)

        yield start


@pytest.fixture
def refused(place: Path, started: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Scores on a Dask cluster whose parts begin with these programs; gives the address, exit code and error."""

    def scored(scheduler: str = "", worker: str = "") -> tuple[str, Any, str]:
        file = place / "scheduler.json"
        started("scheduler", "--port", "0", "--scheduler-file", str(file), first=scheduler)
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        started("worker", address, "--no-nanny", "--nthreads", "1", first=worker)
        command = ["score", "--panel", "panel", "--scores", "scores", "--limit", "14", "--out", "out"]
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--on", f"dask:{address}"])
        said = " ".join(capfd.readouterr().err.split())
        assert "Traceback" not in said
        return address, ended.value.code, said

    return scored


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dies", "told"),
    [
        ("scheduler", "the scheduler, or the way to it, is gone"),
        ("worker", "1 workers died at it, the last at tcp://127"),
    ],
)
def test_a_part_of_dask_that_dies_is_told_and_no_traceback(refused: Callable[..., Any], dies: str, told: str) -> None:
    """Red on: tasks/dask_ranges.py: `except (CancelledError, ClosedClientError, OSError)` -> `except IndexError`."""
    address, code, said = refused(**{dies: DYING[dies]})
    assert code == 4
    assert f"error: dask:{address} did not score a range: {told}" in said
    assert "ask for the same again" in said


@pytest.mark.slow
def test_a_scheduler_that_has_no_sluiceway_is_told_to_be_useless(refused: Callable[..., Any]) -> None:
    """Red on: tasks/dask_ranges.py: `if _UNREADABLE not in str(error):` -> `if True:`."""
    address, code, said = refused(scheduler=WITHOUT_US, worker=WITHOUT_US)
    assert code == 2, said
    assert f"error: nothing can run at 'dask:{address}': its scheduler and workers need sluiceway" in said


def test_work_that_somebody_cancels_on_the_scheduler_is_lost_and_that_is_told(place: Path) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as theirs,  # type: ignore[no-untyped-call]
        Client(theirs, set_as_default=False) as somebody,  # type: ignore[no-untyped-call]
        dask_cluster.dask_client(theirs.scheduler_address, name="dask") as client,
        ThreadPoolExecutor() as pool,
    ):
        # Nobody is there who could do it.
        first = pool.submit(next, dask_ranges.in_order(client, str, [1, 2], place="dask@west"))
        while not (keys := list(theirs.scheduler.tasks)):
            time.sleep(0.02)
        somebody.cancel([Future(each, somebody) for each in keys], force=True)
        with pytest.raises(EngineLost, match=r"dask@west did not score a range: .*somebody has cancelled") as lost:
            first.result()
    assert lost.value.exit_code == 4


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
