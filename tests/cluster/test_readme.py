"""The README's examples run, word for word but for the cluster they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.deployments.devcluster.cluster import Devcluster


def test_the_readmes_example_prints_the_four_nodes(devcluster: Devcluster, tmp_path: Path) -> None:
    example = _example("SshShell")
    plan = devcluster.plan
    named = example.replace("/var/lib/sluiceway-devcluster", str(plan.root)).replace(
        'host="dev"', f'host="{plan.name}"'
    )
    assert named != example
    (tmp_path / "example.py").write_text(named)
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split()) == sorted(
        word for number, node in enumerate(plan.nodes) for word in (f"{number}:", node.name)
    ), done.stderr


def test_the_readmes_function_runs_on_this_machine_too(tmp_path: Path) -> None:
    here = _example("slurm_task").replace('on="west"', 'on="local"')
    (tmp_path / "example.py").write_text(f"{here}\n\nprint(heavy.fn(7))\n")
    environment = {**os.environ, "SLUICEWAY_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["49"], done.stderr


def _example(word: str) -> str:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (example,) = (each for each in examples if word in each)
    return str(example)
