"""The wheel works elsewhere: in an empty environment, in a folder that has its own flows/ and core/."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

HARNESS = """
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

@flow
def answer() -> int:
    return 42

with prefect_test_harness(server_startup_timeout=120):
    assert answer() == 42
print("harness started")
"""


def uv(*arguments: str | Path, cwd: Path = ROOT) -> str:
    found = subprocess.run(["sh", ROOT / "deployments" / "setup.sh", "uv"], capture_output=True, text=True, check=True)
    command = [found.stdout.strip(), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its own flows/ and core/, and an environment .venv that has the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("flows", "core", "tasks", "blocks"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('this is not sluiceway')\n")
    uv("venv", "--quiet", "--python", sys.executable, ".venv", cwd=folder)
    (wheel,) = built.glob("*.whl")
    # Without the lock: what a plain install resolves today.
    uv("pip", "install", "--quiet", "--compile-bytecode", "--python", ".venv/bin/python", wheel, cwd=folder)
    return folder


def run(elsewhere: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(elsewhere / ".venv" / "bin" / program), *arguments]
    return subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_has_every_module_and_file_that_is_read_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("sluiceway/")}
    tracked = subprocess.run(["git", "ls-files", "sluiceway"], cwd=ROOT, capture_output=True, text=True, check=True)
    own = {name for name in tracked.stdout.split() if not (ROOT / name).is_symlink()}
    behind = {
        f"sluiceway/{path.relative_to(ROOT)}"
        for name in ("core", "blocks", "tasks", "flows", "deployments")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == own | behind


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", str(sdist), "-C", str(tmp_path)], check=True)
    (source,) = tmp_path.iterdir()
    uv("build", "--quiet", "--wheel", "--out-dir", tmp_path / "again", source)
    (first,), (second,) = built.glob("*.whl"), (tmp_path / "again").glob("*.whl")
    assert zipfile.ZipFile(first).namelist() == zipfile.ZipFile(second).namelist()


@pytest.mark.parametrize("module", ["sluiceway.core", "sluiceway.flows", "sluiceway.flows.run_script"])
def test_our_modules_are_imported_although_folders_of_the_same_names_are_here(elsewhere: Path, module: str) -> None:
    done = run(elsewhere, "python", "-c", f"import {module}; print({module}.__file__)")
    assert ".venv" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["devcluster", "status"], ["--version"]], ids=" ".join)
def test_the_command_runs(elsewhere: Path, arguments: list[str]) -> None:
    done = run(elsewhere, "sluiceway", *arguments)
    # A devcluster that is there, but is not wholly up, is exit code 1.
    allowed = (0, 1) if "status" in arguments else (0,)
    assert (done.returncode in allowed, done.stderr) == (True, "")
    assert done.stdout


def test_the_wheel_alone_gives_a_prefect_whose_test_harness_starts(elsewhere: Path) -> None:
    (elsewhere / "harness.py").write_text(HARNESS)
    done = run(elsewhere, "python", "harness.py")
    assert "harness started" in done.stdout, done.stderr[-3000:]


def test_links_stand_for_every_folder_behind_the_package() -> None:
    for name in ("core", "blocks", "tasks", "flows", "deployments"):
        assert (ROOT / "sluiceway" / name).readlink() == Path("..") / name
        assert (ROOT / name / "__init__.py").read_text().startswith('"""')


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_plain_pip_installs_a_prefect_whose_test_harness_starts(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / ".venv")], check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([str(tmp_path / ".venv/bin/pip"), "install", "--quiet", str(wheel)], check=True)
    (tmp_path / "harness.py").write_text(HARNESS)
    done = run(tmp_path, "python", "harness.py")
    assert "harness started" in done.stdout, done.stderr[-3000:]
