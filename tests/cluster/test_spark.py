"""Spark on the real Slurm: a master and a worker on each node, a payload that is the driver, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest
import zstandard

from sluiceway.core.launch.spark import SparkLauncher
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.messages import Link, LogLine
from sluiceway.core.runs.request import RunRequest, inputs_of
from sluiceway.core.runs.run import Line
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.launch import start_spark
from tests.cluster.test_dask import Launched, held_mark, said, with_mark
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.engines import environment_with

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

# To make the environment takes minutes where it has to be fetched; each JVM takes seconds on a machine that is used.
pytestmark = pytest.mark.timeout(600)

# JVMs that start fast matter here, and not how fast they become.
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
SMALL = SparkLauncher(driver_memory="512m", memory="512m", cores=1)
BEGIN = """
import json, os, sys, time
from pyspark.sql import SparkSession, functions as f
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
def executors():
    return [each.host() for each in sc._jsc.sc().statusTracker().getExecutorInfos()]
while len(executors()) < 1 + int(os.environ["WORKERS"]):
    time.sleep(0.2)
print("begun", flush=True)
"""
BEGUN = Line(stream="stdout", text="begun")
ROWS, KEYS = 60_000, 101
SHUFFLE = f"""{BEGIN}
rows = spark.range(0, {ROWS}, 1, 12).withColumn("key", f.col("id") * 7919 % {KEYS})
def slow(part):
    time.sleep(float(os.environ.get("EACH", "0")))
    return ((row.key, row.id) for row in part)
sums = rows.rdd.mapPartitions(slow).toDF(["key", "id"]).groupBy("key").agg(f.sum("id"), f.count("id")).orderBy("key")
print(json.dumps([list(row) for row in sums.collect()]))
named = lambda n: (time.sleep(0.2), os.environ["SLUICEWAY_NODE"])[1]
print(json.dumps(sorted(set(sc.parallelize(range(24), 24).map(named).collect()))))
"""

# The same without a Python on the nodes, and so quicker.
SUMS = f"""{BEGIN}
rows = spark.range(0, {ROWS}, 1, 12).selectExpr("id", "id * 7919 % {KEYS} AS key")
sums = rows.groupBy("key").agg(f.sum("id"), f.count("id")).orderBy("key")
print(json.dumps([list(row) for row in sums.collect()]))
"""


def expected() -> list[list[int]]:
    """The same by polars."""
    rows = pl.DataFrame({"id": pl.int_range(ROWS, eager=True)}).with_columns(key=pl.col("id") * 7919 % KEYS)
    sums = rows.group_by("key").agg(pl.sum("id").alias("sum"), pl.len().alias("count")).sort("key")
    return [list(row) for row in sums.iter_rows()]


@dataclass(frozen=True, kw_only=True)
class Sparked(Launched):
    """A user of the devcluster with a Python that has Spark."""

    def request(self, text: str, launcher: Any = None, **variables: str) -> RunRequest:
        told = {"JAVA_TOOL_OPTIONS": JAVA, "WORKERS": "1", **variables}
        return super().request(text, launcher or SMALL, **told)

    def submitted(self, text: str, **asked: Any) -> RunRequest:
        """The text as a file that spark-submit is to run."""
        file = self.there.folder / f"job-{secrets.token_hex(4)}.py"
        file.write_text(text)
        told = {"PATH": f"{self.python.parent}:/usr/bin:/bin", "JAVA_TOOL_OPTIONS": JAVA, "WORKERS": "1"}
        command = (f"../inputs/{file.name}",)
        return RunRequest(command=command, inputs=inputs_of([file]), launcher=SMALL, environment=told, **asked)

    async def begun(self, *running: asyncio.Task[Any]) -> None:
        """Wait until so many payloads have all of their executors, which takes a while on a busy machine."""
        async with asyncio.timeout(300):
            while self.there.heard.count(BEGUN) < len(running):
                assert not any(each.done() for each in running), [each.result() for each in running if each.done()]
                await asyncio.sleep(0.1)

    def events(self, request: RunRequest) -> Iterator[dict[str, Any]]:
        """What Spark has written of each thing that happened."""
        for place in sorted((self.attempt(request) / "engine/events").glob("*/events_*")):
            with place.open("rb") as file:
                text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read().decode()
            yield from map(json.loads, text.splitlines())


def shuffled(events: Iterator[dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    """How many bytes each executor's host has written for others, and read of others."""
    written: defaultdict[str, int] = defaultdict(int)
    read: defaultdict[str, int] = defaultdict(int)
    for each in events:
        if each["Event"] == "SparkListenerTaskEnd":
            where, metrics = each["Task Info"]["Host"], each["Task Metrics"]
            written[where] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
            read[where] += metrics["Shuffle Read Metrics"]["Remote Bytes Read"]
    return written, read


