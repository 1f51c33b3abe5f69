"""The page about the slurm worker tells the truth: its example runs, word for word but for names and folders."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from prefect.settings import PREFECT_API_URL

from tests.cluster.test_flow import prefect_server
from tests.cluster.test_runs import There
from tests.cluster.test_runs import there as there  # noqa: PLC0414 - a fixture
from tests.cluster.test_slurm_worker import PACKAGES
from tests.conftest import ROOT

__all__ = ["prefect_server"]

PAGE = (ROOT / "docs" / "slurm-worker.md").read_text()


def example(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def environment_in(folder: Path) -> None:
    """What the page's first lines make, with the packages of this Python instead of the network's."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text(f"{PACKAGES}\n")


@pytest.mark.nightly
@pytest.mark.timeout(500)
def test_the_example_of_the_page_runs(there: There, folder: PurePosixPath) -> None:
    shared = Path(folder)
    (shared / "flows").mkdir()
    environment_in(shared / "envs" / "flows")
    text = example("python").replace('"/shared/', f'"{shared}/').replace('"cluster": "dev"', '"cluster": "west"')
    (shared / "flows" / "measure.py").write_text(text)
    for each in [shared, *shared.rglob("*")]:
        os.chown(each, shared.parent.stat().st_uid, -1, follow_symlinks=False)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "COLUMNS": "200"}
    command = ("sh", "-e", "-c", example("sh"))
    done = subprocess.run(command, cwd=shared / "flows", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "COMPLETED" in done.stdout, done.stdout + done.stderr
