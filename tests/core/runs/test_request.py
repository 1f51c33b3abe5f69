"""What a run is: contents and choices, never paths; what cannot run is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import InputMissing, NotCanonical, PlaceUnusable, RequestInvalid
from sluiceway.core.runs import jobside, place
from sluiceway.core.runs.folder import AttemptFolder, RunFolder
from sluiceway.core.runs.request import Content, RunRequest, inputs_of


def content(folder: Path, text: str, name: str = "script") -> Content:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return Content.of(folder / name, what="the script")


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    return RunRequest(
        script=content(tmp_path, "true"),
        arguments=("a", "b"),
        inputs={"in": content(tmp_path, "input", "in")},
        outputs=("*.txt", "d"),
        environment={"COLOUR": "red"},
        parameters={"n": 1},
    )


def test_the_same_contents_elsewhere_are_the_same_run(tmp_path: Path, request_: RunRequest) -> None:
    moved = replace(
        request_,
        script=content(tmp_path / "other", "true", "renamed"),
        inputs={"in": content(tmp_path / "other", "input", "renamed too")},
        outputs=("d", "*.txt", "d"),
    )
    assert moved.key == request_.key


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": ("b", "a")},
        {"arguments": ("a b",)},
        {"arguments": ("a", "b\udcff")},
        {"outputs": ("*.txt",)},
        {"environment": {"COLOUR": "blue"}},
        {"environment": {"COLOR": "red"}},
        {"parameters": {"n": 2}},
        {"inputs": {}},
    ],
    ids=str,
)
def test_anything_else_is_another_run(request_: RunRequest, change: dict[str, Any]) -> None:
    assert replace(request_, **change).key != request_.key


def test_another_content_is_another_run(tmp_path: Path, request_: RunRequest) -> None:
    assert replace(request_, script=content(tmp_path, "false")).key != request_.key
    assert replace(request_, inputs={"in": content(tmp_path, "inpuT", "in")}).key != request_.key
    assert replace(request_, script=None, command=("true",)).key != request_.key


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"outputs": ("/etc/passwd",)},
        {"outputs": ("../x",)},
        {"outputs": ("d/../../x",)},
        {"outputs": ("",)},
        {"environment": {"": "x"}},
        {"environment": {"A=B": "x"}},
        {"environment": {"SLUICEWAY_MESSAGES": "x"}},
        {"environment": {"A": "x\0"}},
        {"arguments": ("\0",)},
        {"command": ("",)},
    ],
    ids=str,
)
def test_what_cannot_run_is_refused(asked: dict[str, Any]) -> None:
    command = {} if not asked else {"command": ("true",)}
    with pytest.raises(RequestInvalid):
        RunRequest(**{**command, **asked})


@pytest.mark.parametrize("parameters", [{"x": float("nan")}, {"x": "\ud800"}, {"x": {1}}], ids=str)
def test_parameters_that_have_no_one_form_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(NotCanonical):
        RunRequest(command=("true",), parameters=parameters).key  # noqa: B018


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    for name in ("one", "deep/two"):
        content((tmp_path / "d" / name).parent, name, Path(name).name)
    assert list(inputs_of([tmp_path / "d"])) == ["d/deep/two", "d/one"]
    with pytest.raises(RequestInvalid, match="another one is called 'one'"):
        inputs_of([tmp_path / "d" / "one", content(tmp_path, "x", "one").path])


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="no such"):
        inputs_of([tmp_path / "no such"])


@pytest.mark.parametrize("text", ["local", "dask", "dask:tcp://10.0.0.1:8786", "dask@west", "west", "w-1_x"])
def test_a_place_is_written_as_it_was_read(text: str) -> None:
    assert str(place.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", " local", "Local", "DASK", "dask:", "dask@", "dask:here", "a b", "-x", "a\n", "dask@a b"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(PlaceUnusable):
        place.parse(text)


def test_every_file_of_an_attempt_has_a_name_of_its_own(request_: RunRequest) -> None:
    attempt = RunFolder(base=PurePosixPath("/home"), key=request_.key).attempt(2)
    named = [name for name, each in vars(AttemptFolder).items() if isinstance(each, property)]
    places = [getattr(attempt, name) for name in named if name not in {"token", "comment", "path", "whole"}]
    assert len(set(places)) == len(places)
    assert all(attempt.path in each.parents for each in places)
    assert (attempt.outcome.name, attempt.stdout.name) == (jobside.OUTCOME, jobside.STDOUT)
    assert attempt.token == f"sw-{request_.key[7:27]}-a2"
    assert f'"{request_.key}"' in attempt.comment
