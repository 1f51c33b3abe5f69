"""The page about clusters tells the truth: its examples run, word for word but for the cluster's name and folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect.settings import PREFECT_API_URL

from sluiceway.core.runs.clusters import ClusterFields
from tests.cluster.test_flow import prefect_server
from tests.conftest import ROOT

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

__all__ = ["prefect_server"]

PAGE = (ROOT / "docs" / "slurm.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, devcluster: Devcluster) -> Path:
    """A working folder beside a home that knows the page's cluster."""
    (tmp_path / "home").mkdir()
    (table,) = examples("toml")
    (tmp_path / "home" / "clusters.toml").write_text(renamed(table, devcluster))
    (tmp_path / "reads.txt").write_text("\n".join(map(str, range(1000, 0, -1))))
    return tmp_path


def renamed(text: str, devcluster: Devcluster) -> str:
    plan = devcluster.plan
    named = text.replace("/var/lib/sluiceway-devcluster", str(plan.root))
    return named.replace('host = "dev"', f'host = "{plan.name}"').replace('host="dev"', f'host="{plan.name}"')


def run(folder: Path, *command: str, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLUICEWAY_HOME": str(folder / "home"), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_page_run(folder: Path) -> None:
    said = run(folder, "sh", "-e", "-c", "\n".join(examples("sh")))
    assert '#SBATCH "--mem=500M"' in said
    assert "to start at" in said
    assert "\n1000\n" in said


@pytest.mark.parametrize(("number", "printed"), [(0, r"^\w+\d\n"), (1, r"^1000\n")])
def test_the_programs_of_the_page_run(folder: Path, devcluster: Devcluster, number: int, printed: str) -> None:
    (folder / "example.py").write_text(renamed(examples("python")[number], devcluster))
    said = run(folder, sys.executable, "example.py", PREFECT_API_URL=str(PREFECT_API_URL.value()))
    assert re.search(printed, said, re.MULTILINE), said


def test_the_page_names_every_field_of_a_cluster() -> None:
    assert [each for each in ClusterFields.model_fields if f"`{each}`" not in PAGE] == []
