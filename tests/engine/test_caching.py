"""Content-keyed caching in a real Prefect engine: exactly what is affected by a change runs again."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect import Task, flow, task
from prefect.cache_policies import FLOW_PARAMETERS, INPUTS
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

import sluiceway
from sluiceway.core.errors import NotCanonical
from sluiceway.core.provenance import software
from sluiceway.core.provenance.tree import digest_of_tree
from sluiceway.tasks import caching
from sluiceway.tasks.caching import ARGUMENTS, CODE, CONTENT, code_of
from tests.conftest import ROOT, User

PIPELINE = """
from pathlib import Path
from prefect import flow, task
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.tasks.caching import CONTENT
from caching_counting import rows
from caching_writing import shout

@task(cache_policy=CONTENT)
def count(table: Path, *, skip: int = 0):
    return rows(table) - skip

@task(cache_policy=CONTENT - "out")
def write(text: Path, out: Path):
    out.write_text(shout(text.read_text()))
    return out

@task(cache_policy=CONTENT)
def measure(written: Path):
    return digest_of_bytes(written.read_bytes())

@flow
def pipeline(folder: Path, out: Path, skip: int = 0):
    count(folder / "table.csv", skip=skip)
    count(folder / "other.csv")
    return measure(write(folder / "text.txt", out))
"""
FILES = {
    "caching_pipeline.py": PIPELINE,
    "caching_counting.py": "from caching_lines import lines\n\ndef rows(table):\n    return len(lines(table))\n",
    "caching_lines.py": "def lines(table):\n    return table.read_text().splitlines()\n",
    "caching_writing.py": "def shout(text):\n    return text.upper()\n",
    "inputs/table.csv": "OWN\nb\n",
    "inputs/other.csv": "OWN again\n",
    "inputs/text.txt": "hello OWN",
}


@dataclass
class Project:
    """Somebody's own pipeline: a script, its modules, its inputs."""

    folder: Path
    inputs: Path

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    async def run(self, **parameters: Any) -> set[str]:
        """Run the pipeline as a new process would, and give the tasks that were executed, as the API has it."""
        forget()
        pipeline = importlib.import_module("caching_pipeline").pipeline
        state = pipeline(self.inputs, self.folder / "out.txt", return_state=True, **parameters)
        state = await state if inspect.isawaitable(state) else state
        assert state.is_completed(), state.message
        only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        # The server writes down a little later what tasks tell it.
        async with get_client() as client, asyncio.timeout(30):
            while True:
                runs = await client.read_task_runs(flow_run_filter=only)
                if sum(each.state_name in {"Completed", "Cached"} for each in runs) == 4:
                    return {each.name.rpartition("-")[0] for each in runs if each.state_name == "Completed"}
                await asyncio.sleep(0.1)


