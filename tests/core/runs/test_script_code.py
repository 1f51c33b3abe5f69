"""The code of a script: what it imports inside its repository, read once, and what git says of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.explain import Now
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.status import Status, status_of
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.script_code import script_request
from tests.conftest import User
from tests.core.runs.here import Here

PYTHON = "#!/usr/bin/env python3\n"
SCRIPT = f"{PYTHON}import helper\nfrom package.inner import value\nprint(helper.WORD, value)\n"


class Project:
    """A repository with a script, a helper beside it, and a package in its `src`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("scripts/run.py", SCRIPT)
        self.write("scripts/helper.py", "WORD = 'first'\n")
        self.write("src/package/__init__.py", "")
        self.write("src/package/inner.py", "from . import deep\nvalue = deep.NUMBER\n")
        self.write("src/package/deep.py", "NUMBER = 1\n")
        self.write("scripts/unrelated.py", "import json\n")
        self.git("init", "-q")
        self.git("remote", "add", "origin", "https://ada:token@git.example.org/x.git")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "all")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *who, "-C", str(self.folder), *words], check=True, capture_output=True)

    async def request(self, **asked: Any) -> RunRequest:
        return await script_request(self.folder / "scripts" / "run.py", shell=LocalShell(), **asked)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "repo")


async def test_a_script_takes_along_what_it_imports_and_what_that_imports(project: Project) -> None:
    code = (await project.request()).code
    assert code is not None
    assert [(each.name, each.place) for each in code.modules] == [
        ("helper", "helper.py"),
        ("package", "package/__init__.py"),
        ("package.deep", "package/deep.py"),
        ("package.inner", "package/inner.py"),
    ]
    assert (code.git.dirty, code.git.patch_digest, code.untracked) == (False, None, ())
    assert code.git.head is not None
    assert code.git.remote == "https://git.example.org/x.git"


# L3 and P11.
@pytest.mark.parametrize(
    ("name", "is_new"),
    [
        ("scripts/helper.py", True),
        ("src/package/deep.py", True),
        ("scripts/run.py", True),
        ("scripts/unrelated.py", False),
        ("README.md", False),
    ],
)
async def test_an_edited_helper_makes_a_new_key_and_an_unrelated_file_does_not(
    project: Project, name: str, is_new: bool
) -> None:
    """Red on: core/runs/script_code.py: `modules=code.digests, code=code` -> `code=code`."""
    before = await project.request()
    place = project.folder / name
    project.write(name, (place.read_text() if place.exists() else "") + "# edited\n")
    after = await project.request()
    assert (after.key != before.key) is is_new
    assert after.code is not None
    # Whether a new file that is not imported is there is no difference from the commit.
    assert after.code.git.dirty is (name != "README.md")
    assert (after.code.git.patch_digest is not None) is (name != "README.md")


@pytest.mark.parametrize("ignored", [False, True])
async def test_an_imported_file_that_git_does_not_know_is_reported(project: Project, ignored: bool) -> None:
    project.write("scripts/run.py", f"{SCRIPT}import local_settings\n")
    project.write(".gitignore", "scripts/local_settings.py\n" if ignored else "")
    project.git("add", ".")
    project.git("commit", "-q", "-m", "more")
    project.write("scripts/local_settings.py", "X = 1\n")
    request = await project.request()
    assert request.code is not None
    assert request.code.untracked == ("scripts/local_settings.py",)
    assert request.code.git.dirty is True
    assert "local_settings" in request.modules


async def test_names_of_the_standard_library_and_installed_ones_are_not_taken_from_the_repository(
    project: Project,
) -> None:
    project.write("scripts/run.py", f"{PYTHON}import json, polars, sluiceway\n")
    for name in ("json.py", "polars.py", "sluiceway.py"):
        project.write(name, "")
    assert (await project.request()).modules == {}
    # Beside the script, Python finds them first.
    project.write("scripts/polars.py", "")
    assert [*(await project.request()).modules] == ["polars"]


async def test_a_link_out_of_the_repository_is_no_code_of_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("X = 1\n")
    (project.folder / "scripts" / "outside.py").symlink_to(tmp_path / "outside.py")
    project.write("scripts/run.py", f"{PYTHON}import outside\n")
    assert (await project.request()).modules == {}


async def test_a_script_of_no_repository_has_its_helper_and_no_commit(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("")
    request = await script_request(tmp_path / "run.py", shell=LocalShell())
    assert [*request.modules] == ["helper"]
    assert request.code is not None
    assert request.code.git == manifests.Git()


async def test_a_script_that_is_not_python_or_cannot_be_parsed_has_its_text_alone(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("")
    for name, text in (("run.sh", "import helper\n"), ("run.py", "import helper\n(")):
        (tmp_path / name).write_text(text)
        assert (await script_request(tmp_path / name, shell=LocalShell())).modules == {}


# P17, and labctl's B15.
async def test_stages_run_from_the_code_as_it_was_when_they_were_asked_for(project: Project, user: User) -> None:
    """Red on: core/runs/script_code.py: `what="the script", keep=True` -> `what="the script"`."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    here = Here(user.folder)
    project.write("scripts/second.py", SCRIPT)
    first = await project.request()
    second = await script_request(project.folder / "scripts" / "second.py", shell=LocalShell(), arguments=("2",))
    assert (await here.run(first)).stdout.read_text() == "first 1\n"
    project.write("scripts/helper.py", "WORD = 'edited'\n")
    project.write("scripts/second.py", "broken(")
    (project.folder / "src" / "package" / "deep.py").unlink()
    receipt = await here.run(second)
    assert (receipt.succeeded, receipt.stdout.read_text()) == (True, "first 1\n")


async def test_an_edited_helper_makes_what_a_script_made_stale_and_is_named(project: Project, user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    receipt = await Here(user.folder).run(await project.request())

    def state() -> tuple[Status, tuple[str, ...]]:
        found = status_of(receipt.folder, history=ledger_here(SystemClock()).history(), now=Now())
        return found.status, found.why

    assert state() == (Status.OK, ())
    project.write("scripts/unrelated.py", "1\n")
    assert state() == (Status.OK, ())
    project.write("scripts/helper.py", "WORD = 'edited'\n")
    status, (why,) = state()
    assert status is Status.STALE
    assert why.startswith("inputs.module[helper]: ")
    assert why.endswith(f"in '{project.folder}/scripts/helper.py'")


async def test_a_container_is_part_of_the_key_and_of_the_manifest(project: Project, user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    image = manifests.Container(image="app", digest=f"sha256:{'a' * 64}")
    request = await project.request(container=image)
    assert request.key != (await project.request()).key
    receipt = await Here(user.folder).run(request)
    assert manifests.read(receipt.manifest).container == image
