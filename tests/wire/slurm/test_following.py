"""What a watched job prints is told once and whole, and asking for it costs one command however many jobs there are."""

from __future__ import annotations

import asyncio
import contextlib

from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.watched import Ended, LogGrew, Unanswered
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FILES, Line, Order, ending


async def test_output_is_told_once_though_the_line_is_cut(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/watched.py: `self.offsets[kind] += len(piece.content)`
    -> `self.offsets[kind] += 1`.
    """
    spec = order("for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.1; done")
    job = await cluster.submit(spec, FILES)
    said = b""
    async for change in watcher.follow(spec, job):
        if isinstance(change, LogGrew):
            said += change.content
            line.cut_after = 1
    assert said == b"".join(b"line %d\n" % number for number in range(1, 9))


async def test_output_is_taken_up_where_it_was_left(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    spec = order("sleep 0.3; printf 0123456789")
    job = await cluster.submit(spec, FILES)
    heard = [each async for each in watcher.follow(spec, job, stdout_from=4) if isinstance(each, LogGrew)]
    assert [(each.offset, each.content) for each in heard] == [(4, b"456789")]


async def test_much_output_comes_whole_before_the_end(cluster: Cluster, watcher: Watcher, order: Order) -> None:
    """Red on: core/slurm/watched.py: `return None if self.has_more else judge(known, deadlines)` -> `return
    judge(known, deadlines)`.
    """
    spec = order("head -c 3000000 /dev/zero")
    job = await cluster.submit(spec, FILES)
    heard = [each async for each in watcher.follow(spec, job)]
    assert sum(len(each.content) for each in heard if isinstance(each, LogGrew)) == 3_000_000
    assert isinstance(heard[-1], Ended)


async def test_that_nobody_answers_is_told_once(cluster: Cluster, watcher: Watcher, order: Order, line: Line) -> None:
    spec = order("sleep 0.3")
    job = await cluster.submit(spec, FILES)
    line.cut_before = 4
    heard = [each async for each in watcher.follow(spec, job)]
    assert [type(each) for each in heard].count(Unanswered) == 1


async def test_whoever_stops_listening_leaves_the_job_alone(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    spec = order("sleep 0.4")
    job = await cluster.submit(spec, FILES)
    watching = asyncio.create_task(ending(watcher, spec, job))
    await asyncio.sleep(0.2)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert (await ending(watcher, spec, job)).succeeded
    assert slurm.asked("scancel") == []


async def test_a_cycle_is_one_command_however_many_jobs_there_are(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/watcher.py: `if self._polling is None or self._polling.done():` -> `if True:`."""
    slurm.set_starts(on=False)
    specs = [order(name=f"sw-{number}-a1") for number in range(8)]
    jobs = [await cluster.submit(spec, FILES) for spec in specs]
    before = line.asked, len(slurm.asked("squeue"))
    watching = [asyncio.create_task(ending(watcher, *each)) for each in zip(specs, jobs, strict=True)]
    await asyncio.sleep(1)
    cycles = line.asked - before[0]
    slurm.set_starts(on=True)
    assert all(each.succeeded for each in await asyncio.gather(*watching))
    assert cycles < 12
    assert len(slurm.asked("squeue")) - before[1] == line.asked - before[0]


async def test_accounting_is_not_asked_while_the_queue_knows(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    spec = order("sleep 0.3")
    assert (await ending(watcher, spec, await cluster.submit(spec, FILES))).succeeded
    assert slurm.asked("sacct") == []