@pytest.fixture(scope="session")
def spark_python() -> Path:
    return environment_with("pyspark[connect]")


@pytest.fixture
def sparked(there: There, devcluster: Devcluster, spark_python: Path) -> Sparked:
    return Sparked(there=there, devcluster=devcluster, python=spark_python)


async def test_a_shuffle_over_executors_on_two_nodes_gives_what_polars_gives(sparked: Sparked) -> None:
    request = sparked.request(SUMS, WORKERS="2")
    receipt = await sparked.there.run(request, nodes=2, cpus=1, memory="2500M", time="8m")
    assert receipt.succeeded, receipt.stderr.read_text()
    assert said(receipt) == [expected()]
    written, _ = shuffled(sparked.events(request))
    parts = [each for each in sparked.connection(request)["nodes"] if each["part"] != "master"]
    assert {each for each in written if written[each]} == {each["address"] for each in parts}
    await sparked.left_nothing(request)


@pytest.mark.nightly
async def test_a_shuffle_over_executors_on_three_nodes_gives_what_polars_gives(sparked: Sparked) -> None:
    request = sparked.request(SHUFFLE, WORKERS="3")
    receipt = await sparked.there.run(request, nodes=3, cpus=2, memory="2500M", time="8m")
    assert receipt.succeeded, receipt.stderr.read_text()
    sums, nodes = said(receipt)
    assert sums == expected()
    parts = [each for each in sparked.connection(request)["nodes"] if each["part"] != "master"]
    assert nodes == sorted(each["node"] for each in parts)
    written, read = shuffled(sparked.events(request))
    addresses = {each["address"] for each in parts}
    assert {each for each in written if written[each]} == addresses
    assert any(read.values())
    for each in parts:
        (kept,) = (sparked.attempt(request) / "engine" / each["part"]).glob("app-*/*/stderr")
        assert "Finished task" in kept.read_text()
    await sparked.left_nothing(request)


@pytest.mark.nightly
async def test_gpus_reach_spark_and_each_task_is_given_its_own(sparked: Sparked) -> None:
    text = f"""{BEGIN}
from pyspark import TaskContext
def mine(_):
    time.sleep(3)
    yield TaskContext.get().resources()["gpu"].addresses
print(json.dumps(sorted(sc.parallelize(range(2), 2).mapPartitions(mine).collect())))
print(json.dumps([sc.getConf().get("spark.executor.resource.gpu.amount")]))
"""
    launcher = SparkLauncher(driver_memory="512m", memory="512m", conf={"spark.task.resource.gpu.amount": "1"})
    receipt = await sparked.there.run(sparked.request(text, launcher), gpus=2, cpus=2, memory="2500M", time="8m")
    assert receipt.succeeded, receipt.stderr.read_text()
    assert said(receipt) == [[["0"], ["1"]], ["2"]]


@pytest.mark.nightly
async def test_an_executor_that_is_killed_is_told_and_changes_no_result(sparked: Sparked) -> None:
    """Red on: core/launch/spark_side.py: `engine.watch = Losses(master.log, parts)` -> `pass`."""
    request = sparked.request(SHUFFLE, WORKERS="2", EACH="2")
    running = asyncio.create_task(sparked.there.run(request, nodes=2, cpus=2, memory="2500M", time="8m"))
    await sparked.begun(running)
    await asyncio.sleep(2)
    *_, last = sparked.connection(request)["nodes"]
    (executor,) = java_below(last["pid"])
    os.kill(executor, signal.SIGKILL)
    receipt = await running
    assert receipt.succeeded, receipt.stderr.read_text()
    assert said(receipt)[0] == expected()
    told = [each.text for each in sparked.there.heard if isinstance(each, LogLine)]
    lost = rf"executor app-\S+/\d+ on {last['part']} has left the spark cluster: exited"
    assert [each for each in told if re.fullmatch(lost, each)]
    await sparked.left_nothing(request)


