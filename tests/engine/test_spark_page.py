"""What the page says of Spark is true: its program runs and makes its table, and its flow counts seven days."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from tests.conftest import Missing, User
from tests.engine.test_launchers_page import blocks
from tests.engines import environment_with

# To make the environment takes minutes where it has to be fetched.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]


def block(language: str, word: str) -> str:
    (found,) = [each for each in blocks(language) if word in each]
    return found


@pytest.fixture(scope="session")
def spark_python(missing: Missing) -> Path:
    if shutil.which("java") is None:
        missing.part("spark", why="there is no Java", get="make test, as root or with sudo")
    return environment_with("pyspark[connect]")


def run(user: User, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SLUICEWAY_HOME": str(user.folder / "home"), **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_program_of_the_page_runs_on_two_workers(user: User, spark_python: Path) -> None:
    user.write("days.py", block("python", "write.csv"))
    path = f"{spark_python.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run(user, "sh", "-e", "-c", block("sh", "days.py"), PATH=path)
    assert done.returncode == 0, done.stderr
    (table,) = (user.folder / "weekly/days").glob("part-*.csv")
    rows = pl.DataFrame({"number": pl.int_range(100_000, eager=True)}).with_columns(day=pl.col("number") % 7)
    sums = rows.group_by("day").agg(pl.sum("number").alias("sum(number)")).sort("day")
    assert pl.read_csv(table).equals(sums)


def test_the_flow_of_the_page_uses_the_cluster_over_spark_connect(user: User, spark_python: Path) -> None:
    user.write("page.py", block("python", "start_spark"))
    (packages,) = spark_python.parent.parent.glob("lib/python3*/site-packages")
    api, path = str(PREFECT_API_URL.value()), f"{spark_python.parent}:{os.environ['PATH']}"
    # pyspark[connect] beside sluiceway, without another large environment: the Pythons are alike.
    script = (
        f"import sys; sys.path.append({str(packages)!r}); import runpy; runpy.run_path('page.py', run_name='__main__')"
    )
    done = run(user, sys.executable, "-c", script, PATH=path, PREFECT_API_URL=api)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
