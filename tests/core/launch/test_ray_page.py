"""What the page about launchers shows of Ray runs, and makes what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, User
from tests.engines import environment_with

PAGE = (ROOT / "docs" / "launchers.md").read_text()


def block(language: str, word: str) -> str:
    (found,) = [
        each for each in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if word in each
    ]
    return str(found)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_the_example_of_ray_runs_on_two_nodes(user: User) -> None:
    user.write("squares.sh", block("python", "import ray"))
    path = f"{environment_with('ray[default]').parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SLUICEWAY_HOME": str(user.folder / "home")}
    words = ["sh", "-e", "-c", block("sh", "--launcher ray")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (user.folder / "ray/squares.txt").read_text() == "3283.5 by 2 nodes\n"
