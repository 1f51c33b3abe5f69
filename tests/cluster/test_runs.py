"""Runs on the real Slurm: with their files there and back, once whoever dies, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import SlurmRefused
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import listing, run
from sluiceway.core.runs.access import Access, access_to
from sluiceway.core.runs.hosts import cluster_named, host_at, runs_here
from sluiceway.core.runs.messages import Progress
from sluiceway.core.runs.place import Cluster
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import Content, RunRequest, inputs_of
from sluiceway.core.runs.run import Heard, Line
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from tests.conftest import ROOT, User
from tests.wire.slurm.killed import live

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from sluiceway.deployments.devcluster.cluster import Devcluster

PLACE = Cluster("west")
# How accounting speaks of a job whose end it has not heard of.
ON_THE_WAY = ("allocation", "PENDING", "RUNNING", "COMPLETING")
TOML = """
[clusters.west]
host = "{name}"
ssh_config = "{config}"
use_agent = false
base = "{base}"
python = "/usr/bin/python3"
"""


@dataclass
class There:
    """The devcluster's runs, as one user has them."""

    folder: Path
    shell: SshShell
    heard: list[Heard] = field(default_factory=list)

    def request(self, text: str, **asked: Any) -> RunRequest:
        script = self.folder / "script.sh"
        # A run is known by its content, in all of Slurm: each test has its own.
        script.write_text(f"# {secrets.token_hex(8)}\n{text}")
        return RunRequest(script=Content.of(script, what="the script"), **asked)

    async def run(self, request: RunRequest, **wish: Any) -> RunReceipt:
        runs = runs_here()
        async with host_at(PLACE, runs, wish=Resources(**wish)) as host:
            return await run.run(request, runs=runs, host=host, place=PLACE, heard=self.hear)

    async def hear(self, heard: Heard) -> None:
        self.heard.append(heard)

    async def until(self, line: str) -> None:
        """Wait until the job has printed this line."""
        async with asyncio.timeout(60):
            while Line(stream="stdout", text=line) not in self.heard:
                await asyncio.sleep(0.05)

    async def jobs(self, request: RunRequest) -> list[str]:
        """Every job of a request's first attempts that accounting knows, with its state."""
        names = ",".join(runs_here().folder(request.key).attempt(number).token for number in (1, 2))
        asked = Command.of("sacct", "-n", "-X", "-P", "-S", "now-1hour", f"--name={names}", "--format=JobID,State")
        return (await self.shell.run(asked)).require_success().text.splitlines()

    async def settled(self, request: RunRequest) -> list[str]:
        """The same, once accounting knows how each ended: by name that takes it some seconds."""
        await self._accounted(request)
        # A second job, were there one, would be known by then.
        await asyncio.sleep(2)
        return await self._accounted(request)

    async def _accounted(self, request: RunRequest) -> list[str]:
        async with asyncio.timeout(90):
            while not (found := await self.jobs(request)) or any(each in str(found) for each in ON_THE_WAY):
                await asyncio.sleep(0.2)
        return found

    async def access(self) -> Access:
        """The open way that runs of this loop take."""
        return await access_to(await cluster_named("west"), SystemClock())


@pytest.fixture
def there(user: User, shell: SshShell, folder: PurePosixPath, devcluster: Devcluster) -> There:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    plan = devcluster.plan
    text = TOML.format(name=plan.name, config=plan.folder.ssh_config, base=folder / "base")
    user.write("home/clusters.toml", text)
    return There(user.folder, shell)


async def test_a_script_runs_with_its_inputs_and_its_outputs_come_back(there: There) -> None:
    data = there.folder / "data"
    data.mkdir()
    (data / "large.bin").write_bytes(os.urandom(10_000_000))
    (data / "a b").write_text("small")
    request = there.request(
        "mkdir -p made/sub; cp ../inputs/data/large.bin made/sub; cat '../inputs/data/a b'; hostname >made/host\n"
        """printf '{"kind":"progress","done":1,"of":2}\\n' >>"$SLUICEWAY_MESSAGES"; sleep 1""",
        inputs=inputs_of([data]),
        outputs=("made",),
    )
    receipt = await there.run(request, cpus=2, memory="200M", time="5m")
    assert receipt.succeeded, receipt.why
    assert receipt.path(receipt.outputs[1]).read_bytes() == (data / "large.bin").read_bytes()
    assert receipt.path(receipt.outputs[0]).read_text().strip() == receipt.host
    assert receipt.stdout.read_text() == "small"
    assert Progress(done=1, of=2) in there.heard
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]


NASTY = ["a b", "it's", '"', "$(id)", "`id`", "-n", "two\nlines", "tab\t", "\\", "caf\udce9", "*", ""]


async def test_arguments_variables_and_names_arrive_as_they_were_given(there: There) -> None:
    (there.folder / "it's $(id)\n.txt").write_text("kept")
    request = there.request(
        'for each in "$@"; do printf "%s\\0" "$each"; done >args; printf "%s" "$NASTY" >var; cat ../inputs/it* >out',
        arguments=tuple(NASTY),
        environment={"NASTY": "".join(NASTY)},
        inputs=inputs_of([there.folder / "it's $(id)\n.txt"]),
        outputs=("args", "var", "out"),
    )
    receipt = await there.run(request)
    made = {each.name: os.fsdecode(receipt.path(each).read_bytes()) for each in receipt.outputs}
    assert made == {"args": "".join(f"{each}\0" for each in NASTY), "var": "".join(NASTY), "out": "kept"}


