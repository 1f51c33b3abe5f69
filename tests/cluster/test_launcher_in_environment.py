"""Engines that an environment brings, which is shipped: the nodes themselves have nothing but Python."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sluiceway.core.remote.shell import Command
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.launch import start_dask
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.cluster.test_spark import JAVA
from tests.conftest import ROOT, User
from tests.core.environments.made import requirements
from tests.engines import environment_with

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(500)]

TABLE = """
[environments.engine]
kind = "uv"
requirements = "{file}"
python = "/usr/bin/python3"
"""
# Each says where the engine's code lies for it, the driver first.
DASK = """#!/usr/bin/env python3
import json, distributed
from distributed import Client
with Client() as client:
    found = sorted(client.run(lambda: __import__("distributed").__file__).values())
    json.dump([sum(client.gather(client.map(abs, range(9)))), distributed.__file__, *found], open("told.json", "w"))
"""
RAY = """#!/usr/bin/env python3
import json, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(log_to_driver=False)
@ray.remote(num_cpus=1)
def place():
    return ray.__file__
asked = [place.options(scheduling_strategy=On(each["NodeID"], soft=False)).remote() for each in ray.nodes()]
found = ray.get(asked)
json.dump([36, ray.__file__, *found], open("told.json", "w"))
"""
# Each executor says which Python it has, and a word that only the environment's packages know.
SPARK = """#!/usr/bin/env python3
import json, sys, time
from pyspark.sql import SparkSession

def told(_):
    import os, greeting
    time.sleep(0.2)
    return os.environ["SLUICEWAY_NODE"], greeting.WORD, sys.prefix

with SparkSession.builder.getOrCreate() as spark:
    sc = spark.sparkContext
    while len(sc._jsc.sc().statusTracker().getExecutorInfos()) < 3:
        time.sleep(0.2)
    found = sorted(set(sc.parallelize(range(24), 24).map(told).collect()))
    rows = spark.range(0, 9, 1, 4).groupBy().sum("id").collect()
    json.dump([rows[0][0], sys.prefix, found], open("told.json", "w"))
"""
SPARK_TABLE = """
[environments.engine]
kind = "uv"
requirements = "{file}"
python = "/usr/bin/python3"
variables = {{ SPARK_HOME = "{home}", JAVA_TOOL_OPTIONS = "{java}" }}
"""


def pinned(python: Path) -> str:
    """All that an environment has, each pinned."""
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    found = metadata.distributions(path=[str(packages)])
    return "".join(sorted(f"{each.name}=={each.version}\n" for each in found))


def described(there: There, user: User, package: str) -> None:
    """Describe an environment with the package, and put uv, which makes it, on PATH."""
    user.export("PATH", f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}")
    file = there.folder / "engine.txt"
    file.write_text(pinned(environment_with(package)))
    known = there.folder / "home/clusters.toml"
    known.write_text(known.read_text() + TABLE.format(file=file))


@pytest.mark.parametrize(("launcher", "package", "text"), [("dask", "distributed", DASK), ("ray", "ray[default]", RAY)])
async def test_a_launcher_starts_the_engine_that_the_environment_brings(
    there: There, user: User, launcher: str, package: str, text: str
) -> None:
    described(there, user, package)
    (there.folder / "work.py").write_text(text)
    program = str(Path(sys.executable).with_name("sluiceway"))
    words = ["run", "work.py", "--on", "west", "--launcher", launcher, "--env", "engine", "--output", "told.json"]
    wish = ["--nodes", "2", "--cpus", "1", "--mem", "2G", "--time", "9m", "--out", "out"]
    done = await asyncio.to_thread(
        lambda: subprocess.run([program, *words, *wish], cwd=there.folder, capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    total, *places = json.loads((there.folder / "out/told.json").read_bytes())
    assert (total, len(places)) == (36, 3)
    assert [each for each in places if "/base/environments/" not in each] == []


async def test_spark_and_its_executors_run_in_an_environment_that_names_where_spark_lies(
    there: There, user: User
) -> None:
    """Spark itself is half a gigabyte: the environment brings the packages of the user, and SPARK_HOME."""
    user.export("PATH", f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}")
    (home,) = environment_with("pyspark[connect]").parent.parent.glob("lib/python3*/site-packages/pyspark")
    known = there.folder / "home/clusters.toml"
    table = SPARK_TABLE.format(file=requirements(there.folder), home=home, java=JAVA)
    known.write_text(known.read_text() + table)
    (there.folder / "work.py").write_text(SPARK)
    (there.folder / "submit.sh").write_text('exec "$SPARK_HOME/bin/spark-submit" ../inputs/work.py\n')
    program = str(Path(sys.executable).with_name("sluiceway"))
    words = ["run", "submit.sh", "--on", "west", "--launcher", "spark", "--env", "engine", "--output", "told.json"]
    words += ["--input", "work.py"]
    words += [word for each in ("driver_memory=512m", "memory=512m", "cores=1") for word in ("--launcher-option", each)]
    wish = ["--nodes", "2", "--cpus", "1", "--mem", "2500M", "--time", "9m", "--out", "out"]
    done = await asyncio.to_thread(
        lambda: subprocess.run([program, *words, *wish], cwd=there.folder, capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    total, driver, found = json.loads((there.folder / "out/told.json").read_bytes())
    assert (total, len({node for node, _, _ in found})) == (36, 2)
    assert {(word, place) for _, word, place in found} == {("shipped", driver)}
    assert "/base/environments/" in driver


async def test_what_is_held_over_several_steps_runs_in_the_environment(there: There, user: User) -> None:
    described(there, user, "distributed")
    wish = Resources(nodes=2, cpus=1, memory="900M", time="9m")
    async with await start_dask.fn("west", resources=wish, env="engine", threads=1) as engine:
        for _ in range(2):
            # Where a step works nobody sees from here: it prints what it has written.
            step = Command.of("sh", "-c", 'cd "$(mktemp -d)" && python3 -c "$1" && cat told.json', "sh", DASK)
            total, *places = json.loads((await engine.run(step)).require_success().stdout)
            assert (total, len(places)) == (36, 3)
            assert [each for each in places if "/base/environments/" not in each] == []
