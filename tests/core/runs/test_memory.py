"""How much memory a run takes, and that the division it causes changes no bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import ResourcesInvalid
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import How, Reference, Staged, Threads, score_batch
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.genetics.variants import prepare
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.memory import Budget, memory_here
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.conftest import User

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.score import Partial

GIB = 1 << 30
TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=2_000, people=20)
    make_scores(folder / "scores", folder / "panel")
    return folder


@pytest.fixture(scope="module")
def reference(synthetic: Path) -> Reference:
    panel = open_panel(synthetic / "panel")
    return Reference.of(panel, prepare(panel, synthetic / "tables"))


def test_a_small_budget_divides_the_scores_and_changes_no_bit(synthetic: Path, place: Path) -> None:
    for out, memory in (("large", "16G"), ("small", "1M")):
        asked = Asked(
            panel=synthetic / "panel",
            scores=(synthetic / "scores",),
            out=place / out,
            memory=memory,
            limit=8,
            use_cache=False,
        )
        run = ReferenceScoring(asked, clock=SystemClock())
        panel = run.prepare()
        batches = run.batches(panel, run.waiting(run.plan(panel)))
        assert len(batches) == (1 if out == "large" else sum(len(each.scores) for each in batches))
        run.run()
    assert all((place / "large" / name).read_bytes() == (place / "small" / name).read_bytes() for name in TABLES)


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("limit", [GIB // 2, 2 * GIB, 64 * GIB])
def test_every_batch_stays_within_and_no_score_is_lost(reference: Reference, limit: int, workers: int) -> None:
    budget = Budget(limit=limit, workers=workers)
    rows = [1_000, 6_000_000, 5_000, 200_000, 50] * 150
    parts = list(budget.cut(reference, rows))
    assert [at for part in parts for at in range(part.start, part.stop)] == list(range(len(rows)))
    assert all(budget.needed(reference, rows[part]) <= limit or part.stop - part.start == 1 for part in parts)


@dataclass
class Looking:
    """Scores with threads, and notes how much was held and how much was written."""

    held: int = 0
    written: int = 0

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        self.held = sum(len(each) for each in staged.held.values())
        self.written = sum(each.stat().st_size for each in staged.folder.iterdir())
        return Threads(workers=2)(reference, staged, parts)


@pytest.mark.parametrize(("room", "holds", "writes"), [(0, False, True), (30_000, True, True), (GIB, True, False)])
def test_what_is_held_in_memory_changes_no_bit(
    synthetic: Path, reference: Reference, tmp_path: Path, room: int, holds: bool, writes: bool
) -> None:
    files = sorted((synthetic / "scores").glob("PGS9000[01]*"))
    read = [partial(_same, each) for file in files if file.name < "PGS900015" for each in read_scoring_file(file)]
    looking = Looking()
    batch = score_batch(reference, read, Policy(), How(scratch=tmp_path, scorer=looking, room=room))
    plain = score_batch(reference, read, Policy(), How(scratch=tmp_path))
    assert all(one.people.equals(other.people) for one, other in zip(batch, plain, strict=True))
    assert (looking.held > 0, looking.written > 0) == (holds, writes)


def test_there_is_room_only_as_far_as_the_budget_goes(reference: Reference) -> None:
    needed = Budget(limit=0, workers=1).needed(reference, [1_000])
    rooms = [Budget(limit=needed + more, workers=1).room(reference, [1_000]) for more in (-1, 1_000, 64 * GIB)]
    assert rooms == [0, 1_000, GIB // 4]


def test_what_is_asked_for_wins_over_the_setting_and_that_over_the_machine(user: User) -> None:
    assert 0 < Budget.of(None, workers=1).limit < memory_here()
    user.export("SLUICEWAY_MEMORY", "2G")
    assert Budget.of(None, workers=1).limit == 2 * GIB
    assert str(Budget.of("512M", workers=1)) == "512 MiB"
    with pytest.raises(ResourcesInvalid, match="with a unit"):
        Budget.of("12", workers=1)


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        ("0::/a/b", {"a/memory.max": "1000", "a/b/memory.max": "max"}, 1000),
        ("0::/outside", {"memory.max": "3000"}, 3000),
        ("4:memory:/a", {"memory/a/memory.limit_in_bytes": "2000"}, 2000),
        ("4:memory:/a\n0::/a", {"memory/memory.limit_in_bytes": "2000", "a/memory.max": "1500"}, 1500),
        ("1:cpu:/a", {"cpu/a/memory.limit_in_bytes": "5"}, None),
    ],
)
def test_a_cgroups_limit_counts(tmp_path: Path, groups: str, files: dict[str, str], found: int | None) -> None:
    for name, text in {
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{key}": each for key, each in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert memory_here(tmp_path) == (found or memory_here(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("said", "found"),
    [({"MEM_PER_NODE": "100"}, 100), ({"MEM_PER_CPU": "20", "CPUS_ON_NODE": "4"}, 80), ({"MEM_PER_CPU": "20"}, None)],
)
def test_a_slurm_jobs_memory_counts(user: User, tmp_path: Path, said: dict[str, str], found: int | None) -> None:
    without = memory_here(tmp_path)
    for name, value in said.items():
        user.export(f"SLURM_{name}", value)
    assert memory_here(tmp_path) == (found << 20 if found else without)


def test_a_dry_run_shows_the_memory_and_the_batches(synthetic: Path, place: Path) -> None:
    asked = ["score", "--panel", str(synthetic / "panel"), "--scores", str(synthetic / "scores"), "--limit", "3"]
    done = CliRunner().invoke(cli.app, [*asked, "--memory", "1M", "--dry-run", "--json"])
    plan = json.loads(done.stdout)
    assert (plan["memory"], plan["batches"], plan["resumed"]) == ("1 MiB", [1, 1, 1], 0)
    assert set(plan["scores"].values()) == {"score"}
    assert (
        "batches within 1 MiB: 1, 1, 1;" in CliRunner().invoke(cli.app, [*asked, "--memory", "1M", "--dry-run"]).stdout
    )


def _same(score: ParsedScore) -> ParsedScore:
    return score
