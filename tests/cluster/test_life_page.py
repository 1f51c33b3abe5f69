"""The page about what runs out tells the truth: its examples run, but for the cluster's name and folder as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.test_slurm_page import examples as examples_before
from tests.cluster.test_slurm_page import renamed, run
from tests.conftest import ROOT

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

PAGE = (ROOT / "docs" / "slurm-life.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, devcluster: Devcluster) -> Path:
    (tmp_path / "home").mkdir()
    (table,) = examples_before("toml")
    (tmp_path / "home" / "clusters.toml").write_text(renamed(table, devcluster))
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder: Path) -> None:
    said = run(folder, "sh", "-e", "-c", "\n".join(examples("sh")))
    assert (folder / "greedy" / "done.txt").read_text() == "done\n"
    assert re.search(r"^20\n\w+\d\n\d+\n\Z", said, re.MULTILINE)


def test_the_session_of_the_page_runs(folder: Path) -> None:
    (folder / "example.py").write_text(examples("python")[2])
    assert re.match(r"2 nodes, 0:0\d:\d\d", run(folder, sys.executable, "example.py"))


def test_the_payload_of_the_page_runs_by_hand(tmp_path: Path) -> None:
    helper = ROOT / "core" / "runs" / "payload.py"
    (tmp_path / "sluiceway_payload.py").write_text(helper.read_text())
    (tmp_path / "example.py").write_text(examples("python")[0])
    environment = {**os.environ, "SLUICEWAY_CHECKPOINT": str(tmp_path / "far away")}
    assert subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env=environment, check=False).returncode == 0


def test_the_components_of_the_page_are_as_it_says() -> None:
    said: dict[str, object] = {}
    exec(examples("python")[1], said)  # noqa: S102 - our own page
    assert "components" in str(said["wish"])