@pytest.mark.parametrize(
    "step", ["attempt intended", "job submitted, answer lost", "job submitted", "job ended", "outputs collected"]
)
async def test_a_run_that_is_killed_is_one_job_with_the_right_result(there: There, step: str) -> None:
    """Red on: core/runs/run.py: `return folder.attempt(last.number + 1) if is_over else last` ->
    `return folder.attempt(last.number + 1)`.
    """
    (there.folder / "large.bin").write_bytes(b"x" * 500_000)
    request = there.request("sleep 1; wc -c <../inputs/large.bin >made.txt; echo said", outputs=("made.txt",))
    command = [sys.executable, "-m", "tests.wire.slurm.killed", str(there.folder), step]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    receipt = await live(there.folder)
    assert (receipt.succeeded, receipt.attempt) == (True, 1)
    assert (receipt.stdout.read_text(), receipt.path(receipt.outputs[0]).read_text()) == ("said\n", "500000\n")
    request = RunRequest(script=request.script, inputs=inputs_of([there.folder / "large.bin"]), outputs=("made.txt",))
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]


async def test_a_failed_script_is_a_failed_run_with_its_logs(there: There) -> None:
    receipt = await there.run(there.request("echo oh >&2; exit 3"))
    assert (receipt.ending, receipt.exit_code, receipt.stderr.read_text()) == (EndingKind.FAILED, 3, "oh\n")


async def test_a_job_that_goes_over_its_memory_is_told_as_that(there: There) -> None:
    request = there.request("exec /usr/bin/python3 -c 'import time; held = bytearray(400 << 20); time.sleep(30)'")
    receipt = await there.run(request, memory="100M")
    assert receipt.ending is EndingKind.OUT_OF_MEMORY, receipt.why


async def test_what_slurm_refuses_is_told_in_its_words(there: There) -> None:
    with pytest.raises(SlurmRefused, match="Memory specification can not be satisfied"):
        await there.run(there.request("true"), memory="900G")


async def test_a_cancelled_run_is_cancelled_there_and_the_next_one_is_another_attempt(there: There) -> None:
    request = there.request('echo began; [ -e "$1" ] || sleep 100', arguments=("/etc/hostname-not",))
    running = asyncio.create_task(there.run(request))
    await there.until("began")
    runs = runs_here()
    attempt, _ = listing.attempt_of(runs, request.key)
    async with host_at(PLACE, runs) as host:
        job = await host.find(attempt)
        assert job is not None
        await run.cancel(attempt, job, runs=runs, host=host)
    receipt = await running
    assert receipt.ending is EndingKind.CANCELLED
    assert [each.partition("|")[2].split()[0] for each in await there.settled(request)] == ["CANCELLED"]
    assert run.plan(request, runs=runs) == (2, "start")


async def test_a_connection_that_dies_under_a_run_costs_nothing_but_time(there: There) -> None:
    """Red on: core/remote/ssh.py: `if self._connection is not None and not self._connection.is_closed():` -> `if
    self._connection is not None:`.
    """
    lines = "; ".join(f"echo line {number}; sleep 0.3" for number in range(20))
    request = there.request(f"{lines}; head -c 9000000 /dev/zero >made.bin", outputs=("made.bin",))
    running = asyncio.create_task(there.run(request))
    access = await there.access()
    for number in (2, 8):
        await there.until(f"line {number}")
        session = (await access.shell.run(Command.script("echo $PPID"))).text.strip()
        os.kill(int(session), signal.SIGKILL)
    killing = asyncio.create_task(_kill_every_session(access, running))
    receipt = await running
    await killing
    assert receipt.succeeded, receipt.why
    assert receipt.stdout.read_text().split("\n")[:-1] == [f"line {number}" for number in range(20)]
    assert [each.text for each in there.heard if isinstance(each, Line)] == [f"line {n}" for n in range(20)]
    assert receipt.outputs[0].size == 9_000_000
    assert await there.settled(request) == [f"{receipt.job_id}|COMPLETED"]


async def _kill_every_session(access: Access, running: asyncio.Task[RunReceipt]) -> None:
    """Cut the connection again and again, three times."""
    for _ in range(3):
        await asyncio.sleep(1)
        if not running.done():
            told = await access.shell.run(Command.script("echo $PPID"), timeout=timedelta(seconds=60))
            os.kill(int(told.text), signal.SIGKILL)


async def test_a_server_that_stands_still_for_some_seconds_is_waited_for(there: There) -> None:
    """Red on: core/slurm/watcher.py: `await self._shell.run(command, timeout=_ANSWER_LIMIT)` -> `await
    asyncio.wait_for(self._shell.run(command), 2)`.
    """
    request = there.request("echo began; sleep 4; echo done")
    running = asyncio.create_task(there.run(request))
    await there.until("began")
    session = int((await (await there.access()).shell.run(Command.script("echo $PPID"))).text)
    os.kill(session, signal.SIGSTOP)
    await asyncio.sleep(6)
    os.kill(session, signal.SIGCONT)
    assert (await running).stdout.read_text() == "began\ndone\n"
