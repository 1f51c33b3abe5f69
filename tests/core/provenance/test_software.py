"""Which code does a piece of work: what it imports counts, and nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from sluiceway.core.errors import InputMissing
from sluiceway.core.provenance.software import software_of, versions
from tests.conftest import ROOT

SSH = "sluiceway.core.remote.ssh"


def test_what_a_module_of_ours_imports_counts_to_the_end() -> None:
    modules = software_of(SSH).modules
    assert {SSH, "sluiceway.core.remote.shell", "sluiceway.core.errors"} <= set(modules)
    assert "sluiceway.core.settings" not in modules


def test_a_module_is_known_by_its_text() -> None:
    digest = hashlib.sha256((ROOT / "core" / "remote" / "ssh.py").read_bytes()).hexdigest()
    assert software_of(SSH).modules[SSH] == f"sha256:{digest}"


def test_the_environment_is_what_those_modules_import_and_no_more() -> None:
    assert software_of(SSH).environment == {"asyncssh": version("asyncssh")}


def test_imports_for_type_checkers_alone_do_not_count() -> None:
    assert "pydantic" not in software_of("sluiceway.core.remote.login").environment


@pytest.mark.parametrize("module", ["numpy", "pgenlib", "yaml", "jinja2", "pydantic_core", "sqlalchemy", "nowhere"])
def test_a_module_belongs_to_what_everything_installed_says(module: str) -> None:
    everything = packages_distributions()
    assert set(versions([module])) == set(everything.get(module, ()))


def test_a_module_that_is_not_ours_is_named() -> None:
    with pytest.raises(InputMissing, match=r"sluiceway\.core\.nowhere"):
        software_of("sluiceway.core.nowhere")


@pytest.mark.parametrize(("file", "counts"), [("core/errors.py", True), ("core/settings.py", False)])
def test_a_change_counts_only_in_what_is_imported(tmp_path: Path, file: str, counts: bool) -> None:
    for name in ("core", "sluiceway"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    ask = f"from sluiceway.core.provenance.software import software_of; print(software_of({SSH!r}).modules)"

    def asked() -> str:
        command = [sys.executable, "-c", ask]
        env = {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    before = asked()
    with (tmp_path / file).open("a") as changed:
        changed.write("# changed\n")
    assert (asked() != before) is counts
