"""Ray on the real Slurm: on several nodes beside a payload, and held over several steps of a flow.

Where somebody kills, cancels or runs out of time, the right outcome comes back, logs are kept, and no process stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.launch.ray import RayLauncher
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.messages import Link, LogLine
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import Line
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.launch import Engine, start_ray
from tests.cluster.test_dask import Launched, held_mark, with_mark
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.engines import environment_with

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster
    from tests.conftest import Missing

# What takes half a minute alone takes minutes where everything else is tested, too.
pytestmark = pytest.mark.timeout(400)

# A task on each node, which takes an object of the payload's node and makes one that another node reads.
EACH_NODE = """
import json, os, sys, time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(log_to_driver=False)
nodes = {each["NodeName"]: each for each in ray.nodes() if each["Alive"]}
print(json.dumps({name: each["Resources"] for name, each in nodes.items()}))

@ray.remote(num_cpus=1)
def made(number, given):
    return os.environ["SLUICEWAY_NODE"], number, bytes([given[number]]) * 2_000_000

@ray.remote(num_cpus=1)
def read(other):
    return os.environ["SLUICEWAY_NODE"], other[0], len(other[2]), other[2][:1].decode()

def on(name):
    return On(nodes[name]["NodeID"], soft=False)

order = sorted(nodes)
given = ray.put(b"abcdefgh" * 1_000_000)
work = [made.options(scheduling_strategy=on(name)).remote(n, given) for n, name in enumerate(order)]
# Who reads is the next node each time: the object crosses.
again = [read.options(scheduling_strategy=on(name)).remote(each) for name, each in zip(order[1:] + order[:1], work)]
print(json.dumps(ray.get(again)))
print("begun", flush=True)
"""
# Many short tasks, which Ray repeats elsewhere when a node has gone.
SUM = """
import json, os, time
import ray
ray.init(log_to_driver=False)

@ray.remote(num_cpus=1, max_retries=5)
def square(n):
    time.sleep(float(os.environ.get("EACH", "0.1")))
    return n * n

work = [square.remote(n) for n in range(60)]
print("begun", flush=True)
print(json.dumps([sum(ray.get(work))]), flush=True)
"""
TOTAL = sum(n * n for n in range(60))
WISH: dict[str, Any] = {"cpus": 1, "memory": "2G", "time": "5m"}


@pytest.fixture(scope="session")
def ray_python(devcluster: Devcluster, missing: Missing) -> Path:
    """A Python with Ray that the cluster's user may start."""
    found = environment_with("ray[default]")
    words = ["setpriv", f"--reuid={devcluster.plan.user}", "--clear-groups", str(found), "-c", "import ray"]
    tried = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
    if tried.returncode:
        missing.part("cluster", why=f"no other user may use Ray: {tried.stderr[-200:]}", get="a public checkout")
    return found


@pytest.fixture
def launched(there: There, devcluster: Devcluster, ray_python: Path) -> Launched:
    return Launched(there=there, devcluster=devcluster, python=ray_python)


def asked(launched: Launched, text: str, launcher: RayLauncher | None = None, **variables: str) -> RunRequest:
    return launched.request(text, launcher or RayLauncher(dashboard=False), **variables)


def said(receipt: RunReceipt) -> list[Any]:
    lines = receipt.stdout.read_text().splitlines()
    return [json.loads(each) for each in lines if each.startswith(("[", "{"))]


async def begun(launched: Launched) -> None:
    """Wait until the payload works; Ray takes half a minute to come where the machine has other work."""
    async with asyncio.timeout(150):
        while Line(stream="stdout", text="begun") not in launched.there.heard:
            await asyncio.sleep(0.05)


def logs(launched: Launched, request: RunRequest) -> set[str]:
    """Ray's own logs that were kept, by node."""
    kept = launched.attempt(request) / "engine"
    return {each.parent.name for each in kept.glob("*/raylet.out") if each.stat().st_size}


def require_each_node(receipt: RunReceipt, count: int) -> dict[str, dict[str, float]]:
    """Each node has done its task, and read what another has made; gives what they offered."""
    assert receipt.succeeded, receipt.stderr.read_text()
    offered, read = said(receipt)
    order = sorted(offered)
    assert len(order) == count
    following = order[1:] + order[:1]
    assert read == [
        [name, other, 2_000_000, "abcdefgh"[n]] for n, (other, name) in enumerate(zip(order, following, strict=True))
    ]
    return dict(offered)


