"""Dask on the real Slurm: beside a payload on several nodes, and as jobs that come and go with the work.

Where somebody kills, cancels or runs out of time, the right outcome comes back, and no process stays behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.genetics import ranges as range_plan
from sluiceway.core.genetics.reference import Scorer
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.single import SingleLauncher
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import cluster_named, runs_here
from sluiceway.core.runs.messages import Link, LogLine
from sluiceway.core.runs.place import Dask
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.request import RunRequest, inputs_of
from sluiceway.core.runs.run import Line
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.dask_cluster import dask_client, dask_cluster
from sluiceway.tasks.dask_ranges import DaskRangesAway
from sluiceway.tasks.launch import Engine, start_dask
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.cluster.test_score_array import python as python  # noqa: PLC0414 - a fixture
from tests.engines import environment_with

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

SUM = """
import json, os, sys, time
from distributed import Client
with Client() as client:
    workers = client.scheduler_info()["workers"].values()
    print(json.dumps({each["name"]: [each["nthreads"], each["memory_limit"], each["resources"]] for each in workers}))
    print("begun", flush=True)
    work = client.map(lambda n: (time.sleep(float(os.environ.get("EACH", "0.02"))), n * n)[1], range(300), pure=False)
    total = sum(client.gather(work))
    ran = {name for each in client.who_has(work).values() for name in each}
    print(json.dumps([total, len(ran)]))
"""
TABLES = ("out/scores.parquet", "out/distributions.parquet", "out/quality.parquet")
TOTAL = sum(n * n for n in range(300))
JOBS = """
dask_interface = "lo"
busy_poll_seconds = 0.5
longest_poll_seconds = 2
resources = {{ cpus = 2, memory = "{memory}", time = "10m" }}
"""


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A user of the devcluster with a Python that has Dask."""

    there: There
    devcluster: Devcluster
    python: Path

    def request(self, text: str, launcher: Any = None, **variables: str) -> RunRequest:
        path = f"{self.python.parent}:/usr/bin:/bin"
        script = f"exec python3 - <<'END'\n{text}\nEND\n" if "\nimport " in text else text
        # Requests that are made at once have a script each.
        folder = self.there.folder / secrets.token_hex(4)
        folder.mkdir()
        told = {"PATH": path, **variables}
        return replace(self.there, folder=folder).request(script, launcher=launcher or DaskLauncher(), environment=told)

    def attempt(self, request: RunRequest) -> Path:
        folder = runs_here().folder(request.key).attempt(1)
        (home,) = {each.parent.parent.parent for each in self.home.glob(f"**/runs/{folder.run.name}/a1")}
        return home / "runs" / folder.run.name / "a1"

    @property
    def home(self) -> Path:
        return self.devcluster.plan.folder.home

    def connection(self, request: RunRequest) -> dict[str, Any]:
        return dict(json.loads((self.attempt(request) / "engine/connection.json").read_bytes()))

    def living(self, request: RunRequest) -> list[str]:
        """What runs of it on any node, by what only it has in its environment."""
        return with_mark(f"SLUICEWAY_CONTEXT={self.attempt(request)}/context.json")

    async def cancel(self, request: RunRequest) -> None:
        program, name = str(Path(sys.executable).with_name("sluiceway")), runs_here().folder(request.key).run_id
        await asyncio.to_thread(lambda: subprocess.run([program, "cancel", name], check=True, capture_output=True))

    async def left_no_process(self, request: RunRequest) -> None:
        async with asyncio.timeout(60):
            while self.living(request):
                await asyncio.sleep(0.2)

    async def left_nothing_that_stays(self, request: RunRequest) -> None:
        """What Slurm killed at once may have left its folder, until another part of an engine begins on that node."""
        await self.left_no_process(request)
        for node in {each["node"] for each in self.connection(request)["nodes"] if Path(each["tmp"]).exists()}:
            await self.begin_another_part(request, node)
        await self.left_nothing(request)

    async def begin_another_part(self, request: RunRequest, node: str) -> None:
        """Begin and end a part of another engine."""
        order = {"argv": ["true"], "env": {}, "node": node, "log": "/dev/null", "ports": 0, "share": 1, "sync": ""}
        program = self.attempt(request) / "launch/holder.py"
        words = ["srun", f"--nodelist={node}", "--mem=200M", "--time=2", "/usr/bin/python3", "-I", str(program)]
        asked = Command.of(*words, json.dumps({**order, "only": [], "grace": 1}))
        (await self.there.shell.run(asked)).require_success()

    async def left_nothing(self, request: RunRequest) -> None:
        await self.left_no_process(request)
        folders = [Path(each["tmp"]) for each in self.connection(request)["nodes"]]
        assert [each for each in folders if each.exists()] == []


