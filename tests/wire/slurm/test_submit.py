"""A job is submitted once, whatever breaks while it is."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from sluiceway.core import errors
from sluiceway.core.errors import SlurmRefused
from sluiceway.core.slurm.cluster import Cluster, Known
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.parse import Absent, Unreachable
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FILES, FastClock, Line, Order, ending


async def test_a_second_submit_finds_the_first_job(cluster: Cluster, order: Order, slurm: FakeSlurm) -> None:
    first = await cluster.submit(order(), FILES)
    assert await cluster.submit(order(), FILES) == first
    assert slurm.only_job()["number"] == first.number


async def test_two_submits_at_once_make_one_job(cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line) -> None:
    other = Cluster(Line(), FastClock())
    slurm.slow("sbatch", 0.3)
    jobs = await asyncio.gather(cluster.submit(order(), FILES), other.submit(order(), FILES))
    assert jobs[0] == jobs[1]
    assert len(slurm.jobs) == 1


async def test_an_answer_of_sbatch_that_is_lost_makes_no_second_job(
    cluster: Cluster, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/parse.py: `and _REFUSED.search(told.stderr) and not _OUT_OF_REACH.search(told.stderr):`
    -> `and _REFUSED.search(told.stderr):`.
    """
    slurm.lose_answer("sbatch")
    job = await cluster.submit(order(), FILES)
    assert slurm.only_job()["number"] == job.number


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_sbatch_that_was_killed_leaves_one_job(
    cluster: Cluster, order: Order, slurm: FakeSlurm, when: str
) -> None:
    """Red on: core/slurm/cluster.py: `may_submit = False` -> `raise SlurmRefused(
    machine="", attempted="", reason=reason)`.
    """
    slurm.kill("sbatch", when="before" if when == "before" else "after")
    job = await cluster.submit(order(), FILES)
    assert slurm.only_job()["number"] == job.number


@pytest.mark.parametrize("step", [0, 1])
async def test_a_line_cut_while_a_step_runs_leaves_one_job(
    cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line, step: int
) -> None:
    """Red on: core/slurm/cluster.py: `except (ConnectionLost, CommandTimedOut) as error:`
    -> `except OSError as error:`.
    """
    submitting = asyncio.create_task(cluster.submit(order(), FILES))
    while line.asked <= step:
        await asyncio.sleep(0)
    line.cut_after = 1
    job = await submitting
    assert slurm.only_job()["number"] == job.number