async def test_two_nodes_join_each_works_and_reads_what_the_other_has_made(launched: Launched) -> None:
    request = asked(launched, EACH_NODE)
    receipt = await launched.there.run(request, nodes=2, **WISH | {"cpus": 2})
    offered = require_each_node(receipt, 2)
    assert [each["CPU"] for each in offered.values()] == [2.0, 2.0]
    assert {each["memory"] + each["object_store_memory"] for each in offered.values()} == {float(2 << 30)}
    assert logs(launched, request) == set(offered)
    await launched.left_nothing(request)


@pytest.mark.nightly
async def test_three_nodes_join_by_their_names_and_each_works(launched: Launched) -> None:
    request = asked(launched, EACH_NODE, RayLauncher(resources={"disk": 2}))
    receipt = await launched.there.run(request, nodes=3, **WISH)
    offered = require_each_node(receipt, 3)
    assert set(offered) <= {each.name for each in launched.devcluster.plan.nodes}
    assert [each["disk"] for each in offered.values()] == [2.0] * 3
    await launched.left_nothing(request)


@pytest.mark.nightly
async def test_gpus_reach_ray_and_a_task_is_given_one(launched: Launched) -> None:
    text = """
import json
import ray
ray.init(log_to_driver=False)
@ray.remote(num_gpus=1)
def mine():
    import os, time
    time.sleep(1)
    return os.environ["CUDA_VISIBLE_DEVICES"]
print(json.dumps([ray.cluster_resources()["GPU"], sorted(ray.get([mine.remote(), mine.remote()]))]))
"""
    receipt = await launched.there.run(asked(launched, text), gpus=2, **WISH | {"cpus": 2})
    assert receipt.succeeded, receipt.stderr.read_text()
    assert said(receipt) == [[2.0, ["0", "1"]]]


@pytest.mark.nightly
async def test_two_jobs_on_the_same_nodes_at_once_have_a_cluster_each(launched: Launched) -> None:
    names = ",".join(each.name for each in launched.devcluster.plan.nodes[:2])
    requests = [asked(launched, f"# {number}{EACH_NODE}time.sleep(5)", RayLauncher()) for number in range(2)]
    wish = {"nodes": 2, "nodelist": names, **WISH}
    receipts = await asyncio.gather(*(launched.there.run(each, **wish) for each in requests))
    for each in receipts:
        require_each_node(each, 2)
    assert len({launched.connection(each)["address"] for each in requests}) == 2
    started, ended = (
        [each.started for each in receipts if each.started],
        [each.ended for each in receipts if each.ended],
    )
    assert max(started) < min(ended)
    for request in requests:
        await launched.left_nothing(request)


def kill(launched: Launched, request: RunRequest, node: int, program: str) -> dict[str, Any]:
    """Kill one of Ray's own programs on a node; gives what connection.json says of that node."""
    part = dict(launched.connection(request)["nodes"][node])
    marks = {
        f"SLUICEWAY_NODE={part['node']}".encode(),
        f"SLUICEWAY_CONTEXT={launched.attempt(request)}/context.json".encode(),
    }
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found = set((place / "environ").read_bytes().split(b"\0"))
            if (place / "exe").readlink().name == program and marks <= found:
                os.kill(int(place.name), signal.SIGKILL)
                return part
        except OSError:
            continue
    raise AssertionError(f"{program} does not run on {part['node']}")


@pytest.mark.nightly
async def test_a_worker_that_is_killed_changes_no_result_and_is_told(launched: Launched) -> None:
    """Red on: core/launch/nodeside.py: `say(kind="log", text=text, level="warning")` -> `pass`."""
    request = asked(launched, SUM, EACH="0.4")
    running = asyncio.create_task(launched.there.run(request, nodes=2, **WISH))
    await begun(launched)
    await asyncio.sleep(3)
    part = kill(launched, request, 1, "raylet")
    receipt = await running
    assert (receipt.succeeded, said(receipt)) == (True, [[TOTAL]]), receipt.stderr.read_text()
    told = [each.text for each in launched.there.heard if isinstance(each, LogLine)]
    assert [each for each in told if f"{part['part']} on node {part['node']} has left the ray cluster" in each]
    await launched.left_nothing(request)
    assert part["node"] in logs(launched, request)


