"""Whole runs on a cluster where something breaks on the way: one job, the right result, and nothing lost."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.errors import ConnectionLost
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed
from sluiceway.core.runs.clusters import ClusterSettings
from sluiceway.core.runs.request import inputs_of
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.job import EndingKind
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FILES, FastClock, Line, Order
from tests.wire.slurm.test_runs import There

NASTY = ["a b", "it's", '"', "$(id)", "`id`", "-n", "two\nlines", "tab\t", "\\", "caf\udce9", "*", ""]
# What is in the text of the command that is each step's.
STEPS = {
    "inputs looked for": "@missing",
    "input checked": "@kept",
    "files brought": "tar -xf",
    "job submitted": 'timeout 300 "$@"',
    "job watched": 'cat >"$t/asked"',
    "output brought home": "@digest",
}


@dataclass
class Dark(Line):
    """A line over which nothing goes for a minute from one command on, which may have done its work all the same."""

    clock: FastClock = field(default_factory=FastClock)
    mark: str = ""
    has_worked: bool = False
    until: datetime | None = None

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        is_first = self.until is None and any(self.mark in word for word in command.argv)
        if is_first:
            self.until = self.clock.now() + timedelta(minutes=1)
            self.cut_after = int(self.has_worked)
        if not (is_first and self.has_worked):
            self._require_light(command)
        return await super().run(command, timeout=timeout)

    async def put(self, source: Path, target: PurePosixPath, *, timeout: timedelta = NO_LIMIT) -> None:
        self._require_light(target)
        await super().put(source, target, timeout=timeout)

    def _require_light(self, attempted: object) -> None:
        if self.until is not None and self.clock.now() < self.until:
            raise ConnectionLost(machine=self.machine, attempted=str(attempted), reason="cut")


@pytest.mark.parametrize("has_worked", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_line_that_is_cut_for_a_minute_at_any_step_costs_nothing_but_time(
    tmp_path: Path, slurm: FakeSlurm, step: str, has_worked: bool
) -> None:
    """Red on: core/runs/transfer.py: `if [ ! -e "$2" ]; then` -> `if false; then`."""
    clock = FastClock(factor=60)
    line = Dark(clock=clock, mark=STEPS[step], has_worked=has_worked)
    there = There(tmp_path, line, clock)
    (tmp_path / "large.bin").write_bytes(b"x" * 500_000)
    request = there.request(
        f'echo started >>"{tmp_path}/count"; wc -c <../inputs/large.bin >made.txt; echo said',
        inputs=inputs_of([tmp_path / "large.bin"]),
        outputs=("made.txt",),
    )
    receipt = await there.run(request)
    assert line.until is not None
    assert (receipt.succeeded, receipt.job_id) == (True, str(slurm.only_job()["number"]))
    assert (tmp_path / "count").read_text() == "started\n"
    assert (receipt.stdout.read_text(), receipt.path(receipt.outputs[0]).read_text()) == ("said\n", "500000\n")
    assert slurm.asked("scancel") == []


def on_a_small_disk(there: There, blocks: int) -> There:
    """Let nodes have so little room in every file: as many blocks of 512 bytes."""
    python = there.folder / "python"
    python.write_text(f'#!/bin/sh\nulimit -f {blocks}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    there.access = replace(there.access, settings=ClusterSettings(python=str(python)))
    return there


MANY = "touch $(seq -f %060.0f 60)"


@pytest.mark.parametrize(("blocks", "n_made"), [(0, 0), (6, 60)], ids=["before the start", "at the end"])
async def test_a_job_whose_folder_is_full_is_a_failure_that_is_run_anew_when_there_is_room(
    there: There, slurm: FakeSlurm, blocks: int, n_made: int
) -> None:
    """Red on: core/runs/jobside.py: `return REFUSED if isinstance(error, Refused) else CANNOT_WRITE` -> `return 0`."""
    request = there.request(MANY, outputs=("*",))
    receipt = await on_a_small_disk(there, blocks).run(request)
    assert (receipt.ending, receipt.exit_code) == (EndingKind.FAILED, 74)
    assert "there is no outcome file" in receipt.why
    attempt = there.runs.folder(request.key).attempt(1).at(there.access.base)
    assert len(list(Path(attempt.work).glob("0*"))) == n_made
    again = await on_a_small_disk(there, 10_000).run(request)
    assert (again.succeeded, again.attempt, len(again.outputs), len(slurm.jobs)) == (True, 2, 60, 2)


@dataclass
class Full(Line):
    """A line to a login node whose disk is full for two commands, from this one on."""

    first: int = 1

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        if self.asked + 1 in (self.first, self.first + 1):
            argv = ("sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "sh", *command.argv)
            command = replace(command, argv=argv)
        return await super().run(command, timeout=timeout)


@pytest.mark.parametrize("first", [1, 2], ids=["when files come", "when it is submitted"])
async def test_a_folder_that_is_full_before_the_submit_is_waited_for_and_makes_one_job(
    order: Order, clock: FastClock, slurm: FakeSlurm, first: int
) -> None:
    """Red on: core/slurm/commands.py: `set -eu umask 077` -> `set -u; umask 077`."""
    line = Full(first=first)
    job = await Cluster(line, clock).submit(order(), FILES)
    slurm.wait(job)
    assert (slurm.only_job()["state"], line.asked >= 4) == ("COMPLETED", True)


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


# Nearly seven seconds are what a job may take to show: a busy machine is not that late, and has looked before it does.
LEISURELY = FastClock(factor=1.5)


async def test_a_job_that_slurm_takes_late_from_an_sbatch_that_was_killed_is_the_only_one(
    order: Order, slurm: FakeSlurm, line: Line
) -> None:
    """Red on: core/slurm/cluster.py: `_SETTLED = timedelta(seconds=10)` -> `_SETTLED = timedelta()`."""
    slurm.take_late(3.5)
    job = await Cluster(line, LEISURELY).submit(order(), FILES)
    assert (slurm.only_job()["number"], len(slurm.asked("sbatch"))) == (job.number, 1)


HOURS = 3600


@pytest.mark.parametrize("ahead", [-5 * HOURS, 5 * HOURS])
async def test_a_login_nodes_clock_that_is_put_right_meanwhile_makes_no_second_job(
    order: Order, slurm: FakeSlurm, line: Line, ahead: int
) -> None:
    """Red on: core/slurm/cluster.py: `if self._clock.now() - absent_since[1] >= _SETTLED:` -> `if
    int(look.began.split()[0]) < datetime.now(tz=UTC).timestamp() - 3600 or self._clock.now() - absent_since[1] >=
    _SETTLED:`.
    """
    slurm.set_clock(ahead=ahead)
    slurm.take_late(3.5)
    submitting = asyncio.create_task(Cluster(line, LEISURELY).submit(order(), FILES))
    while not slurm.asked("sbatch"):
        await asyncio.sleep(0.01)
    slurm.set_clock(ahead=0)
    job = await submitting
    assert (slurm.only_job()["number"], len(slurm.asked("sbatch"))) == (job.number, 1)


@pytest.mark.parametrize("year", [1999, 2099])
@pytest.mark.parametrize("ahead", [-5 * HOURS, 5 * HOURS])
async def test_clocks_that_are_apart_change_nothing(tmp_path: Path, slurm: FakeSlurm, year: int, ahead: int) -> None:
    """Red on: core/runs/slurm_job.py: `waited = self._access.clock.now() - submitted if submitted else timedelta()` ->
    `waited = abs(datetime.now(tz=submitted.tzinfo) - submitted)`.
    """
    slurm.set_clock(ahead=ahead)
    slurm.set_starts(on=False)
    slurm.lose_answer("sbatch")
    there = There(tmp_path, Line(), FastClock(year=year))
    running = asyncio.create_task(there.run(there.request("echo said"), queue_limit="10m"))
    while not slurm.jobs:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    slurm.set_starts(on=True)
    receipt = await running
    assert (receipt.succeeded, receipt.job_id) == (True, str(slurm.only_job()["number"]))
    assert receipt.stdout.read_text() == "said\n"
    # When it ran is told by the node that ran it.
    assert receipt.started is not None
    assert abs(receipt.started - datetime.now(tz=UTC)) < timedelta(minutes=10)


async def test_arguments_variables_and_names_arrive_as_they_were_given(there: There) -> None:
    """Red on: core/runs/jobside.py: `for each in request["arguments"]]` -> `for each in request["arguments"] if
    each]`.
    """
    name = "it's $(id)\n.txt"
    (there.folder / name).write_text("kept")
    request = there.request(
        'for each in "$@"; do printf "%s\\0" "$each"; done >args; printf "%s" "$NASTY" >"var $(id -u)"; '
        'cat ../inputs/it* >"-- out"',
        arguments=tuple(NASTY),
        environment={"NASTY": "".join(NASTY)},
        inputs=inputs_of([there.folder / name]),
        outputs=("args", "var*", "-- out"),
    )
    receipt = await there.run(request)
    made = {each.name: os.fsdecode(receipt.path(each).read_bytes()) for each in receipt.outputs}
    said = {"args": "".join(f"{each}\0" for each in NASTY), f"var {os.getuid()}": "".join(NASTY), "-- out": "kept"}
    assert made == said
