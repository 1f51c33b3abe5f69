"""The import rule is enforced: each forbidden import, planted in a copy of the tree, turns `make contracts` red."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = ("core", "blocks", "tasks", "flows", "deployments", "sluiceway")
PLANTED = [
    ("core/planted.py", "from prefect import task", "core knows no Prefect, Ray, Dask or Spark"),
    ("core/slurm/planted.py", "import subprocess", "only core.remote.local imports subprocess"),
    ("core/remote/planted.py", "import asyncssh", "only core.remote.ssh imports asyncssh"),
    ("core/planted.py", "from sluiceway.tasks import run_log", "flows -> tasks -> blocks -> core"),
    ("tasks/planted.py", "from sluiceway.flows import run_script", "flows -> tasks -> blocks -> core"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the contracts are about, with the environment they run in."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "Makefile", "uv.lock"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def contracts(copy: Path) -> subprocess.CompletedProcess[str]:
    # -o: the environment is the real one, and setting it up from here would make it this copy's.
    command = ["make", "-o", "setup", "contracts", "PYTHONPATH=."]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def test_the_tree_as_it_is_keeps_every_contract(copy: Path) -> None:
    done = contracts(copy)
    assert (done.returncode, "0 broken" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(("place", "line", "contract"), PLANTED, ids=[f"{each[0]}: {each[1]}" for each in PLANTED])
def test_a_forbidden_import_breaks_its_contract(copy: Path, place: str, line: str, contract: str) -> None:
    planted = copy / place
    planted.parent.mkdir(exist_ok=True)
    (planted.parent / "__init__.py").touch()
    planted.write_text(f'"""Planted."""\n\n{line}\n')
    done = contracts(copy)
    assert done.returncode != 0
    broken = [text for text in done.stdout.replace("\n", " ").split("KEPT") if "BROKEN" in text]
    assert contract.split(",", maxsplit=1)[0] in " ".join(broken)


def test_make_check_includes_the_contracts() -> None:
    planned = subprocess.run(["make", "-n", "check"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for step in ("ruff format --check", "ruff check", "mypy", "lint-imports", "sphinx-build", "pytest"):
        assert step in planned
