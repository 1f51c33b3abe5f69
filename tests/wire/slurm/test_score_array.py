"""Ranges as elements of a Slurm array: the bits of this process's threads, whatever becomes of an element."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.place import parse
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.tasks.dask_ranges import scorer_at
from tests.conftest import User
from tests.fake_slurm.slurm import FakeSlurm

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")
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

    def set_up(self, *, python: str = sys.executable, cpus: int = 1) -> None:
        here = self.here.folder / "panels"
        self.user.write(
            "home/clusters.toml",
            CLUSTER.format(base=self.base, python=python, here=here, there=self.panels, cpus=cpus),
        )

    def score(self) -> list[bytes]:
        return score(self.here.folder, self.here.panel, self.user.folder / "out", on="west")

    @property
    def sizes(self) -> list[int]:
        """How many elements each array has, in their order."""
        numbers = [job["number"] for job in self.slurm.jobs]
        return [numbers.count(each) for each in sorted(set(numbers))]


def score(folder: Path, panel: Path, out: Path, *, on: str) -> list[bytes]:
    asked = Asked(panel=panel, scores=(folder / "scores",), out=out, limit=14, use_cache=False)
    with scorer_at(parse(on), workers=2) as scorer:
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


def test_an_array_gives_the_bits_of_this_machine_and_leaves_nothing_there(there: There) -> None:
    assert there.score() == there.here.local
    (size,) = there.sizes
    assert size > 2
    assert [list((there.base / each).iterdir()) for each in ("runs",)] == [[]]
