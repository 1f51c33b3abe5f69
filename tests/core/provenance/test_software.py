"""Which code does a piece of work: what it imports counts, and nothing else."""

from __future__ import annotations

import asyncio
import email
import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

import sluiceway
from sluiceway.core.errors import InputMissing
from sluiceway.core.provenance.software import imports, software_of, versions
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


@pytest.mark.parametrize("folder", [*sluiceway.__path__, *asyncio.__path__, *email.__path__])
def test_every_import_of_a_module_is_seen(folder: str) -> None:
    for file in Path(folder).rglob("*.py"):
        text = file.read_bytes()
        # With the word at its very end, all of it is looked at.
        assert imports(text) == imports(text + b"\n'import'\n")


@pytest.mark.parametrize(
    "text",
    [
        "import a.b",
        "import a.b\n",
        "from a import b\n\nif b:\n    c()\n",
        "def f():\n    from a import (\n        b,\n    )\n    return b\n",
        "from a import (  # or (\n    b,  # b)\n)\n",
        "from a import \\\n    b\n",
        "import a.b; c = 'important'",
        "import a.b\nc = '''\nimport d\n'''\n",
        "import a.b\r\n",
        "if True: import a.b",
    ],
)
def test_an_import_is_seen_wherever_it_stands(text: str) -> None:
    assert imports(text.encode()) - {"a"} == {"a.b"}


@pytest.mark.parametrize("text", ["", "a = 1", "# import a\n", '"""import a"""', "if TYPE_CHECKING:\n    import a\n"])
def test_what_only_looks_like_an_import_is_none(text: str) -> None:
    assert imports(text.encode()) == frozenset()


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