@pytest.mark.nightly
@pytest.mark.parametrize("program", ["gcs_server", "raylet"])
async def test_without_its_head_the_payload_is_ended_and_the_run_says_why(launched: Launched, program: str) -> None:
    """Red on: core/launch/nodeside.py: `% gone[-1].ending), LOST)` -> `% gone[-1].ending))`."""
    request = asked(launched, SUM, EACH="30")
    running = asyncio.create_task(launched.there.run(request, nodes=2, **WISH))
    await begun(launched)
    part = kill(launched, request, 0, program)
    receipt = await running
    assert receipt.exit_code == 70
    assert f"{part['part']} on node {part['node']} has left" in receipt.stderr.read_text()
    await launched.left_nothing(request)
    assert part["node"] in logs(launched, request)


@pytest.mark.nightly
async def test_the_payloads_exit_code_comes_back_and_a_node_that_cannot_start_is_told(launched: Launched) -> None:
    receipt = await launched.there.run(asked(launched, "exit 7\n"), nodes=2, **WISH)
    assert (receipt.exit_code, receipt.ending) == (7, EndingKind.FAILED)
    broken = asked(launched, "touch ran\n", RayLauncher(resources={"CPU": 1}))
    receipt = await launched.there.run(broken, nodes=2, **WISH)
    assert receipt.exit_code == 69
    assert re.search(r"on node \S+ did not start: it ended with exit code 1", receipt.stderr.read_text())
    assert "CPU" in receipt.stderr.read_text()


@pytest.mark.nightly
async def test_a_run_that_is_cancelled_leaves_no_process(launched: Launched) -> None:
    request = asked(launched, SUM, EACH="30")
    running = asyncio.create_task(launched.there.run(request, nodes=2, **WISH))
    await begun(launched)
    assert len(launched.living(request)) > 8
    program = str(Path(sys.executable).with_name("sluiceway"))
    name = runs_here().folder(request.key).run_id
    await asyncio.to_thread(lambda: subprocess.run([program, "cancel", name], check=True, capture_output=True))
    assert (await running).ending is EndingKind.CANCELLED
    await launched.left_nothing(request)
    assert len(logs(launched, request)) == 2


@pytest.mark.nightly
async def test_the_payload_is_warned_of_the_time_limit_ray_works_on_and_nothing_is_left(launched: Launched) -> None:
    # However long Ray takes to come, from then on there are one to two minutes.
    text = """
import os, signal, time
import ray
ray.init(log_to_driver=False)
minutes = int((time.time() - os.stat(os.environ["SLUICEWAY_CONTEXT"]).st_mtime) / 60) + 2
os.system(f"scontrol update JobId=$SLURM_JOB_ID TimeLimit={minutes}")
@ray.remote
def total(*numbers):
    return sum(numbers)
def warned(*_):
    print("warned", ray.get(total.remote(1, 2)), flush=True)
signal.signal(signal.SIGUSR1, warned)
print("begun", flush=True)
while True:
    time.sleep(1)
"""
    request = asked(launched, text)
    receipt = await launched.there.run(request, nodes=2, **WISH | {"time": "9m", "warning": "50s"})
    assert "warned 3" in receipt.stdout.read_text()
    assert receipt.ending is EndingKind.TIMEOUT
    await launched.left_nothing(request)
    assert len(logs(launched, request)) == 2


@pytest.mark.nightly
async def test_nothing_outlives_a_launcher_that_is_killed_on_its_node(launched: Launched) -> None:
    """Red on: core/launch/holder.py: `shutil.rmtree(folder, ignore_errors=True)` -> `pass`."""
    request = asked(launched, SUM, EACH="30")
    running = asyncio.create_task(launched.there.run(request, nodes=2, **WISH))
    await begun(launched)
    os.kill(launched.connection(request)["pid"], signal.SIGKILL)
    receipt = await running
    assert receipt.signal == "KILL" or receipt.exit_code == 137
    await launched.left_nothing_that_stays(request)


