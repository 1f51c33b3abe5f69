"""Runs on a cluster, with the fake Slurm behind it: the same life as on this machine, and the same files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import InputMissing, SlurmRefused, TransferFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.runs import clusters, slurm_job, transfer
from sluiceway.core.runs.access import Access
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.host import Waiting
from sluiceway.core.runs.messages import Metric, Progress
from sluiceway.core.runs.place import Cluster as Place
from sluiceway.core.runs.receipt import Output, RunReceipt
from sluiceway.core.runs.request import Content, RunRequest, inputs_of
from sluiceway.core.runs.run import Heard, Runs, await_end, collect, run, stage, submit
from sluiceway.core.runs.run import Line as Printed
from sluiceway.core.runs.slurm_job import SlurmJob
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.watcher import Watcher
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FastClock, Line

PLACE = Place("west")


@dataclass
class There:
    """One cluster's runs, as one process sees them."""

    folder: Path
    line: Line
    clock: FastClock
    settings: clusters.ClusterSettings = field(default_factory=clusters.ClusterSettings)
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.access = Access(
            settings=self.settings,
            shell=self.line,
            clock=self.clock,
            cluster=Cluster(self.line, self.clock),
            watcher=Watcher(self.line, self.clock),
            base=PurePosixPath(self.folder / "it's a $(base)"),
        )

    @property
    def runs(self) -> Runs:
        return Runs(home=self.folder / "home", clock=self.clock)

    def host(self, **wish: Any) -> SlurmJob:
        return SlurmJob(self.access, wish=Resources(**wish))

    def request(self, text: str, **asked: Any) -> RunRequest:
        script = self.folder / "script.sh"
        script.write_text(text)
        return RunRequest(script=Content.of(script, what="the script"), **asked)

    async def run(self, request: RunRequest, *, fresh: bool = False, **wish: Any) -> RunReceipt:
        return await run(request, runs=self.runs, host=self.host(**wish), place=PLACE, fresh=fresh, heard=self.hear)

    async def hear(self, heard: Heard) -> None:
        self.heard.append(heard)

    @property
    def kept(self) -> list[Path]:
        """The inputs that are kept on the cluster."""
        return sorted(Path(self.access.base, "inputs").glob("*"))


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An input that is kept on the cluster."""
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 2000)
    return tmp_path / "large.bin"


async def test_a_script_runs_with_its_inputs_and_its_outputs_come_back(
    there: There, large: Path, tmp_path: Path
) -> None:
    (tmp_path / "a b.txt").write_text("small")
    request = there.request(
        "mkdir sub; cat ../inputs/a\\ b.txt >sub/made.txt; cat ../inputs/large.bin >copy.bin; echo said; echo oh >&2",
        inputs=inputs_of([large, tmp_path / "a b.txt"]),
        outputs=("sub", "*.bin"),
    )
    receipt = await there.run(request)
    assert receipt.succeeded, receipt.why
    made = {each.name: receipt.path(each).read_bytes() for each in receipt.outputs}
    assert made == {"sub/made.txt": b"small", "copy.bin": large.read_bytes()}
    assert (receipt.stdout.read_text(), receipt.stderr.read_text()) == ("said\n", "oh\n")
    assert receipt.place == "west"
    assert receipt.usage is not None
    used = [receipt.usage[name] for name in ("cpus", "nodes", "peak_memory_bytes")]
    assert used == [1, "node1", 3356 << 10]


async def test_a_run_takes_two_round_trips_until_it_is_submitted(there: There) -> None:
    request = there.request("true")
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    await submit(attempt, runs=there.runs, host=there.host())
    assert there.line.asked == 2


async def test_a_large_input_is_brought_once(there: There, large: Path) -> None:
    """Red on: core/runs/transfer.py: `if [ -f "$name" ] &&` -> `if false &&`."""
    inputs = inputs_of([large])
    await there.run(there.request("true", inputs=inputs))
    (kept,) = there.kept
    # While the file has another name, its number is no other's.
    (there.folder / "held").hardlink_to(kept)
    await there.run(there.request("echo another", inputs=inputs))
    assert [each.samefile(there.folder / "held") for each in there.kept] == [True]
    assert (kept.name, kept.stat().st_mode & 0o777) == (inputs["large.bin"].digest.removeprefix("sha256:"), 0o500)


async def test_a_kept_input_that_was_cut_short_there_is_brought_again(
    there: There, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Red on: core/runs/transfer.py: `[ "$(wc -c <"$name")" -eq "$size" ]` -> `true`."""
    inputs = inputs_of([large])
    await there.run(there.request("true", inputs=inputs))
    (kept,) = there.kept
    kept.chmod(0o700)
    kept.write_bytes(b"short")
    assert (await there.run(there.request("cat ../inputs/large.bin >/dev/null", inputs=inputs))).succeeded
    assert [each.read_bytes() for each in there.kept] == [large.read_bytes()]
    assert any(each.startswith("kept input damaged") for each in caplog.messages)


