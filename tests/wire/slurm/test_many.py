"""One command asks for more jobs than have room in an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluiceway.core.slurm import commands, parse
from sluiceway.core.slurm.parse import Frames
from tests.wire.slurm.conftest import FILES

if TYPE_CHECKING:
    from sluiceway.core.slurm.cluster import Cluster
    from tests.fake_slurm.slurm import FakeSlurm
    from tests.wire.slurm.conftest import Line, Order


@pytest.mark.parametrize("others", [0, 7_000])
async def test_a_job_is_seen_among_so_many(
    others: int, order: Order, cluster: Cluster, slurm: FakeSlurm, line: Line
) -> None:
    spec = order(name="sw-0123456789abcdef-a1")
    job = await cluster.submit(spec, FILES)
    slurm.wait(job)
    names = [f"sw-{number:016x}-a1" for number in range(others)]
    asked = "".join(f"n\t{name}\n" for name in (*names, spec.token)).encode()
    frames = parse.read_frames(await line.run(commands.watch(asked, missing=(), room=0, share=0)))
    assert isinstance(frames, Frames)
    rows = parse.read_queue(frames.of("queue"))
    assert isinstance(rows, tuple)
    assert [row.job.number for row in rows] == [job.number]
