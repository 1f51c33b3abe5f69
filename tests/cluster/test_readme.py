"""The README's example runs, word for word but for the cluster it names."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.deployments.devcluster.cluster import Devcluster


def test_the_readmes_example_prints_the_four_nodes(devcluster: Devcluster, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
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