async def test_a_large_input_that_has_changed_since_is_refused(there: There, large: Path) -> None:
    """Red on: core/runs/transfer.py: `if [ "${found%% *}" = "$3" ]` -> `if true`."""
    request = there.request("true", inputs=inputs_of([large]))
    large.write_bytes(b"other" * 100_000)
    with pytest.raises(InputMissing, match=r"large\.bin"):
        await there.run(request)
    assert there.kept == []


async def test_what_the_payload_says_is_heard(there: There) -> None:
    request = there.request(
        "echo line\n"
        """printf '{"kind":"progress","done":1,"of":2}\\n{"kind":"metric","name":"loss","value":0.5}\\n' \\
        >>"$SLUICEWAY_MESSAGES"\n"""
        """printf '{"kind":"result","value":{"n":3}}' >>"$SLUICEWAY_MESSAGES"\n"""
    )
    receipt = await there.run(request)
    assert receipt.value == {"n": 3}
    assert Printed(stream="stdout", text="line") in there.heard
    assert Progress(done=1, of=2) in there.heard
    assert Metric(name="loss", value=0.5) in there.heard


async def test_why_a_job_waits_is_heard(there: There, slurm: FakeSlurm) -> None:
    slurm.set_starts(on=False)
    running = asyncio.create_task(there.run(there.request("true")))
    while not slurm.jobs:
        await asyncio.sleep(0.01)
    slurm.expect_start(slurm.only_job()["number"], 2_000_000_000)
    slurm.set_state(slurm.only_job()["number"], "PENDING", reason="QOSMaxJobsPerUserLimit")
    why = "PENDING (QOSMaxJobsPerUserLimit); Slurm expects to start it at 2033-05-18 03:33:20 UTC"
    while Waiting(reason=why) not in there.heard:
        await asyncio.sleep(0.01)
    slurm.set_starts(on=True)
    assert (await running).succeeded


async def test_a_script_that_fails_is_a_failed_run_with_its_logs_and_the_next_one_a_new_attempt(there: There) -> None:
    request = there.request("echo oh >&2; exit 3")
    receipt = await there.run(request)
    assert (receipt.ending, receipt.exit_code, receipt.stderr.read_text()) == (EndingKind.FAILED, 3, "oh\n")
    again = await there.run(request)
    assert (again.attempt, again.job_id != receipt.job_id) == (2, True)


async def test_a_run_that_has_succeeded_asks_the_cluster_nothing(there: There) -> None:
    request = there.request("true")
    await there.run(request)
    before = there.line.asked
    assert (await there.run(request)).succeeded
    assert there.line.asked == before


async def test_a_run_that_is_on_its_way_is_joined_by_another_process(there: There, slurm: FakeSlurm) -> None:
    request = there.request("sleep 1; echo done")
    first = asyncio.create_task(there.run(request))
    while not slurm.jobs:
        await asyncio.sleep(0.01)
    first.cancel()
    receipt = await There(there.folder, there.line, there.clock).run(request)
    assert (receipt.attempt, receipt.stdout.read_text(), receipt.job_id) == (
        1,
        "done\n",
        str(slurm.only_job()["number"]),
    )


async def test_a_job_whose_id_is_not_known_here_is_found_by_its_name(there: There, slurm: FakeSlurm) -> None:
    request = there.request("sleep 30")
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    job = await submit(attempt, runs=there.runs, host=there.host())
    Path(attempt.folder.job).unlink()
    assert await there.host().find(attempt.folder) == job
    assert await submit(attempt, runs=there.runs, host=there.host()) == job
    slurm.only_job()


