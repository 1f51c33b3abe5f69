"""A program of MPI as several tasks of a payload: srun starts them, and they find each other over all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluiceway.core.launch.single import SingleLauncher
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.engines import environment_of

if TYPE_CHECKING:
    from pathlib import Path

SUM = """
from mpi4py import MPI
from socket import gethostname

world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
hosts = world.gather(gethostname())
if world.rank == 0:
    print(world.size, total, len(set(hosts)))
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """A Python with MPICH, which speaks Slurm's PMI-2."""
    return environment_of("mpi4py==4.1.2", "mpich==5.0.2")


@pytest.mark.nightly
async def test_tasks_of_mpi_on_two_nodes_are_one_world(there: There, python: Path) -> None:
    script = f"exec {python} - <<'END'\n{SUM}END\n"
    request = there.request(script, launcher=SingleLauncher(tasks=4, mpi="pmi2"))
    receipt = await there.run(request, nodes=2, tasks=4, memory="500M", time="5m")
    assert receipt.stdout.read_text() == "4 10 2\n", receipt.stderr.read_text()
