"""Runs of scores in the registry: what two ask for at once is scored once, and all that they made is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluiceway.cli import app
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Staged, Threads
from sluiceway.core.genetics.score import Partial
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.provenance import manifest
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.registry.artifacts import Artifact, artifacts_in, inputs_of
from sluiceway.core.registry.database import Database, registry_at
from sluiceway.core.registry.rebuild import check
from sluiceway.core.registry.reconcile import Reconciler, Repair
from sluiceway.core.registry.runs import Listed, runs_in
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.conftest import User
from tests.core.runs.here import Here


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=1_500, people=40)
    make_scores(folder / "scores", folder / "panel")
    return folder


@pytest.fixture
def place(user: User, url: str) -> Path:
    user.export("SLUICEWAY_REGISTRY", url)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user.folder


class Gate:
    """Scores ranges once it is open."""

    def __init__(self) -> None:
        self.is_open, self.called = threading.Event(), threading.Event()

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        self.called.set()
        assert self.is_open.wait(60)
        yield from Threads(workers=1)(reference, staged, parts)


def scoring(synthetic: Path, out: Path, gate: Gate) -> ReferenceScoring:
    def tell(what: str, _done: int, _of: int) -> None:
        if what == "scores that another run is at":
            gate.is_open.set()

    asked = Asked(panel=synthetic / "panel", scores=(synthetic / "scores",), out=out, workers=1)
    return ReferenceScoring(asked, clock=SystemClock(), scorer=gate, progress=tell)


async def known(database: Database) -> tuple[list[Listed], list[Artifact]]:
    async with database.reading() as connection:
        return await runs_in(connection, kind="scores"), await artifacts_in(connection, whole=True)


async def test_scores_that_two_runs_ask_for_at_once_are_scored_once(synthetic: Path, place: Path) -> None:
    gate, idle = Gate(), Gate()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(scoring(synthetic, place / "one", gate).run)
        assert await asyncio.to_thread(gate.called.wait, 60)
        (line,) = CliRunner().invoke(app, ["status", str(place / "one"), "--quick"]).stdout.splitlines()[:1]
        assert line == f"running\t{(place / 'one').resolve()}"
        # It opens the gate when it waits.
        idle.is_open = gate.is_open
        second = pool.submit(scoring(synthetic, place / "two", idle).run)
        summaries = await asyncio.to_thread(lambda: [each.result() for each in (first, second)])
    assert not idle.called.is_set()
    assert summaries[0].n_failed == summaries[1].n_failed
    assert (place / "one" / "scores.parquet").read_bytes() == (place / "two" / "scores.parquet").read_bytes()
    async with await registry_at(place / "home") as database:
        runs, outputs = await known(database)
        assert [each.attempt.state for each in runs] == ["succeeded", "succeeded"]
        assert len({each.run.key for each in runs}) == 1
        sealed = manifest.read(place / "one" / "manifest.json")
        assert {each.digest for each in outputs} == {sealed.data_version}
        async with database.reading() as connection:
            read = await inputs_of(connection, outputs[0])
        assert len(read) >= len(sealed.inputs or ()) > 1
        assert await check(database, runs_here(), ledger_here(SystemClock())) == []


async def test_a_run_of_scores_that_was_killed_is_known_as_lost(synthetic: Path, place: Path) -> None:
    run = scoring(synthetic, place / "out", Gate())
    reference = run.prepare()
    planned = run.plan(reference)
    # It begins, has nothing to score, and comes no further.
    run.score(reference, [])
    async with await registry_at(place / "home") as database:
        reconciler = Reconciler(database=database, runs=runs_here(), reach=lambda _: pytest.fail("nothing ran there"))
        (mended,) = await reconciler.all()
        assert mended.repair is Repair.LOST
        assert await reconciler.all() == []
        assert [each.attempt.state for each in (await known(database))[0]] == ["lost"]
    assert planned


def test_what_happened_is_told_by_the_command_line(place: Path) -> None:
    here = Here(place)
    asked = [f"echo {each} >made.txt" for each in (1, 2)]
    one, other = [asyncio.run(here.run(here.request(each, outputs=("made.txt",)))) for each in asked]
    runner = CliRunner()
    listed = runner.invoke(app, ["runs", "--json", "--state", "succeeded", "--kind", "run", "--since", "1h"])
    assert (listed.exit_code, listed.stdout.count('"state": "succeeded"')) == (0, 2)
    differ = runner.invoke(app, ["runs", "diff", one.key, other.key])
    assert (differ.exit_code, "made made.txt" in differ.stdout, "read script" in differ.stdout) == (1, True, True)
    assert runner.invoke(app, ["runs", "diff", one.key, one.key]).exit_code == 0
    told = runner.invoke(app, ["events"]).stdout.splitlines()
    assert [line.split("\t")[2].rsplit(" ", 1)[0] for line in told][:1] == ["run intended"]
    last = told[-1].split("\t")[0]
    assert runner.invoke(app, ["events", "--after", last]).stdout == ""
    assert runner.invoke(app, ["registry", "check"]).stdout == "0 differences\n"
    assert runner.invoke(app, ["registry", "rebuild"]).stdout == "2 attempts\n"
    assert runner.invoke(app, ["registry", "migrate"]).exit_code == 0
    assert "0 things" in runner.invoke(app, ["registry", "reconcile"]).stdout
    (here.folder / "home" / "runs" / one.key.removeprefix("sha256:") / "a1" / "intent.json").unlink()
    broken = runner.invoke(app, ["registry", "check", "--json"])
    assert (broken.exit_code, "no file tells of it any more" in broken.stdout) == (1, True)