@pytest.mark.nightly
async def test_the_dashboard_is_opened_from_here(launched: Launched) -> None:
    """Red on: core/launch/opened.py: `netloc=f"{host}:{port}"` -> `netloc=parts.netloc`."""
    request = asked(launched, SUM, RayLauncher(), EACH="0.5")
    running = asyncio.create_task(launched.there.run(request, nodes=2, **WISH))
    await begun(launched)
    program, name = str(Path(sys.executable).with_name("sluiceway")), runs_here().folder(request.key).run_id
    words = [program, "jobs", "open", name]
    opened = await asyncio.to_thread(lambda: subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    assert opened.stdout is not None
    url = (await asyncio.to_thread(opened.stdout.readline)).strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    answer = await asyncio.to_thread(urllib.request.urlopen, f"{url}/nodes?view=summary")
    found = json.loads(answer.read())["data"]["summary"]
    assert sorted(each["raylet"]["nodeName"] for each in found) == sorted(
        each["node"] for each in launched.connection(request)["nodes"]
    )
    opened.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(opened.wait, 20) == 0
    assert (await running).succeeded
    links = [each.url for each in launched.there.heard if isinstance(each, Link)]
    assert links == [launched.connection(request)["dashboard"]]


STEP = """
import os, sys, ray
ray.init(namespace="flow", log_to_driver=False)

@ray.remote(num_cpus=0, lifetime="detached", name="sum", get_if_exists=True)
class Sum:
    def __init__(self):
        self.number = 0
    def add(self, number):
        self.number += number
        return self.number

@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def node(number):
    import time
    time.sleep(0.5)
    return os.environ["SLUICEWAY_NODE"]

print(len(set(ray.get([node.remote(n) for n in range(8)]))), ray.get(Sum.remote().add.remote(int(sys.argv[1]))))
"""
CLIENT = """
import sys, ray
@ray.remote
def total(*numbers):
    return sum(numbers)
with ray.init(sys.argv[1]):
    print(len(ray.nodes()), ray.get(total.remote(int(sys.argv[2]), 2)))
"""
# Slurm adds up what is resident, shared or not: Ray's own processes on the head's node, one of a hundred megabytes for
# each client, driver and actor, come to more than two gigabytes, and then it kills the step that holds the cluster.
HELD = Resources(nodes=2, cpus=1, memory="3G", time="9m")


async def ended(engine: Engine) -> None:
    """End what is held, and wait until nothing of its job runs any more."""
    mark = held_mark(engine)
    assert len(with_mark(mark)) > 8
    await engine.end()
    async with asyncio.timeout(20):
        while with_mark(mark):
            await asyncio.sleep(0.2)


def printed(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.nightly
async def test_a_flow_holds_a_cluster_in_an_allocation_over_several_steps(launched: Launched) -> None:
    """Each step is a driver on the held cluster, where the next one finds the actor of the one before."""
    async with await start_ray.fn("west", resources=HELD, python=str(launched.python)) as engine:
        assert engine.inside == engine.connection.address
        sums = []
        for number in (1, 2):
            done = await engine.run(Command.of(str(launched.python), "-c", STEP, str(number)))
            sums.append(done.require_success().text.split())
        assert sums == [["2", "1"], ["2", "3"]]
        failed = await engine.run(Command.of("sh", "-c", 'echo "$RAY_ADDRESS"; exit 7'))
        assert (failed.exit_code, failed.text) == (7, f"{engine.inside}\n")
        submit = ["job", "submit", "--address", engine.dashboard, "--", str(launched.python), "-c", "print(6 * 7)"]
        ray = str(launched.python.with_name("ray"))
        assert "\n42\n" in await asyncio.to_thread(printed, [ray, *submit])
        await ended(engine)


@pytest.mark.nightly
async def test_rays_client_works_from_here_with_a_cluster_that_is_held_there(launched: Launched) -> None:
    async with await start_ray.fn("west", resources=HELD, python=str(launched.python), dashboard=False) as engine:
        assert engine.address.startswith("ray://127.0.0.1:")
        for number in range(2):
            step = [str(launched.python), "-c", CLIENT, engine.address, str(number)]
            assert (await asyncio.to_thread(printed, step)).split() == ["2", str(number + 2)]
        await ended(engine)