def forget() -> None:
    """Be as a process that has imported nothing of the project yet."""
    for name in [each for each in sys.modules if each.startswith("caching_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def project(user: User, monkeypatch: pytest.MonkeyPatch) -> Project:
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    monkeypatch.syspath_prepend(user.folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, text in FILES.items():
        (user.folder / name).parent.mkdir(exist_ok=True)
        # The same contents are the same work, whoever's they are: no other test may have done it.
        (user.folder / name).write_text(text.replace("OWN", user.folder.name))
    forget()
    return Project(user.folder, user.folder / "inputs")


def edit(name: str, old: str, new: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        text = (project.folder / name).read_text()
        assert text.count(old) == 1
        project.write(name, text.replace(old, new))

    return change


def touch(project: Project) -> None:
    for path in [path for path in project.folder.rglob("*") if path.is_file()]:
        os.utime(path, (1, 1))


def move(project: Project) -> None:
    project.inputs = project.inputs.rename(project.folder / "moved")


def rebuild(project: Project) -> None:
    """The upstream task runs again, and what it writes is the same."""
    text = project.inputs / "text.txt"
    text.write_text(text.read_text().upper())


CHANGES: dict[str, tuple[Callable[[Project], None], set[str]]] = {
    "nothing": (lambda project: project.write("unrelated.txt", ""), set()),
    "every file touched": (touch, set()),
    "every input moved": (move, set()),
    "a byte of an input": (edit("inputs/table.csv", "\nb\n", "\nB\n"), {"count"}),
    "a byte of the other": (edit("inputs/text.txt", "hello", "jello"), {"write", "measure"}),
    "an upstream rebuilt to the same bytes": (rebuild, {"write"}),
    "a line of a module": (edit("caching_writing.py", "upper()", "upper()  # loud"), {"write"}),
    "a line of a module behind it": (edit("caching_lines.py", "splitlines()", "split()"), {"count"}),
    "a line of a task": (edit("caching_pipeline.py", "rows(table) - skip", "rows(table) - skip * 1"), {"count"}),
    "a line of the flow": (edit("caching_pipeline.py", "    return measure", "    return  measure"), set()),
    "a task's retries": (edit("caching_pipeline.py", 'CONTENT - "out"', 'CONTENT - "out", retries=1'), set()),
}


@pytest.mark.parametrize(("change", "executed"), CHANGES.values(), ids=CHANGES)
async def test_a_change_runs_exactly_the_tasks_that_it_affects(
    project: Project, change: Callable[[Project], None], executed: set[str]
) -> None:
    assert await project.run() == {"count", "write", "measure"}
    change(project)
    assert await project.run() == executed


async def test_a_parameter_runs_the_task_that_is_given_it(project: Project) -> None:
    await project.run()
    assert await project.run(skip=1) == {"count"}
    assert await project.run(skip=1) == set()


async def test_a_line_of_one_of_our_modules_runs_what_calls_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project.folder / "sluiceway"
    shutil.copytree(ROOT / "core", copy / "core", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sluiceway, "__path__", [str(copy)])
    await project.run()
    assert await project.run() == set()
    with (copy / "core" / "provenance" / "digest.py").open("a") as changed:
        changed.write("# one line\n")
    assert await project.run() == {"measure"}


SEALING = """
from pathlib import Path
from prefect import flow, task
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.remote.clock import SystemClock
from sluiceway.tasks.caching import ARGUMENTS, CONTENT, source

def made(text: Path, out: Path):
    out.mkdir(exist_ok=True)
    (out / "made.txt").write_text(text.read_text())
    manifest = Manifest(output_id="made", ending=Ending(status="ok"))
    seal(manifest, out, ledger=ledger_here(SystemClock()))
    return {"made": [out]}

@task(cache_policy=CONTENT - "out")
def make(text: Path, out: Path):
    return made(text, out)

@task(cache_policy=ARGUMENTS - "out" + source("caching_pipeline"))
async def amake(text: Path, out: Path):
    return made(text, out)

@task(cache_policy=CONTENT)
def look(made): ...

@task(cache_policy=CONTENT)
def look_again(made): ...

@flow
async def pipeline(folder: Path, out: Path):
    look(make(folder / "text.txt", out.with_name("one")))
    look_again(await amake(folder / "other.csv", out.with_name("two")))
"""
DAMAGE: dict[str, tuple[Callable[[Project], object], set[str]]] = {
    "nothing": (lambda project: project.write("unrelated.txt", ""), set()),
    "an output gone": (lambda project: shutil.rmtree(project.folder / "one"), {"make"}),
    "a byte of an output": (lambda project: project.write("one/made.txt", "forged"), {"make"}),
    "a byte of an output of an asynchronous task": (lambda project: project.write("two/made.txt", "x"), {"amake"}),
    "a byte of a manifest": (lambda project: project.write("two/manifest.json", "{}"), {"amake"}),
}


@pytest.mark.parametrize(("damage", "executed"), DAMAGE.values(), ids=DAMAGE)
async def test_a_result_that_was_damaged_is_not_served_but_made_again(
    project: Project, damage: Callable[[Project], object], executed: set[str]
) -> None:
    """Red on: tasks/caching.py: `return findings[0] if findings else None` -> `return None`."""
    project.write("caching_pipeline.py", SEALING)
    await project.run()
    damage(project)
    assert await project.run() == executed
    assert await project.run() == set()
    assert (project.folder / "one" / "made.txt").read_text() == (project.inputs / "text.txt").read_text()


async def test_a_new_version_of_a_distribution_runs_what_imports_it(project: Project) -> None:
    def install(version: str) -> None:
        shutil.rmtree(project.folder / "site-packages", ignore_errors=True)
        metadata = project.folder / "site-packages" / f"caching_tool-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: caching-tool\nVersion: {version}\n")
        (metadata / "top_level.txt").write_text("caching_tool\n")
        (project.folder / "site-packages" / "caching_tool.py").write_text("def cut(text):\n    return text\n")
        importlib.invalidate_caches()
        software._distributions.cache_clear()

    sys.path.insert(0, str(project.folder / "site-packages"))
    install("1.0")
    edit("caching_writing.py", "def shout", "from caching_tool import cut\n\ndef shout")(project)
    await project.run()
    assert await project.run() == set()
    install("1.1")
    assert await project.run() == {"write"}
    sys.path.remove(str(project.folder / "site-packages"))
    software._distributions.cache_clear()


def key(policy: Any, a_task: Task[..., Any], **inputs: Any) -> str | None:
    """The key that a policy gives, as Prefect asks for it."""

    class Context:
        task = a_task
        result_store = None

    found: str | None = policy.compute_key(Context(), inputs, {})
    return found


@task
def twice(x: Any, out: Any = None) -> Any:
    return x, out


@task
def thrice(x: Any) -> Any:
    return x


def test_policies_are_added_up_and_arguments_left_out_of_all(tmp_path: Path) -> None:
    both = CONTENT + INPUTS - "out"
    assert key(both, twice, x=1, out=1) == key(both, twice, x=1, out=2) != key(both, twice, x=2, out=1)
    assert key(CONTENT + FLOW_PARAMETERS, twice, x=1) is not None
    assert key(ARGUMENTS, twice, x=1) == key(ARGUMENTS, thrice, x=1)
    assert key(CODE, twice, x=1) == key(CODE, twice, x=2) != key(CODE, thrice, x=2)


def test_a_named_module_counts_with_what_it_imports(project: Project) -> None:
    policy = ARGUMENTS + caching.source("caching_counting")
    before = key(policy, twice, x=1)
    project.write("caching_lines.py", "lines = None\n")
    assert key(policy, twice, x=1) != before


def test_paths_count_by_content_wherever_they_stand_in_an_argument(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("same")
    keys = {key(CONTENT, twice, x={"deep": [tmp_path / name, tmp_path / name / "x"]}) for name in ("a", "b")}
    assert len(keys) == 1
    (tmp_path / "a" / "x").write_text("other")
    assert key(CONTENT, twice, x={"deep": [tmp_path / "a", tmp_path / "a" / "x"]}) not in keys
    assert key(CONTENT, twice, x=str(tmp_path / "b")) != key(CONTENT, twice, x=tmp_path / "b")
    assert digest_of_tree(tmp_path / "b") != key(CONTENT, twice, x=tmp_path / "b")


@pytest.mark.parametrize(("value", "said"), [(Path("nowhere"), "No such file"), (object(), "no one form")], ids=str)
def test_what_has_no_key_says_how_to_leave_it_out(user: User, value: object, said: str) -> None:
    with pytest.raises(NotCanonical, match=rf"(?s){said}.*leave it out with CONTENT - 'x'"):
        key(CONTENT, twice, x=value)


def test_what_a_function_took_from_around_it_counts() -> None:
    def made(by: int) -> Task[..., Any]:
        @task
        def scaled(x: int) -> int:
            return x * by

        return scaled

    assert key(CONTENT, made(2), x=1) == key(CONTENT, made(2), x=1) != key(CONTENT, made(3), x=1)


def test_a_function_whose_text_is_in_no_file_has_no_key() -> None:
    scope: dict[str, Any] = {}
    exec("def typed_in(x): return x", scope)  # noqa: S102 - as a notebook does
    with pytest.raises(NotCanonical, match=r"typed_in.*its text is in no file"):
        code_of(scope["typed_in"])


def test_an_argument_that_is_left_out_is_named() -> None:
    with pytest.raises(TypeError, match="not 3"):
        CONTENT - 3  # type: ignore[operator]


def test_a_task_without_arguments_has_a_key() -> None:
    @flow
    def nothing() -> None: ...

    assert key(CONTENT, thrice) is not None
