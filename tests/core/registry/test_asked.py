"""A request comes back from its intent as it was: whoever collects for somebody else writes the same manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.environments.runtime import Runtime
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.provenance.manifest import Container, Git
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.asked import read, written
from sluiceway.core.runs.declared import OutputType
from sluiceway.core.runs.remains import read_by
from sluiceway.core.runs.request import RunRequest, inputs_of
from sluiceway.core.runs.script_code import ScriptCode, script_request


def back(request: RunRequest) -> RunRequest:
    there = read(json.loads(json.dumps(written(request))))
    assert there is not None
    return there


async def test_a_script_with_its_code_and_inputs_comes_back(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_bytes("é = 1\n".encode())
    (tmp_path / "script.py").write_text("import own\n")
    (tmp_path / "in.txt").write_text("input")
    asked: dict[str, Any] = {"inputs": inputs_of([tmp_path / "in.txt"]), "outputs": ("a.txt",), "parameters": {"n": 1}}
    request = await script_request(
        tmp_path / "script.py",
        shell=LocalShell(),
        **asked,
        types={"a.txt": OutputType.FILE},
        names={"a.txt": "it"},
        container=Container(image="x", digest="sha256:ab"),
    )
    there = back(request)
    assert (there.key, there.what, there.declared) == (request.key, request.what, request.declared)
    assert read_by(there) == read_by(request)
    assert there.container == request.container


@pytest.mark.parametrize("text", ["plain", "b\udc80d"])
def test_a_command_comes_back_whatever_bytes_are_in_it(text: str) -> None:
    request = RunRequest(command=("echo", text), environment={"A": text}, title="t", versions={"numpy": "2"})
    assert back(request) == request
    with_code = replace(request, code=ScriptCode(git=Git(head="a" * 40), untracked=("x",)))
    assert back(with_code) == with_code


@pytest.mark.parametrize("options", [{"tasks": 3, "mpi": "pmix"}, {"tasks": 1}])
def test_what_a_launcher_runs_in_an_environment_comes_back(options: dict[str, Any]) -> None:
    """Red on: core/runs/asked.py: `launcher=launcher,` -> `launcher=None,`."""
    runtime = Runtime(
        name="mine", identity={"kind": "uv", "lock": "sha256:ab"}, git=Git(head="a" * 40), warnings=("w",)
    )
    request = RunRequest(command=("echo",), launcher=launcher_named("single", options), runtime=runtime)
    assert back(request) == request
    assert back(request).key == request.key


def test_what_was_run_by_a_launcher_that_nobody_knows_is_left_to_its_asker() -> None:
    fields = written(RunRequest(command=("echo",), launcher=launcher_named("dask", {"threads": 2})))
    assert read({**fields, "launcher": {"name": "another", "options": {}}}) is None
    assert read({**fields, "launched": True}) is None


def test_an_intent_from_before_requests_were_kept_tells_nothing() -> None:
    assert read({}) is None