async def test_a_cancelled_job_is_a_cancelled_run(there: There, slurm: FakeSlurm) -> None:
    request = there.request("echo began; sleep 60")
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    job = await submit(attempt, runs=there.runs, host=there.host())
    slurm.wait(job, "RUNNING")
    await there.host().cancel(attempt.folder, job)
    receipt = await collect(
        attempt, await await_end(attempt, job, host=there.host()), runs=there.runs, host=there.host()
    )
    assert receipt.ending is EndingKind.CANCELLED


async def test_a_job_asks_for_what_was_wished_and_for_what_is_usual_there(there: There, slurm: FakeSlurm) -> None:
    there.access = Access(
        **{
            **{name: getattr(there.access, name) for name in Access.__slots__},
            "settings": clusters.ClusterSettings(resources=Resources(partition="long", time="1h")),
        }
    )
    request = there.request("true")
    await there.run(request, cpus=4, time="2h")
    script = Path(there.runs.folder(request.key).attempt(1).at(there.access.base).batch_script).read_text()
    assert [line for line in script.splitlines() if "cpus" in line or "time" in line or "partition" in line] == [
        '#SBATCH "--cpus-per-task=4"',
        '#SBATCH "--time=0-02:00:00"',
        '#SBATCH "--partition=long"',
    ]


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_a_connection_that_is_cut_while_results_come_back_costs_nothing_but_time(
    there: There, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_PIECE", 1000)
    request = there.request("head -c 9500 /dev/zero | tr '\\0' x >made.txt", outputs=("made.txt",))
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    job = await submit(attempt, runs=there.runs, host=there.host())
    ending = await await_end(attempt, job, host=there.host())
    setattr(there.line, cut, 3)
    receipt = await collect(attempt, ending, runs=there.runs, host=there.host())
    assert receipt.path(receipt.outputs[0]).read_bytes() == b"x" * 9500
    assert list(receipt.work.iterdir()) == [receipt.work / "made.txt"]


async def test_a_large_output_is_taken_up_where_it_broke(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red on: core/runs/transfer.py: `part.stat().st_size if part.exists() else 0` -> `0`."""
    monkeypatch.setattr(transfer, "_PIECE", 1000)
    source, target = there.folder / "made", there.folder / "home" / "made"
    source.write_bytes(b"abcdefghij" * 950)
    bringing = transfer.Transfer(there.line, there.clock)
    digest = digest_of_file(source)
    target.parent.mkdir()
    (target.parent / f".made.{digest[-16:]}").write_bytes(source.read_bytes()[:8000])
    assert await bringing.bring(PurePosixPath(source), target, digest=digest)
    assert (target.read_bytes(), there.line.asked) == (source.read_bytes(), 3)


async def test_an_output_that_was_changed_after_it_was_made_is_refused(there: There) -> None:
    """Red on: core/runs/transfer.py: `if digest is not None and found != digest:` -> `if False:`."""
    request = there.request("echo made >made.txt", outputs=("made.txt",))
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert not isinstance(attempt, RunReceipt)
    job = await submit(attempt, runs=there.runs, host=there.host())
    ending = await await_end(attempt, job, host=there.host())
    Path(attempt.folder.at(there.access.base).output("made.txt")).write_text("other")
    with pytest.raises(TransferFailed, match="when it was made"):
        await collect(attempt, ending, runs=there.runs, host=there.host())


async def test_what_is_to_be_left_stays_there_and_is_told_with_its_digest(there: There) -> None:
    """Red on: core/runs/request.py: `is OutputType.LEFT for each in patterns` -> `is None for each in patterns`."""
    text = "mkdir big; echo large >big/a.bin; echo also >big/b.bin; echo small >c.txt"
    request = there.request(text, **declaring(["big/*.bin:left", "big/b*:file", "c*:left", "c.txt"]))
    receipt = await there.run(request)
    (left,) = receipt.left
    assert ([each.name for each in receipt.outputs], left.name) == (["big/b.bin", "c.txt"], "big/a.bin")
    assert (Path(left.path).read_text(), digest_of_file(Path(left.path))) == ("large\n", left.digest)
    assert not receipt.path(Output(name=left.name, digest=left.digest, size=left.size)).exists()
    (said,) = manifests.read(receipt.manifest).warnings or ()
    assert said == f"'big/a.bin' was left on west: {left.path!r}, 6 bytes, {left.digest}"
    asked = there.line.asked
    assert (await there.run(request), there.line.asked) == (receipt, asked)


async def test_small_inputs_travel_with_the_job_as_long_as_there_is_room(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_job, "_ALL_SMALL", 10)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"four{number}"[:4] + str(number))
    request = there.request("cat ../inputs/*", inputs=inputs_of(sorted(tmp_path.glob("?.txt"))))
    receipt = await there.run(request)
    assert receipt.stdout.read_text() == "four0four1four2"
    assert len(there.kept) == 1


async def test_what_slurm_refuses_is_asked_anew_with_other_resources(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/slurm_job.py: `"ended": self._access` -> `"at": self._access`."""
    request = there.request("true")
    slurm.refuse("sbatch: error: Memory specification can not be satisfied")
    with pytest.raises(SlurmRefused, match="Memory specification"):
        await there.run(request, memory="900G")
    receipt = await there.run(request, memory="1G")
    assert (receipt.succeeded, receipt.attempt) == (True, 2)
    attempt = there.runs.folder(request.key).attempt(2)
    assert "--mem=1024M" in Path(attempt.at(there.access.base).batch_script).read_text()


async def test_an_attempt_that_was_staged_and_left_asks_for_what_is_wished_now(there: There) -> None:
    request = there.request("true")
    await stage(request, runs=there.runs, host=there.host(memory="900G"), place=PLACE)
    receipt = await there.run(request, memory="1G")
    assert (receipt.succeeded, receipt.attempt) == (True, 1)
    attempt = there.runs.folder(request.key).attempt(1)
    assert there.host().spec(attempt).resources.options == ("--mem=1024M",)


async def test_a_job_that_waits_too_long_is_given_up_and_says_so(there: There, slurm: FakeSlurm) -> None:
    slurm.set_starts(on=False)
    receipt = await there.run(there.request("true"), queue_limit="1m")
    assert receipt.ending is EndingKind.CANCELLED
    assert "it had waited in the queue for 0-00:01:00" in receipt.why


async def test_a_job_is_given_up_when_slurm_answers_again(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/slurm_job.py: `await self._ask_slurm(commands.give_up(job))` -> `await
    self._transfer.ask(commands.give_up(job))`.
    """
    slurm.set_starts(on=False)
    running = asyncio.create_task(there.run(there.request("true"), queue_limit="1m"))
    while not slurm.jobs:
        await asyncio.sleep(0.01)
    slurm.set_controller(up=False)
    while not slurm.asked("scancel"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    slurm.set_controller(up=True)
    async with asyncio.timeout(60):
        assert (await running).ending is EndingKind.CANCELLED


async def test_time_in_which_a_job_runs_is_not_time_in_the_queue(there: There) -> None:
    receipt = await there.run(there.request("sleep 2; echo done"), queue_limit="20s")
    assert (receipt.succeeded, receipt.stdout.read_text()) == (True, "done\n")


async def test_a_job_whose_dependency_can_never_be_met_ends_and_says_so(there: There) -> None:
    failed = await there.run(there.request("exit 3"))
    receipt = await there.run(there.request("echo never"), dependency=f"afterok:{failed.job_id}")
    assert receipt.ending is EndingKind.CANCELLED
    assert "DependencyNeverSatisfied" in receipt.why


async def test_components_ask_for_what_is_usual_there_too(there: There) -> None:
    usual = Resources(partition="long", memory="1G", queue_limit="1h")
    settings = clusters.ClusterSettings(resources=usual)
    asked = settings.resources_for(Resources.model_validate({"cpus": 2, "components": [{"memory_per_cpu": "2G"}]}))
    assert [each.options for each in asked.components] == [("--mem-per-cpu=2048M", "--partition=long")]
    assert asked.queue_limit == usual.queue_limit