@pytest.mark.nightly
async def test_a_node_that_leaves_is_told_and_the_others_do_its_work(sparked: Sparked) -> None:
    """Red on: core/launch/nodeside.py: `say(kind="log", text=text, level="warning")` -> `pass`."""
    request = sparked.request(SHUFFLE, WORKERS="2", EACH="2")
    running = asyncio.create_task(sparked.there.run(request, nodes=2, cpus=2, memory="2500M", time="8m"))
    await sparked.begun(running)
    await asyncio.sleep(2)
    *_, last = sparked.connection(request)["nodes"]
    os.kill(last["pid"], signal.SIGKILL)
    receipt = await running
    assert receipt.succeeded, receipt.stderr.read_text()
    assert said(receipt)[0] == expected()
    told = [each.text for each in sparked.there.heard if isinstance(each, LogLine)]
    assert [each for each in told if f"{last['part']} on node {last['node']} has left the spark cluster" in each]
    assert sparked.connection(request)["lost"] == [last["part"]]
    await sparked.left_nothing(request)


@pytest.mark.nightly
async def test_a_run_that_is_cancelled_leaves_no_process_and_its_logs(sparked: Sparked) -> None:
    request = sparked.request(SHUFFLE, WORKERS="2", EACH="60")
    running = asyncio.create_task(sparked.there.run(request, nodes=2, cpus=2, memory="2500M", time="8m"))
    await sparked.begun(running)
    await asyncio.sleep(6)
    assert len(sparked.living(request)) > 6
    await sparked.cancel(request)
    assert (await running).ending is EndingKind.CANCELLED
    await sparked.left_nothing(request)
    engine = sparked.attempt(request) / "engine"
    assert "Registering worker" in (engine / "master.log").read_text()
    assert len(list(engine.glob("*/app-*/*/stderr"))) == 2
    assert [each for each in sparked.events(request) if each["Event"] == "SparkListenerApplicationStart"]


@pytest.mark.nightly
async def test_a_program_is_submitted_and_its_exit_code_comes_back(sparked: Sparked) -> None:
    """Red on: core/launch/spark_side.py: `return [os.path.join(home, "bin", "spark-submit")]` -> `return ["true"]`."""
    request = sparked.submitted(f"{BEGIN}\nprint(json.dumps([sc.master, spark.range(9).count()]))\nsys.exit(7)\n")
    receipt = await sparked.there.run(request, nodes=1, cpus=2, memory="2500M", time="8m")
    assert (receipt.exit_code, receipt.ending) == (7, EndingKind.FAILED)
    assert said(receipt) == [[sparked.connection(request)["address"], 9]]
    await sparked.left_nothing(request)
    assert "Registering worker" in (sparked.attempt(request) / "engine/master.log").read_text()


@pytest.mark.nightly
async def test_a_worker_that_cannot_start_fails_the_run_with_the_end_of_its_log(sparked: Sparked) -> None:
    request = sparked.request("touch ran\n", SPARK_WORKER_OPTS="-Xss1k")
    receipt = await sparked.there.run(request, nodes=2, memory="2500M", time="8m")
    said = receipt.stderr.read_text()
    assert receipt.exit_code == 69
    assert re.search(r"on node \S+ did not start: it ended with exit code 1", said)
    assert "thread stack size specified is too small" in said
    little = await sparked.there.run(sparked.request("touch ran\n", SparkLauncher()), memory="900M", time="8m")
    assert (little.exit_code, "has 900 MiB for this job, too little" in little.stderr.read_text()) == (69, True)


@pytest.mark.nightly
async def test_the_payload_is_warned_of_the_time_limit_and_its_driver_is_not(sparked: Sparked) -> None:
    """Red on: core/launch/spark_side.py: `trap '' USR1` -> `:`."""
    text = f"""import signal, sys
def warned(*_):
    print("warned", spark.range(7).count(), flush=True)
    sys.exit(3)
signal.signal(signal.SIGUSR1, warned)
{BEGIN}
time.sleep(600)
"""
    request = sparked.request(text)
    wish = {"cpus": 2, "memory": "2500M", "time": "8m", "warning": "30s"}
    running = asyncio.create_task(sparked.there.run(request, **wish))
    await sparked.begun(running)
    # What Slurm does when it is time, without the wait.
    name = runs_here().folder(request.key).attempt(1).token
    warn = Command.of("scancel", "--batch", "--signal=USR1", f"--name={name}")
    (await sparked.there.shell.run(warn)).require_success()
    receipt = await running
    assert "warned 7" in receipt.stdout.read_text(), receipt.stderr.read_text()
    assert receipt.exit_code == 3
    await sparked.left_nothing(request)


