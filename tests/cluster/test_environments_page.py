"""The page about environments tells the truth: its examples run, but for the cluster's name and folder as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.environments.environment import EnvironmentFields
from tests.conftest import ROOT, Missing

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

PAGE = (ROOT / "docs" / "environments.md").read_text()
CLUSTERS = (ROOT / "docs" / "slurm.md").read_text()


def examples(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, devcluster: Devcluster) -> Path:
    """A working folder beside a home that knows the page's environments, and the cluster of the other page."""
    plan = devcluster.plan
    (tmp_path / "home").mkdir()
    (table,), (cluster,) = examples("toml"), examples("toml", CLUSTERS)
    cluster = cluster.replace("/var/lib/sluiceway-devcluster", str(plan.root))
    (tmp_path / "home" / "clusters.toml").write_text(cluster.replace('host = "dev"', f'host = "{plan.name}"') + table)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}:{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}"
    own = {"SLUICEWAY_HOME": str(folder / "home"), "SLUICEWAY_CACHE_DIR": str(folder / "cache")}
    environment = {**os.environ, "PATH": path, **own}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, r"^hello /.*/environments/\w+$"), (1, r"^a tool of somewhere$"), (2, r"^loaded (.*:)?use\.own$"),
        (3, r"^inside$"),
    ],
)  # fmt: skip
def test_the_commands_of_the_page_run(folder: Path, missing: Missing, number: int, said: str) -> None:
    if number == 2 and not Path("/etc/profile.d/modules.sh").exists():
        missing.part("modules", why="environment-modules is not installed", get="make test, as root or with sudo")
    if number == 3 and not (shutil.which("podman") and Path("/bin/busybox").exists()):
        missing.part("container", why="podman or busybox is not installed", get="make test, as root or with sudo")
    assert re.search(said, run(folder, "sh", "-e", "-c", examples("sh")[number]), re.MULTILINE)


def test_the_program_of_the_page_runs(folder: Path) -> None:
    (folder / "example.py").write_text(examples("python")[0])
    assert "hello\n" in run(folder, sys.executable, "example.py")


def test_the_page_names_every_field_of_an_environment() -> None:
    assert [each for each in EnvironmentFields.model_fields if f"`{each}`" not in PAGE and each != "kind"] == []