def with_mark(mark: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
        except OSError:
            continue
    return found


def held_mark(engine: Engine) -> str:
    """What all that belongs to a held engine has in its environment: jobs of other clusters may have the same id."""
    return f"SLUICEWAY_CONTEXT={Path(engine.connection.nodes[0]['log']).parent.parent}/context.json"


@pytest.fixture(scope="session")
def dask_python() -> Path:
    """A Python with Dask alone, whatever the version of the one that runs the tests."""
    return environment_with("distributed")


@pytest.fixture
def launched(there: There, devcluster: Devcluster, dask_python: Path) -> Launched:
    return Launched(there=there, devcluster=devcluster, python=dask_python)


def said(receipt: RunReceipt) -> list[Any]:
    lines = receipt.stdout.read_text().splitlines()
    return [json.loads(each) for each in lines if each.startswith(("[", "{"))]


async def test_three_nodes_join_each_works_and_has_what_was_declared(launched: Launched) -> None:
    text = f'{SUM}\nprint(os.popen("scontrol show job -o $SLURM_JOB_ID").read())'
    request = launched.request(text)
    receipt = await launched.there.run(request, nodes=3, cpus=2, memory="1200M", time="5m")
    assert receipt.succeeded, receipt.stderr.read_text()
    workers, (total, ran) = said(receipt)
    offered = {"cpus": 2.0, "memory": float(1200 << 20), "gpus": 0.0}
    names = [each.name for each in launched.devcluster.plan.nodes]
    assert set(workers) <= set(names)
    assert list(workers.values()) == [[2, 1200 << 20, offered]] * 3
    assert (total, ran) == (TOTAL, 3)
    slurm = receipt.stdout.read_text()
    assert "TRES=cpu=6,mem=3600M,node=3" in slurm
    assert "MinCPUsNode=2 MinMemoryNode=1200M" in slurm
    await launched.left_nothing(request)


@pytest.mark.nightly
async def test_gpus_reach_slurm_and_dask(launched: Launched) -> None:
    text = f'{SUM}\nprint(os.popen("scontrol show job -d -o $SLURM_JOB_ID").read())'
    receipt = await launched.there.run(
        launched.request(text, DaskLauncher(threads=1, resources={"licence": 1})), gpus=2, memory="1G", time="5m"
    )
    workers, (total, _) = said(receipt)
    ((threads, _, offered),) = workers.values()
    assert (threads, offered["gpus"], offered["licence"], total) == (1, 2.0, 1.0, TOTAL)
    assert "gres/gpu=2" in receipt.stdout.read_text()


@pytest.mark.nightly
async def test_a_worker_that_is_killed_changes_no_result_and_a_node_that_leaves_is_told(launched: Launched) -> None:
    """Red on: core/launch/nodeside.py: `say(kind="log", text=text, level="warning")` -> `pass`."""
    request = launched.request(SUM, DaskLauncher(nanny=False), EACH="0.1")
    running = asyncio.create_task(launched.there.run(request, nodes=3, cpus=1, memory="900M", time="5m"))
    await launched.there.until("begun")
    *_, last = launched.connection(request)["nodes"]
    await asyncio.sleep(1)
    os.kill(last["pid"], signal.SIGKILL)
    receipt = await running
    assert receipt.succeeded
    assert said(receipt)[1][0] == TOTAL
    told = [each.text for each in launched.there.heard if isinstance(each, LogLine)]
    assert [each for each in told if f"{last['part']} on node {last['node']} has left the dask cluster" in each]
    await launched.left_nothing(request)


@pytest.mark.nightly
async def test_a_worker_that_is_killed_is_started_again_by_its_nanny(launched: Launched) -> None:
    """Red on: core/launch/dask_side.py: `"--nanny" if options` -> `"--no-nanny" if options`."""
    request = launched.request(SUM, EACH="0.1")
    running = asyncio.create_task(launched.there.run(request, nodes=2, cpus=1, memory="900M", time="5m"))
    await launched.there.until("begun")
    await asyncio.sleep(1)
    *_, last = launched.connection(request)["nodes"]
    children = Path(f"/proc/{last['pid']}/task/{last['pid']}/children").read_text().split()
    assert children
    for each in children:
        os.kill(int(each), signal.SIGKILL)
    receipt = await running
    assert (receipt.succeeded, said(receipt)[1][0]) == (True, TOTAL)
    assert "lost" not in launched.connection(request)


@pytest.mark.nightly
async def test_the_payloads_exit_code_comes_back_and_a_node_that_cannot_start_is_told(launched: Launched) -> None:
    failing = launched.request("exit 7\n")
    receipt = await launched.there.run(failing, nodes=2, memory="900M", time="5m")
    assert (receipt.exit_code, receipt.ending) == (7, EndingKind.FAILED)
    await launched.left_nothing(failing)
    logs = {each["part"]: Path(each["log"]).read_text() for each in launched.connection(failing)["nodes"]}
    assert len(logs) == 3
    assert "Scheduler at" in logs.pop("scheduler")
    assert [each for each in logs.values() if "Start worker at" not in each] == []
    broken = DaskLauncher(resources={"not a resource": 1})
    request = launched.request("touch ran\n", broken)
    receipt = await launched.there.run(request, nodes=2, memory="900M", time="5m")
    assert receipt.exit_code == 69
    assert re.search(r"on node \S+ did not start: it ended with exit code", receipt.stderr.read_text())
    assert "ValueError" in receipt.stderr.read_text()


@pytest.mark.nightly
async def test_a_run_that_is_cancelled_leaves_no_process(launched: Launched) -> None:
    request = launched.request(SUM, EACH="10")
    running = asyncio.create_task(launched.there.run(request, nodes=3, memory="900M", time="5m"))
    await launched.there.until("begun")
    assert len(launched.living(request)) > 6
    await launched.cancel(request)
    assert (await running).ending is EndingKind.CANCELLED
    await launched.left_nothing(request)
    assert "Worker" in (launched.attempt(request) / "engine/scheduler.log").read_text()


@pytest.mark.nightly
async def test_the_payload_is_warned_of_the_time_limit_and_dask_is_not(launched: Launched) -> None:
    text = """
import signal, sys, time
from distributed import Client
client = Client()
def warned(*_):
    print("warned", client.submit(sum, [1, 2]).result(), flush=True)
    sys.exit(3)
signal.signal(signal.SIGUSR1, warned)
print("begun", flush=True)
time.sleep(600)
"""
    request = launched.request(text)
    running = asyncio.create_task(launched.there.run(request, nodes=2, memory="900M", time="2m", warning="115s"))
    receipt = await running
    assert "warned 3" in receipt.stdout.read_text()
    assert receipt.exit_code == 3
    await launched.left_nothing(request)


@pytest.mark.nightly
async def test_two_jobs_on_one_node_have_a_cluster_each_and_one_that_is_cancelled_ends_no_other(
    launched: Launched,
) -> None:
    text = """
import os, time
from distributed import Client
with Client() as client:
    print("begun", flush=True)
    while not os.path.exists(os.path.join(os.path.dirname(os.environ["SLUICEWAY_CONTEXT"]), "go")):
        time.sleep(0.2)
    print(client.submit(sum, range(10), pure=False).result(), list(client.run(os.getpid).values()))
"""
    stays, cancelled = launched.request(text), launched.request(text)
    wish: dict[str, Any] = {"nodelist": launched.devcluster.plan.nodes[1].name, "cpus": 1, "memory": "900M"}
    running = [asyncio.create_task(launched.there.run(each, time="5m", **wish)) for each in (stays, cancelled)]
    async with asyncio.timeout(100):
        while launched.there.heard.count(Line(stream="stdout", text="begun")) < 2:
            await asyncio.sleep(0.1)
    assert len({launched.connection(each)["address"] for each in (stays, cancelled)}) == 2
    await launched.cancel(cancelled)
    assert (await running[1]).ending is EndingKind.CANCELLED
    await launched.left_nothing(cancelled)
    (launched.attempt(stays) / "go").touch()
    receipt = await running[0]
    assert re.fullmatch(r"begun\n45 \[\d+\]\n", receipt.stdout.read_text())
    assert "lost" not in launched.connection(stays)
    await launched.left_nothing(stays)


@pytest.mark.nightly
async def test_nothing_outlives_a_launcher_that_is_killed_on_its_node(launched: Launched) -> None:
    """Red on: core/launch/holder.py: `shutil.rmtree(folder, ignore_errors=True)` -> `pass`."""
    request = launched.request(SUM, EACH="10")
    running = asyncio.create_task(launched.there.run(request, nodes=3, memory="900M", time="5m"))
    await launched.there.until("begun")
    os.kill(launched.connection(request)["pid"], signal.SIGKILL)
    receipt = await running
    assert receipt.signal == "KILL" or receipt.exit_code == 137
    await launched.left_nothing_that_stays(request)


@pytest.mark.nightly
async def test_a_dashboard_on_a_node_is_opened_from_here_until_somebody_has_seen_enough(launched: Launched) -> None:
    """Red on: core/launch/opened.py: `netloc=f"{host}:{port}"` -> `netloc=parts.netloc`."""
    request = launched.request(SUM, EACH="0.1")
    running = asyncio.create_task(launched.there.run(request, nodes=2, memory="900M", time="5m"))
    await launched.there.until("begun")
    program, name = str(Path(sys.executable).with_name("sluiceway")), runs_here().folder(request.key).run_id
    words = [program, "jobs", "open", name]
    opened = await asyncio.to_thread(lambda: subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    assert opened.stdout is not None
    url = (await asyncio.to_thread(opened.stdout.readline)).strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/status", url)
    answer = await asyncio.to_thread(urllib.request.urlopen, url.replace("status", "json/counts.json"))
    assert json.loads(answer.read())["workers"] == 2
    opened.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(opened.wait, 20) == 0
    assert (await running).succeeded
    assert [each.url for each in launched.there.heard if isinstance(each, Link)] == [
        launched.connection(request)["dashboard"]
    ]


@pytest.mark.nightly
async def test_tasks_of_a_single_payload_are_started_by_srun_on_all_nodes(launched: Launched) -> None:
    launcher = SingleLauncher(tasks=4)
    request = launched.request('echo "$SLURM_PROCID $SLURM_NTASKS $(hostname)"\n', launcher)
    receipt = await launched.there.run(request, nodes=2, tasks=4, memory="300M", time="5m")
    lines = sorted(receipt.stdout.read_text().splitlines())
    assert [each.split()[:2] for each in lines] == [[str(number), "4"] for number in range(4)]
    assert len({each.split()[2] for each in lines}) == 2


@pytest.mark.nightly
async def test_a_flow_holds_a_cluster_in_an_allocation_over_several_steps(launched: Launched) -> None:
    wish = Resources(nodes=2, cpus=1, memory="900M", time="5m")
    async with await start_dask.fn("west", resources=wish, python=str(launched.python), threads=1) as engine:
        assert engine.address.startswith("tcp://127.0.0.1:")
        assert engine.inside != engine.address
        for number in range(2):
            assert await asyncio.to_thread(used, engine.address, number) == (2, number + 2)
        step = "import os; print(os.environ['DASK_SCHEDULER_ADDRESS'])"
        beside = await engine.run(Command.of(str(launched.python), "-c", step))
        assert beside.require_success().text == f"{engine.inside}\n"
        mark = held_mark(engine)
        assert len(with_mark(mark)) > 4
    async with asyncio.timeout(20):
        while with_mark(mark):
            await asyncio.sleep(0.2)


def used(address: str, number: int) -> tuple[int, int]:
    with dask_client(address, name="west") as client:
        return len(client.scheduler_info()["workers"]), client.submit(sum, [number, 2]).result()


# --- as jobs, beside a scheduler on the login node


@pytest.fixture
def jobs(launched: Launched, python: Path) -> Iterator[Callable[..., list[str]]]:
    """The cluster's settings name a Python that has dask-jobqueue; gives the worker jobs there are."""
    file = launched.there.folder / "home/clusters.toml"
    text = file.read_text().replace('"/usr/bin/python3"', f'"{python}"')
    file.write_text(text + JOBS.format(memory="700M"))
    yield lambda form="%i": queue(launched, form)
    assert queue(launched, "%i") == []


def queue(launched: Launched, form: str) -> list[str]:
    return on_login(launched, f"squeue -h -t R,PD -o '{form} %j' | grep sw-dask | sed 's/ sw-dask.*//'").splitlines()


def on_login(launched: Launched, text: str) -> str:
    plan = launched.devcluster.plan
    command = ["ssh", "-F", str(plan.folder.ssh_config), plan.name, text]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def until(found: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_workers_come_as_jobs_while_there_is_work_and_go_when_there_is_none(
    launched: Launched, jobs: Callable[..., list[str]]
) -> None:
    with (
        dask_cluster(Dask(cluster="west"), workers=3, find=cluster_named) as found,
        dask_client(found.address, name="west") as client,
    ):
        assert found.address.startswith("tcp://127.0.0.1:")
        work = client.map(lambda n: (time.sleep(1), n)[1], range(60), pure=False)  # type: ignore[func-returns-value]
        until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 3)
        (limits,) = {tuple(each.split()) for each in jobs("%C %m")}
        assert limits == ("2", "700M")
        offered = [each["resources"] for each in client.scheduler_info(n_workers=-1)["workers"].values()]
        assert offered == [{"cpus": 2.0, "memory": float(700 << 20), "gpus": 0.0}] * 3
        assert sum(client.gather(work)) == sum(range(60))
        del work
        until(lambda: len(jobs()) == 1)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_gpus_of_the_settings_reach_slurm_and_each_worker(launched: Launched, jobs: Callable[..., list[str]]) -> None:
    file = launched.there.folder / "home/clusters.toml"
    file.write_text(file.read_text().replace('time = "10m"', 'time = "10m", gpus = 1'))
    with (
        dask_cluster(Dask(cluster="west"), workers=2, find=cluster_named) as found,
        dask_client(found.address, name="west") as client,
    ):
        offered: dict[str, float] = {"gpus": 1}
        work = client.map(lambda n: (time.sleep(1), n)[1], range(20), pure=False, resources=offered)  # type: ignore[func-returns-value]
        until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 2)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [each["resources"]["gpus"] for each in workers] == [1.0, 1.0]
        shown = [on_login(launched, f"scontrol show job -d -o {each}") for each in jobs()]
        assert [re.findall(r"TRES=\S*(gres/gpu=\d+)", each) for each in shown] == [["gres/gpu=1"]] * 2
        assert {each for text in shown for each in re.findall(r"GRES=gpu\S*IDX:(\d+)", text)} == {"0", "1"}
        given = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert set(given.values()) <= {"0", "1"}
        # A worker has two threads, and tasks that ask for its one GPU come one after the other.
        assert max((len(each) for each in client.call_stack().values()), default=0) <= 1
        assert sum(client.gather(work)) == sum(range(20))


def score(launched: Launched, out: str, *words: str, within: tuple[str, ...] = ()) -> list[bytes]:
    program = str(Path(sys.executable).with_name("sluiceway"))
    asked = ["score", "--panel", "panels/small", "--scores", "scores", "--limit", "14", "--no-cache", "--out", out]
    done = subprocess.run(
        [*within, program, *asked, *words], cwd=launched.there.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(launched.there.folder / out / name.partition("/")[2]).read_bytes() for name in TABLES]


@pytest.fixture
def panel(launched: Launched) -> Path:
    here, there = launched.there.folder / "panels", launched.home / f"panels-{os.getpid()}-{time.monotonic_ns()}"
    for folder in (here, there):
        folder.mkdir()
        make_panel(folder / "small", variants=2_000, people=30)
    make_scores(launched.there.folder / "scores", here / "small")
    file = launched.there.folder / "home/clusters.toml"
    file.write_text(f'{file.read_text()}\npanels = {{ "{here}" = "{there}" }}\n')
    return there


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_scores_of_jobs_have_the_bits_of_this_machine(
    launched: Launched, jobs: Callable[..., list[str]], panel: Path
) -> None:
    assert score(launched, "away", "--on", "dask@west", "--workers", "2") == score(launched, "local")
    assert json.loads((launched.there.folder / "away/manifest.json").read_text())
    assert list(launched.home.glob("**/dask-batches/*")) == []


def kill_at_work(launched: Launched, client: Any) -> list[str]:
    """Kill the one worker while it is at ranges, and then its job; give the ranges."""
    (pid,), (job,) = client.run(os.getpid).values(), client.run(os.getenv, "SLURM_JOB_ID").values()
    until(lambda: any(client.processing().values()))
    os.kill(pid, signal.SIGSTOP)
    (at_work,) = [each for each in client.processing().values() if each]
    os.kill(pid, signal.SIGKILL)
    on_login(launched, f"scancel {job}")
    return list(at_work)


@pytest.mark.nightly
@pytest.mark.timeout(200)
def test_ranges_of_a_job_that_is_killed_run_again_in_another(
    launched: Launched, jobs: Callable[..., list[str]], panel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red on: tasks/dask_ranges.py: `pure=False, key="score_range")` ->
    `pure=False, key="score_range", workers=sorted(client.scheduler_info()["workers"])[0])`.
    """
    monkeypatch.setattr(range_plan, "_SMALLEST", 64)

    def tables(out: str, scorer: Scorer | None = None) -> list[bytes]:
        asked = Asked(panel=Path("panels/small"), scores=(Path("scores"),), out=Path(out), limit=14, use_cache=False)
        ReferenceScoring(asked, clock=SystemClock(), scorer=scorer).run()
        return [Path(name.replace("out", out)).read_bytes() for name in TABLES]

    with (
        ThreadPoolExecutor() as pool,
        dask_cluster(Dask(cluster="west"), workers=1, find=cluster_named) as found,
        dask_client(found.address, name="west") as client,
        dask_client(found.address, name="west") as watching,
    ):
        assert found.access is not None
        assert found.loop is not None
        watching.wait_for_workers(1)
        before = jobs()
        away = DaskRangesAway(client=client, access=found.access, loop=found.loop, place="dask@west")
        running = pool.submit(tables, "away", away)
        killed = kill_at_work(launched, watching)
        assert killed
        scored = running.result(timeout=120)
        assert set(before).isdisjoint(jobs())
        away.tidy()
    assert scored == tables("here")


INSIDE = """\
export SLUICEWAY_HOME=$PWD/home SLUICEWAY_CACHE_DIR=$PWD/cache
exec python3 -c 'from sluiceway.cli import main; main()' score --panel {panel} --scores ../inputs/scores --limit 14 \\
    --no-cache --out out --on dask
"""


@pytest.mark.nightly
@pytest.mark.timeout(300)
async def test_scores_inside_of_an_allocation_are_worked_out_by_its_nodes(
    launched: Launched, jobs: Callable[..., list[str]], panel: Path, python: Path
) -> None:
    local = await asyncio.to_thread(score, launched, "local")
    asked = replace(launched, python=python).request(INSIDE.format(panel=panel / "small"), SingleLauncher())
    request = replace(asked, inputs=inputs_of([launched.there.folder / "scores"]), outputs=TABLES)
    receipt = await launched.there.run(request, nodes=2, cpus=1, memory="1500M", time="5m")
    assert receipt.succeeded, receipt.stderr.read_text()[-3000:]
    found = {each.name.rpartition("/")[2]: receipt.path(each).read_bytes() for each in receipt.outputs}
    assert [found[name.rpartition("/")[2]] for name in TABLES] == local
    assert "Slurm's job" in receipt.stderr.read_text()


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_scores_need_no_route_to_the_nodes(launched: Launched, jobs: Callable[..., list[str]], panel: Path) -> None:
    """In a network of its own, this machine has no way to any other but the pipe that SSH is given."""
    plan, folder = launched.devcluster.plan, launched.there.folder
    (folder / "relay.py").write_text(RELAY)
    (folder / "known").write_text(re.sub(r"^\[127.0.0.1\]:\d+", "west", plan.folder.known_hosts.read_text()))
    relay = f"nsenter --net=/proc/{os.getpid()}/ns/net /usr/bin/python3 {folder}/relay.py 127.0.0.1 {plan.ports.login}"
    config = {
        "Host": "west", "User": plan.user, "IdentityFile": plan.folder.key, "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known", "ProxyCommand": relay,
    }  # fmt: skip
    (folder / "ssh_config").write_text("".join(f"{name} {value}\n" for name, value in config.items()))
    file = folder / "home/clusters.toml"
    text = re.sub(r"^host = .*$", 'host = "west"', file.read_text(), flags=re.MULTILINE)
    file.write_text(re.sub(r"^ssh_config = .*$", f'ssh_config = "{folder}/ssh_config"', text, flags=re.MULTILINE))
    local = score(launched, "local")
    alone = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    assert score(launched, "away", "--on", "dask@west", "--workers", "1", within=alone) == local


RELAY = """
import os, select, socket, sys
way = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for each in select.select([0, way], [], [])[0]:
        piece = os.read(0, 65536) if each == 0 else way.recv(65536)
        if not piece:
            sys.exit()
        way.sendall(piece) if each == 0 else os.write(1, piece)
"""


@pytest.mark.nightly
def test_a_login_node_without_dask_jobqueue_says_what_to_do(launched: Launched) -> None:
    file = launched.there.folder / "home/clusters.toml"
    file.write_text(file.read_text() + JOBS.format(memory="700M"))
    program = str(Path(sys.executable).with_name("sluiceway"))
    asked = [program, "score", "--panel", "p", "--scores", "s", "--on", "dask@west"]
    done = subprocess.run(asked, cwd=launched.there.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "has no dask-jobqueue" in told
    assert "`python` in the cluster's settings" in told
