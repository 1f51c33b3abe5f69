"""Every fault test is able to fail: the mutation that its docstring names is planted, and that very test turns red.

A docstring says ``Red on: FILE: `old` -> `new`.``, where a space stands for any white space. The mutation is made in a
copy of the tree; the test must then fail, and not because it could not run.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, TESTS

NAMED = re.compile(r"Red on: (\S+):\s+`(.+?)`\s+->\s+`(.+?)`\.", re.DOTALL)
# What a test does when it makes something go wrong.
FAULT = re.compile(
    r"faults\.\w+ = \d|os\.kill\(|send_signal\(|vanish\("
    r"|\.refuse\(|\.forget\(|\.set_controller\(up=False|\.freeze_accounting\(|\.cut\(\)"
)
COPIED = ("core", "blocks", "tasks", "flows", "deployments", "docs", "sluiceway", "tests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A change of our code, and the test that must see it."""

    test: str
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.test.replace("tests/", "")

    @property
    def pattern(self) -> re.Pattern[str]:
        """What stands in the file, however its lines are broken."""
        return re.compile(r"\s+".join(map(re.escape, self.old.split())))


def every_test() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every test that stands by itself, with its place."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(ROOT)}::{node.name}", node


def named(node: ast.FunctionDef | ast.AsyncFunctionDef) -> re.Match[str] | None:
    return NAMED.search(ast.get_docstring(node, clean=False) or "")


def mutations() -> list[Mutation]:
    every = ((test, named(node)) for test, node in every_test())
    return [Mutation(test=test, file=found[1], old=found[2], new=found[3]) for test, found in every if found]


def test_every_test_of_a_fault_names_its_mutation() -> None:
    assert [test for test, node in every_test() if FAULT.search(ast.unparse(node)) and not named(node)] == []


@pytest.mark.parametrize("mutation", mutations(), ids=str)
def test_a_named_mutation_is_of_code_that_stands_there_once(mutation: Mutation) -> None:
    assert len(mutation.pattern.findall((ROOT / mutation.file).read_text())) == 1


@pytest.mark.nightly
@pytest.mark.timeout(400)
@pytest.mark.parametrize("mutation", mutations(), ids=str)
def test_a_fault_test_is_red_on_its_mutation(mutation: Mutation, tmp_path: Path) -> None:
    # What was compiled is copied with it, which saves most of the time; but numba does not see that a function has
    # changed which another file's calls.
    is_compiled = "@compiled" in (ROOT / mutation.file).read_text()
    stale = shutil.ignore_patterns("_build", *(("*.nbi", "*.nbc") if is_compiled else ()))
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=stale)
    for name in ("pyproject.toml", "prefect.yaml"):
        shutil.copy2(ROOT / name, tmp_path)
    mutated = tmp_path / mutation.file
    new = " ".join(mutation.new.split())
    mutated.write_text(mutation.pattern.sub(lambda _: new, mutated.read_text()))
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=180", "-p", "no:cacheprovider", mutation.test]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-1000:]
    assert re.search(r"\d+ failed", done.stdout)
