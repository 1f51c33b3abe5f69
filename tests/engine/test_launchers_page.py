"""The page about launchers tells the truth: its commands run and make what they say, and its flow prints its sums."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from sluiceway.core.launch.registry import LAUNCHERS
from tests.conftest import ROOT, User

PAGE = (ROOT / "docs" / "launchers.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(user: User, *command: str, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SLUICEWAY_HOME": str(user.folder / "home"), **variables}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_page_run(user: User) -> None:
    user.write("mean.sh", blocks("python")[0])
    user.write("hello.sh", blocks("text")[0])
    said = run(user, "sh", "-e", "-c", blocks("sh")[0])
    assert (user.folder / "here/mean.txt").read_text() == "3283.5 by 2 workers\n"
    assert sorted(said.splitlines()) == [f"task {number} of 3" for number in range(3)]


@pytest.mark.nightly
def test_the_flow_of_the_page_works_with_one_cluster_twice(user: User) -> None:
    (flow,) = [each for each in blocks("python") if "start_dask" in each]
    user.write("page.py", flow)
    said = run(user, sys.executable, "page.py", PREFECT_API_URL=str(PREFECT_API_URL.value()))
    assert said == "3\n2\n"


def test_every_launcher_and_option_stands_on_the_page() -> None:
    assert [name for name in LAUNCHERS if f"| `{name}` |" not in PAGE] == []
    options = {name for each in LAUNCHERS.values() for name in each.model_fields} - {"tasks"}
    assert [name for name in sorted(options) if not re.search(rf"`{name}\b", PAGE)] == []
