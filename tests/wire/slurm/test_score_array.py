"""Ranges as elements of a Slurm array: the bits of this process's threads, whatever becomes of an element."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of
from sluiceway.core.errors import PlaceUnusable, RunFailed
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs import score_element
from sluiceway.core.runs.place import parse
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.tasks.dask_ranges import scorer_at
from tests.conftest import User
from tests.fake_slurm.slurm import FakeSlurm

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")
N_RANGES = 5
CLUSTER = """\
[clusters.west]
base = "{base}"
python = "{python}"
panels = {{ "{here}" = "{there}" }}
resources = {{ cpus = {cpus} }}
busy_poll_seconds = 0.2
longest_poll_seconds = 1
"""


@dataclass(frozen=True, kw_only=True)
class Here:
    """A panel and scores on this machine, and the tables that its threads give."""

    folder: Path
    local: list[bytes]

    @property
    def panel(self) -> Path:
        return self.folder / "panels/small"


@dataclass(frozen=True, kw_only=True)
class There:
    """A cluster that has the panel under another name."""

    here: Here
    user: User
    slurm: FakeSlurm

    @property
    def base(self) -> Path:
        return self.user.folder / "it's a $(base)"

    @property
    def panels(self) -> Path:
        return self.user.folder / "panels there"

    def set_up(self, *, python: str = sys.executable, cpus: int = 2) -> None:
        here = self.here.folder / "panels"
        self.user.write(
            "home/clusters.toml",
            CLUSTER.format(base=self.base, python=python, here=here, there=self.panels, cpus=cpus),
        )

    def score(self, **environment: str) -> list[bytes]:
        runtime = asyncio.run(runtime_of(environment_of("mine", environment, where="a test"))) if environment else None
        return score(self.here.folder, self.here.panel, self.user.folder / "out", on="west", runtime=runtime)

    @property
    def sizes(self) -> list[int]:
        """How many elements each array has, in their order."""
        numbers = [job["number"] for job in self.slurm.jobs]
        return [numbers.count(each) for each in sorted(set(numbers))]


def score(folder: Path, panel: Path, out: Path, *, on: str, runtime: Runtime | None = None) -> list[bytes]:
    asked = Asked(panel=panel, scores=(folder / "scores",), out=out, limit=14, use_cache=False)
    with scorer_at(parse(on), workers=2, runtime=runtime) as scorer:
        ReferenceScoring(asked, clock=SystemClock(), scorer=scorer).run()
    return [(out / name).read_bytes() for name in TABLES]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    folder = tmp_path_factory.mktemp("here")
    (folder / "panels").mkdir()
    make_panel(folder / "panels/small", variants=2_000, people=30)
    make_scores(folder / "scores", folder / "panels/small")
    return Here(folder=folder, local=score(folder, folder / "panels/small", folder / "out", on="local"))


@pytest.fixture
def there(here: Here, user: User, slurm: FakeSlurm) -> There:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    there = There(here=here, user=user, slurm=slurm)
    shutil.copytree(here.folder / "panels", there.panels)
    there.set_up()
    return there


@contextmanager
def held_in_the_queue(there: There) -> Iterator[Future[list[bytes]]]:
    """Score, up to where the array has been submitted and none of its elements has begun."""
    there.slurm.set_starts(on=False)
    with ThreadPoolExecutor() as pool:
        scored = pool.submit(there.score)
        while not there.slurm.jobs:
            assert not scored.done(), scored.result()
            time.sleep(0.02)
        yield scored


def begun(there: There) -> subprocess.Popen[bytes]:
    """Start to score in a process of its own, and wait until its array is in the queue, where it stays."""
    there.slurm.set_starts(on=False)
    program, scores = str(Path(sys.executable).with_name("sluiceway")), str(there.here.folder / "scores")
    words = ["--panel", str(there.here.panel), "--scores", scores, "--limit", "14", "--no-cache"]
    command = [program, "score", *words, "--out", "killed", "--on", "west"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not there.slurm.jobs:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("cpus", [1, 4])
def test_an_array_gives_the_bits_of_this_machine_and_leaves_nothing_there(there: There, cpus: int) -> None:
    there.set_up(cpus=cpus)
    assert there.score() == there.here.local
    (size,) = there.sizes
    assert size == -(-N_RANGES // cpus)
    assert list((there.base / "runs").iterdir()) == []


def test_elements_score_in_an_environment_although_the_cluster_s_own_python_could_not(there: There) -> None:
    there.set_up(python=bare_python(there))
    assert there.score(kind="path", path=sys.prefix) == there.here.local
    assert list((there.base / "runs").iterdir()) == []
    assert list((there.base / "entered").iterdir()) == []
    with pytest.raises(PlaceUnusable, match=r"the Python of 'mine', 'python3', cannot score: .*No module named"):
        there.score(kind="path", path="/usr")


@pytest.mark.parametrize("how", ["cancelled in the queue", "lost with its node"])
def test_an_element_that_comes_to_nothing_is_scored_again_and_no_other(there: There, how: str) -> None:
    """Red on: core/runs/score_array.py: `_ROUNDS: Final = 4` -> `_ROUNDS: Final = 1`."""
    with held_in_the_queue(there) as scored:
        number = there.slurm.jobs[0]["number"]
        if how == "cancelled in the queue":
            there.slurm.finish(f"{number}_1", "CANCELLED")
        there.slurm.set_starts(on=True)
        if how == "lost with its node":
            there.slurm.wait(f"{number}_1", "RUNNING")
            there.slurm.finish(f"{number}_1", "NODE_FAIL")
        assert scored.result() == there.here.local
    assert there.sizes == [3, 1]


def test_an_element_over_its_memory_is_scored_again_with_twice_as_much(there: There) -> None:
    """Red on: core/runs/score_array.py: `larger += any(` -> `larger += 0 * any(`."""
    with held_in_the_queue(there) as scored:
        number = there.slurm.jobs[0]["number"]
        there.slurm.set_starts(on=True)
        there.slurm.wait(f"{number}_0", "RUNNING")
        there.slurm.run_over_memory(f"{number}_0")
        assert scored.result() == there.here.local
    scripts = [
        (there.slurm.folder / f"script-{each}").read_text() for each in sorted({j["number"] for j in there.slurm.jobs})
    ]
    first, second = (int(re.findall(r"--mem=(\d+)M", text)[0]) for text in scripts)
    assert second == 2 * first


def test_an_array_that_is_cancelled_whole_is_not_begun_again(there: There) -> None:
    with held_in_the_queue(there) as scored:
        there.slurm.finish(there.slurm.jobs[0]["number"], "CANCELLED")
        with pytest.raises(RunFailed, match="3 elements have not scored their ranges; 0: cancelled"):
            scored.result()
    assert there.sizes == [3]


def test_a_killed_run_leaves_its_array_which_the_next_run_joins(there: There) -> None:
    """Red on: core/runs/score_array.py: `return elements_of(folder)` -> `return ()`."""
    kill(begun(there))
    there.slurm.set_starts(on=True)
    assert there.score() == there.here.local
    assert there.sizes == [3]


def test_a_killed_run_leaves_ranges_which_the_next_run_takes_but_for_one_that_is_damaged(there: There) -> None:
    """Red on: core/runs/partials.py: `hexdigest()}" != said["digest"]:` -> `hexdigest()}" == "":`."""
    kill(begun(there))
    there.slurm.set_starts(on=True)
    there.slurm.wait(there.slurm.jobs[0]["number"], "COMPLETED", seconds=60)
    (damaged,) = there.base.glob("runs/*/a1/t*/work/2.partial")
    content = bytearray(damaged.read_bytes())
    content[-100] ^= 1
    damaged.write_bytes(content)
    assert there.score() == there.here.local
    assert there.sizes == [3, 1]


def test_an_array_that_somebody_cancels_leaves_ranges_which_the_next_run_takes(there: There) -> None:
    """Red on: core/runs/score_array.py: `if each.number <= n_seen or` -> `if each.number < 1 and`."""
    kill(begun(there))
    number = there.slurm.jobs[0]["number"]
    there.slurm.finish(f"{number}_1", "CANCELLED")
    there.slurm.set_starts(on=True)
    for index in (0, 2):
        there.slurm.wait(f"{number}_{index}", "COMPLETED", seconds=60)
    (run,) = (each.name for each in (there.user.folder / "home/runs").iterdir())
    done = CliRunner().invoke(cli.app, ["cancel", run[:20]])
    assert done.exit_code == 0, done.output
    assert there.score() == there.here.local
    assert there.sizes == [3, 1]


def test_a_panel_that_changes_after_it_was_compared_is_refused_by_the_elements(there: There) -> None:
    """Red on: core/runs/score_element.py: `return REFUSED` -> `pass`."""
    with held_in_the_queue(there) as scored:
        with (there.panels / "small.psam").open("a") as file:
            file.write("# more\n")
        there.slurm.set_starts(on=True)
        with pytest.raises(PlaceUnusable, match="small' there is another one"):
            scored.result()


def bare_python(there: There) -> str:
    """A Python that has its own modules, and no package."""
    bare = there.user.folder / "bare python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    return str(bare)


def test_a_cluster_without_the_panel_the_code_or_the_very_same_of_either_is_refused(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.set_up(python=bare_python(there))
    with pytest.raises(PlaceUnusable, match=r"bare python', cannot score: .*No module named 'sluiceway'"):
        there.score()
    there.set_up()
    (there.panels / "small.pvar").rename(there.panels / "other.pvar")
    with pytest.raises(PlaceUnusable, match="the panel cannot be read there: No such file"):
        there.score()
    (there.panels / "small.pvar").write_bytes(b"#CHROM\n")
    with pytest.raises(PlaceUnusable, match="small' there is another one"):
        there.score()
    software = scoring_software()
    software.environment["numpy"] = "0.1"
    monkeypatch.setattr(score_element, "scoring_software", lambda: software)
    with pytest.raises(PlaceUnusable, match="of another version: numpy differs"):
        there.score()
    assert there.slurm.jobs == []
