"""The public validator of RO-Crates finds nothing that is required and lacking, as far as it can look offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sluiceway.core.provenance.crate import Told, export
from tests.conftest import ROOT
from tests.core.provenance.sealed import Project
from tests.core.provenance.test_crate import project

__all__ = ["project"]

# The last one that ships the context of RO-Crate 1.1, the version that the profile is of.
PACKAGES = ("roc-validator==0.13.0", "requests-cache", "rocrate==0.11.0")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the validator's own, and its cache with the context in it."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    folder = tmp_path_factory.mktemp("validator")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", "3.11", str(folder / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *PACKAGES[:2]], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", str(python), PACKAGES[2]], check=True)
    keeping = Path(__file__).with_name("context_kept.py")
    subprocess.run([str(python), str(keeping), str(folder / "cache")], check=True, cwd=folder)
    return folder


# P21.
@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_the_public_validator_finds_nothing_that_is_required(project: Project, environment: Path) -> None:
    taken = [project.out("one"), project.out("two.txt")]
    crate = export(
        taken, project.folder / "crate", history=project.ledger.history(), told=Told(licence="https://example.org/cc0")
    )
    report = environment / "report.json"
    words = [str(environment / "venv" / "bin" / "rocrate-validator"), "-y", "validate", "--offline"]
    words += ["--cache-path", str(environment / "cache"), "-p", "provenance-run-crate", "-f", "json", "-o", str(report)]
    quiet = {**os.environ, "HOME": str(environment)}
    done = subprocess.run([*words, str(crate)], capture_output=True, text=True, env=quiet, check=False)
    told = json.loads(report.read_text())
    assert (told["passed"], told["issues"], done.returncode) == (True, [], 0)
