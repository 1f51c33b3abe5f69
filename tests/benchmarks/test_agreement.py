"""Every tool that is here gives what the slow loop gives, on what the benchmark generates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.scoring import peers
from benchmarks.scoring.agreement import MEANT, READERS, distances, reference
from benchmarks.scoring.layout import Work
from benchmarks.scoring.ours import MODES, POLICIES, sluiceway, sums
from benchmarks.scoring.run import default_work
from benchmarks.scoring.watch import run
from tests.benchmarks.conftest import SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.scoring.watch import Command

pytestmark = pytest.mark.plink2


def ran(work: Work, command: Command) -> None:
    assert run(command, 1, work.root / "log.txt").exit_code == 0, (work.root / "log.txt").read_text()


@pytest.mark.parametrize(("policy", "meant"), list(zip(POLICIES, ("catalogue", "zero"), strict=True)))
def test_ours_are_those_of_the_loop(work: Work, policy: str, meant: str) -> None:
    runs = {command.mode: command for command in sluiceway(work, SIZE.scores, policy)}
    assert tuple(runs) == MODES
    ran(work, runs["cold"])
    assert distances(sums(work, SIZE.scores), reference(work, SIZE.scores)[meant]).max() < 1e-12


def test_plink2_s_are_those_of_the_loop_as_far_as_it_prints_them(work: Work) -> None:
    for command in peers.plink2(work, SIZE.scores):
        ran(work, command)
        found = READERS[command.name](work, SIZE.scores)
        assert distances(found, reference(work, SIZE.scores)[MEANT[command.name]]).max() < 1e-4


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("tool", "commands"), [("gnomon", peers.gnomon), ("just-prs", peers.just_prs)])
def test_another_s_are_those_of_the_loop(work: Work, tool: str, commands: Callable[[Work, int], list[Command]]) -> None:
    installed = Work(default_work()).venv(tool)
    work.venv(tool).parent.mkdir(exist_ok=True)
    # What a benchmark has installed need not be installed again.
    if installed.is_dir():
        work.venv(tool).symlink_to(installed)
    ran(work, commands(work, SIZE.scores)[0])
    assert distances(READERS[tool](work, SIZE.scores), reference(work, SIZE.scores)[MEANT[tool]]).max() < 1e-5
