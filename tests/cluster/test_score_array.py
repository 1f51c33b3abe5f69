"""Ranges as elements of an array on the real Slurm: the bits of this machine, whatever becomes of an element."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.slurm.commands import LAST_FILE
from tests.conftest import User
from tests.wire.slurm.test_score_array import TABLES, score

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster
    from tests.conftest import Missing

# Scoring begins with numba, on every node: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)
TOML = """
[clusters.west]
host = "{name}"
ssh_config = "{config}"
use_agent = false
base = "scores $(of) it's"
python = "{python}"
panels = {{ "{here}" = "{there}" }}
busy_poll_seconds = 0.5
longest_poll_seconds = 2
"""


@dataclass(frozen=True, kw_only=True)
class There:
    """The devcluster, as one user has it, with a Python that has sluiceway."""

    user: User
    devcluster: Devcluster
    python: Path

    @property
    def runs(self) -> Path:
        return self.devcluster.plan.folder.home / "scores $(of) it's/runs"

    def score(self, seed: int) -> tuple[list[bytes], Callable[[], list[bytes]]]:
        """Score a panel of this seed here; give the tables, and what gives those of the cluster."""
        here, there = self.user.folder / "here", self.devcluster.plan.folder.home / f"panels {seed}"
        for folder in (here, there):
            folder.mkdir()
            make_panel(folder / "small", variants=2_000, people=30, seed=seed)
        make_scores(self.user.folder / "scores", here / "small")
        plan = self.devcluster.plan
        config = plan.folder.ssh_config
        text = TOML.format(name=plan.name, config=config, python=self.python, here=here, there=there)
        self.user.write("home/clusters.toml", text)
        local = score(self.user.folder, here / "small", self.user.folder / "local", on="local")
        return local, lambda: score(self.user.folder, here / "small", self.user.folder / "west", on="west")


@pytest.fixture(scope="session")
def python(devcluster: Devcluster, missing: Missing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that the cluster's user may start, with the packages of this one."""
    folder = devcluster.plan.root / "python"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    found = folder / "bin/python"
    tried = subprocess.run(
        ["setpriv", f"--reuid={devcluster.plan.user}", "--clear-groups", found, "-c", "import sluiceway.core, numba"],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        missing.part(
            "cluster", why=f"no other user may use this environment: {tried.stderr[-200:]}", get="a public one"
        )
    return found


@pytest.fixture
def there(user: User, devcluster: Devcluster, python: Path) -> There:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    return There(user=user, devcluster=devcluster, python=python)


def the_pid(there: There, element: str) -> int:
    """Wait until an element has started, and give the process of its payload."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for started in there.runs.glob(f"*/a1/{element}/started.json"):
            jobside = int(json.loads(started.read_bytes())["pid"])
            children = Path(f"/proc/{jobside}/task/{jobside}/children").read_text().split()
            if children:
                return int(children[0])
        time.sleep(0.02)
    raise AssertionError(f"{element} did not start")


def test_an_element_that_is_killed_on_its_node_changes_no_bit(there: There) -> None:
    """Red on: core/runs/score_array.py: `_ROUNDS: Final = 4` -> `_ROUNDS: Final = 1`."""
    local, on_cluster = there.score(seed=1)
    with ThreadPoolExecutor() as pool:
        scored = pool.submit(on_cluster)
        os.kill(the_pid(there, "t1"), signal.SIGKILL)
        # The last of an attempt's files: its elements' folders are there by then.
        while not (again := list(there.runs.glob(f"*/a2/{LAST_FILE}"))) and not scored.done():
            time.sleep(0.05)
        assert [each.name for each in again[0].parent.glob("t*")] == ["t0"]
        assert scored.result() == local
    assert list(there.runs.iterdir()) == []


def test_an_array_is_joined_after_its_run_was_killed(there: There) -> None:
    """Red on: core/runs/score_array.py: `return elements_of(folder)` -> `return ()`."""
    local, on_cluster = there.score(seed=2)
    folder, program = there.user.folder, str(Path(sys.executable).with_name("sluiceway"))
    words = ["--panel", "here/small", "--scores", "scores", "--limit", "14", "--no-cache", "--on", "west"]
    begun = subprocess.Popen([program, "score", *words, "--out", "killed"], cwd=folder, stderr=subprocess.DEVNULL)
    the_pid(there, "t1")
    os.kill(begun.pid, signal.SIGKILL)
    begun.wait()
    assert on_cluster() == local
    assert [each.name for each in folder.glob("home/runs/*/a*")] == ["a1"]
    (token,) = (json.loads(each.read_bytes())["token"] for each in folder.glob("home/runs/*/a1/intent.json"))
    plan = there.devcluster.plan
    asked = ["ssh", "-F", str(plan.folder.ssh_config), plan.name, f"squeue -h -t all -o %F -n {token}"]
    assert len({*subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()}) == 1


@pytest.mark.nightly
def test_jobs_score_in_an_environment_where_the_cluster_s_own_python_has_nothing(there: There) -> None:
    local, _ = replace(there, python=Path("/usr/bin/python3")).score(seed=3)
    folder, program = there.user.folder, str(Path(sys.executable).with_name("sluiceway"))
    known = folder / "home/clusters.toml"
    known.write_text(f'{known.read_text()}\n[environments.own]\nkind = "path"\npath = "{there.python.parent.parent}"\n')
    words = ["--panel", "here/small", "--scores", "scores", "--limit", "14", "--no-cache", "--on", "west"]
    done = subprocess.run(
        [program, "score", *words, "--env", "own", "--out", "west"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(folder / "west" / name).read_bytes() for name in TABLES] == local
    alone = subprocess.run(
        [program, "score", *words, "--out", "alone"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert alone.returncode != 0
    assert "cannot score" in alone.stderr