async def test_a_job_is_found_while_its_answer_is_lost_and_accounting_is_down(
    cluster: Cluster, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/parse.py: `if told.exit_code != 0:
    return () if _NO_ACCOUNTING.search(told.stderr) else _silence("sacct", told)` -> `if told.exit_code != 0:
    return ()`.
    """
    slurm.set_accounting("down")
    slurm.kill("sbatch", when="before")
    submitting = asyncio.create_task(cluster.submit(order(), FILES))
    await asyncio.sleep(3)
    assert slurm.jobs == []
    slurm.set_accounting("up")
    assert (await submitting).number == slurm.only_job()["number"]


async def test_a_controller_that_is_down_is_waited_for(cluster: Cluster, order: Order, slurm: FakeSlurm) -> None:
    """Red on: core/slurm/commands.py: `if [ "$code" = 0 ] && [ ! -s "$t/out" ]; then
    if [ -z "$began" ]` -> `if true; then
    if [ -z "$began" ]`.
    """
    slurm.set_controller(up=False)
    submitting = asyncio.create_task(cluster.submit(order(), FILES))
    # More than a minute at the fast clock's pace.
    await asyncio.sleep(2.2)
    assert slurm.asked("sbatch") == []
    slurm.set_controller(up=True)
    assert (await submitting).number == slurm.only_job()["number"]
    assert len(slurm.asked("sbatch")) == 1


@pytest.mark.parametrize("program", ["squeue", "sbatch"])
async def test_an_answer_that_nobody_can_read_makes_no_second_job(
    cluster: Cluster, order: Order, slurm: FakeSlurm, program: str
) -> None:
    slurm.garble(program)
    job = await cluster.submit(order(), FILES)
    assert slurm.only_job()["number"] == job.number


async def test_a_refusal_is_told_in_slurms_words_and_the_next_try_is_free(
    cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/cluster.py: `await self._frames(commands.withdraw(spec.folder, mark=mark)) raise`
    -> `raise`.
    """
    slurm.refuse("Invalid account or account/partition combination specified")
    with pytest.raises(SlurmRefused, match="Invalid account"):
        await cluster.submit(order(), FILES)
    assert slurm.jobs == []
    began = line.asked
    assert (await cluster.submit(order(), FILES)).number == slurm.only_job()["number"]
    assert line.asked - began == 2


async def test_a_job_that_ended_and_left_the_queue_is_found_in_accounting(
    cluster: Cluster, watcher: Watcher, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/cluster.py: `rows = parse.read_accounts(frames.of("account"))` -> `rows = ()`."""
    first = await cluster.submit(order(), FILES)
    slurm.wait(first)
    slurm.forget(first)
    assert isinstance(await cluster.find(order().token), Known)
    assert await cluster.submit(order(), FILES) == first
    assert (await ending(watcher, order(), first)).kind is EndingKind.SUCCEEDED


async def test_a_job_that_only_its_answer_file_remembers_is_not_run_again(
    cluster: Cluster, order: Order, slurm: FakeSlurm
) -> None:
    """Red on: core/slurm/cluster.py: `if written is not None and not isinstance(found, Known):` -> `if False:`."""
    slurm.set_accounting("none")
    first = await cluster.submit(order(), FILES)
    slurm.wait(first)
    slurm.forget(first)
    assert await cluster.submit(order(), FILES) == first
    assert len(slurm.jobs) == 1


async def test_a_token_is_known_absent_or_nobody_could_say(cluster: Cluster, order: Order, slurm: FakeSlurm) -> None:
    """Red on: core/slurm/cluster.py: `if isinstance(rows, Unreachable): return rows`
    -> `if isinstance(rows, Unreachable): return Absent()`.
    """
    assert await cluster.find("sw-1-a1") == Absent()
    await cluster.submit(order(), FILES)
    assert isinstance(await cluster.find("sw-1-a1"), Known)
    slurm.set_controller(up=False)
    slurm.set_accounting("down")
    assert isinstance(await cluster.find("sw-1-a1"), Unreachable)


async def test_a_bundle_cut_short_is_sent_again(cluster: Cluster, order: Order, slurm: FakeSlurm, line: Line) -> None:
    line.truncate = 1
    big = {**FILES, "inputs/big": secrets.token_bytes(100_000)}
    job = await cluster.submit(order('wc -c <"inputs/big"'), big)
    slurm.wait(job)
    assert slurm.only_job()["state"] == "COMPLETED"


async def test_a_machine_that_was_never_there_shows_at_once(order: Order) -> None:
    class Nowhere(Line):
        async def run(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise errors.Unreachable(machine="nowhere", reason="no such host")

    with pytest.raises(errors.Unreachable, match="no such host"):
        await Cluster(Nowhere(), FastClock()).submit(order(), FILES)


@pytest.mark.parametrize("word", ["a b", 'it\'s "x"', "$(id >&2)`id`", "-rf", "one\ntwo", "caf\udce9", "%j \\ #", "*"])
async def test_words_reach_the_job_as_they_are(cluster: Cluster, order: Order, slurm: FakeSlurm, word: str) -> None:
    """Red on: core/slurm/script.py: `command = shlex.join(spec.command)` -> `command = " ".join(spec.command)`."""
    spec = order()
    spec = order('printf %s "$1" >said', command=(*spec.command[:-1], 'printf %s "$1" >said', "sh", word))
    slurm.wait(await cluster.submit(spec, FILES))
    assert Path(spec.folder / "said").read_bytes() == word.encode(errors="surrogateescape")


@pytest.mark.parametrize("name", ["a b", 'it\'s "x"', "$(id >&2)`id`", "-rf", "caf\udce9", "%j 100%", "#SBATCH --hold"])
async def test_folders_of_any_name_hold_a_job(cluster: Cluster, watcher: Watcher, order: Order, name: str) -> None:
    """Red on: core/slurm/commands.py: `return text.replace("%", "%%").replace("%%a", "%a")` -> `return text`."""
    base = order().folder.parent / name
    there = order(name="sw-2-a1")
    spec = order(
        "echo here",
        folder=base,
        command=(there.command[0], there.command[1], str(base / "jobside.py"), str(base), "echo", "here"),
        stdout=base / "stdout.txt",
        stderr=base / "stderr.txt",
        outcome=base / "outcome.json",
    )
    assert (await ending(watcher, spec, await cluster.submit(spec, FILES))).succeeded