@pytest.mark.nightly
async def test_two_jobs_on_one_node_have_a_cluster_each_and_a_page_each_that_is_opened_from_here(
    sparked: Sparked,
) -> None:
    node = sparked.devcluster.plan.nodes[1].name
    text = f"{SHUFFLE}\nwhile not os.path.exists('../seen'): time.sleep(0.2)\n"
    requests = [sparked.request(f"# {number}\n{text}") for number in range(2)]
    wish: dict[str, Any] = {"nodelist": node, "cpus": 1, "memory": "2500M", "time": "8m"}
    running = [asyncio.create_task(sparked.there.run(each, **wish)) for each in requests]
    await sparked.begun(*running)
    assert len({sparked.connection(each)["address"] for each in requests}) == 2
    for each in requests:
        page = await asyncio.to_thread(opened, runs_here().folder(each.key).run_id)
        assert (len(page["workers"]), len(page["activeapps"])) == (1, 1)
        (sparked.attempt(each) / "seen").touch()
    receipts = await asyncio.gather(*running)
    assert [said(each)[0] for each in receipts] == [expected(), expected()]
    links = {each.url for each in sparked.there.heard if isinstance(each, Link)}
    assert links == {sparked.connection(each)["dashboard"] for each in requests}


def opened(run: str) -> dict[str, Any]:
    """What the master says by the way that `jobs open` makes; the application's own pages are behind the same."""
    program = str(Path(sys.executable).with_name("sluiceway"))
    with subprocess.Popen([program, "jobs", "open", run], stdout=subprocess.PIPE, text=True) as way:
        assert way.stdout is not None
        url = way.stdout.readline().strip()
        page = dict(json.loads(asked(f"{url}json/")))
        (application,) = page["activeapps"]
        assert "Spark Jobs" in asked(f"{url}proxy/{application['id']}/jobs/")
        way.send_signal(signal.SIGINT)
        assert way.wait(20) == 0
    return page


def asked(url: str) -> str:
    return httpx.get(url, timeout=20, trust_env=False).raise_for_status().text


def java_below(pid: int) -> list[int]:
    """The JVMs that this one has started, by whichever of its threads."""
    found = [each for place in Path(f"/proc/{pid}/task").glob("*/children") for each in place.read_text().split()]
    return [int(each) for each in found if program_of(each) == "java"]


def program_of(pid: str) -> str:
    """What a process runs; nothing where it has just ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name
    return ""


@pytest.mark.nightly
async def test_a_flow_holds_a_cluster_in_an_allocation_over_several_steps(sparked: Sparked) -> None:
    wish = Resources(nodes=2, cpus=2, memory="2500M", time="10m")
    options = SMALL.model_dump(exclude_defaults=True) | {"connect": True, "ready_seconds": 300}
    async with await start_spark.fn("west", resources=wish, python=str(sparked.python), **options) as engine:
        assert engine.address.startswith("sc://127.0.0.1:")
        assert len(json.loads(await asyncio.to_thread(asked, f"{engine.dashboard}json/"))["workers"]) == 2
        for number in range(2):
            assert await asyncio.to_thread(counted, sparked.python, engine.address, number) == f"sum {number + 9}\n"
        # A program beside it sees the same cluster; the server has all executors, so it asks for none.
        shown = Command.of("sh", "-c", 'echo "$MASTER"; ls "$SPARK_CONF_DIR"')
        lines = (await engine.run(shown)).require_success().text.splitlines()
        assert lines == [engine.inside, "spark-defaults.conf", "spark-env.sh"]
        mark = held_mark(engine)
        assert len(with_mark(mark)) > 4
    async with asyncio.timeout(20):
        while with_mark(mark):
            await asyncio.sleep(0.2)


def counted(python: Path, address: str, number: int) -> str:
    """What a client of Spark Connect counts, on this machine, which reaches no node."""
    text = f"""
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote({address!r}).getOrCreate()
print("sum", spark.range({number} + 90).filter("id < 9").count() + {number})
"""
    return subprocess.run([python, "-c", text], check=True, capture_output=True, text=True).stdout
