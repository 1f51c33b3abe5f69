"""A function is called somewhere else, and its caller sees no difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sluiceway.core.errors import AnswerUnreadable, CallRaised, RequestInvalid, RunFailed
from sluiceway.core.runs import function_side
from sluiceway.core.runs.function import Calls, Item, answer_of
from sluiceway.core.runs.messages import LogLine
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.run import Line
from tests.conftest import ROOT, User
from tests.core.runs import called
from tests.core.runs.called import Colour, Odd, Point
from tests.core.runs.here import Here

STRANGE = ["a b", "'", '"', "new\nline", "$(id)", "`id`", "-rf", "--", "", "\udcff", "ü", "\\", "%s", "a\0b"]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def calls(function: Callable[..., Any], *arguments: Any, **asked: Any) -> Calls:
    return Calls(function=function, items=[Item(arguments=arguments)], **{"python": sys.executable, **asked})


def answer_in(receipt: RunReceipt) -> Any:
    return answer_of(receipt.path(receipt.outputs[0]), receipt.failure)


async def answer(here: Here, function: Callable[..., Any], *arguments: Any, **asked: Any) -> Any:
    return answer_in(await here.run(calls(function, *arguments, **asked).request()))


@pytest.mark.parametrize(
    ("function", "arguments", "returned"),
    [
        (called.times, (7,), 21),
        (called.moved, (Point(1), 2), Point(3, Colour.RED)),
        (called.soon, ("later",), "later"),
        (called.recursive, (5,), 120),
        (called.same, (STRANGE,), STRANGE),
        (called.same, ({1: (2, {3})},), {1: (2, {3})}),
        (lambda x: x + called.FACTOR, (1,), 4),
    ],
    ids=["plain", "classes", "coroutine", "recursive", "strange texts", "nested", "lambda"],
)
async def test_a_call_returns_what_the_function_returns(
    here: Here, function: Callable[..., Any], arguments: tuple[Any, ...], returned: Any
) -> None:
    found = await answer(here, function, *arguments)
    assert (found, type(found)) == (returned, type(returned))


async def test_an_array_comes_back_as_it_is(here: Here) -> None:
    sent = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(await answer(here, called.same, sent), sent)


@pytest.mark.parametrize(("returned", "told"), [({"n": [1, None]}, {"n": [1, None]}), ((1, 2), None)])
async def test_what_json_can_hold_is_the_runs_result_as_well(here: Here, returned: Any, told: Any) -> None:
    assert (await here.run(calls(called.same, returned).request())).value == told


async def test_a_second_call_is_the_first_ones_answer(here: Here) -> None:
    count = here.folder / "count"
    assert [await answer(here, called.counted, str(count), 4) for _ in range(2)] == [40, 40]
    assert await answer(here, called.counted, str(count), 5) == 50
    assert count.read_text() == "4\n5\n"


async def test_what_a_function_prints_and_logs_is_heard(here: Here) -> None:
    await answer(here, called.talkative)
    assert Line(stream="stdout", text="printed") in here.heard
    assert LogLine(text="mine: logged", level="warning") in here.heard


async def test_an_exception_is_raised_here_caused_by_its_traceback_there(here: Here) -> None:
    with pytest.raises(Odd) as raised:
        await answer(here, called.odd, 3)
    assert raised.value.number == 3
    assert isinstance(raised.value.__cause__, RunFailed)
    assert "raise Odd(number)" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (called.stubborn, CallRaised, r"raised tests\.core\.runs\.called\.Stubborn: 1 and 2.*missing 1 required"),
        (called.unpicklable, TypeError, "cannot pickle"),
        (called.leaving, CallRaised, r"raised builtins\.SystemExit: 4.*would end this process"),
    ],
)
async def test_what_cannot_travel_back_is_said(
    here: Here, function: Callable[..., Any], kind: type[BaseException], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised:
        await answer(here, function)
    assert "Traceback" in str(raised.value.__cause__)


async def test_an_answer_that_cannot_be_read_here_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    request = calls(called.same, Point(1)).request()
    receipt = await here.run(request)
    monkeypatch.delattr(called, "Point")
    with pytest.raises(AnswerUnreadable, match="Point"):
        answer_in(receipt)


@pytest.mark.parametrize("given", [sys.stdout, threading.Lock()], ids=["file", "lock"])
def test_what_cannot_travel_there_is_refused(given: Any) -> None:
    with pytest.raises(RequestInvalid, match="an argument cannot be pickled"):
        calls(called.same, given).request()


@pytest.mark.parametrize("function", [len, Point, Point(1)])
def test_only_functions_are_called(function: Any) -> None:
    with pytest.raises(RequestInvalid, match="only a function"):
        calls(function)


def test_arguments_that_do_not_fit_are_refused_here() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        calls(called.times).request()


async def test_variables_arrive_as_they_are(here: Here) -> None:
    sent = {f"A {name} \udcff": name for name in STRANGE if "\0" not in name}
    found = await answer(here, called.variables, list(sent), variables=sent)
    assert found == [os.fsencode(each) for each in sent.values()]


def other_python(folder: Path, version: str) -> str:
    """A Python that says it is another one."""
    program = folder / "a python"
    program.write_text(f"#!{sys.executable} -S\nimport runpy, sys\nsys.version_info = ({version}, 0, 'final', 0)\n"
                       "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n")  # fmt: skip
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("python", "why"), [("3, 9", r"is Python 3\.9: name one of the right version"), (None, "cannot be started")]
)
async def test_a_python_that_cannot_call_it_is_said_before_anything_runs(
    here: Here, python: str | None, why: str
) -> None:
    """Red on: core/runs/function_side.py: `if wanted != found:` -> `if False:`."""
    count = here.folder / "count"
    named = "/nowhere/python" if python is None else other_python(here.folder, python)
    receipt = await here.run(calls(called.counted, str(count), 1, python=named).request())
    assert (receipt.exit_code, count.exists()) == (function_side.UNUSABLE, False)
    with pytest.raises(RunFailed, match=why):
        receipt.require_success()


async def test_nothing_has_to_be_installed_there(here: Here) -> None:
    """Without -S the folder of installed packages is on the path."""
    bare = here.folder / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert await answer(here, called.times, 2, python=str(bare)) == 6


async def test_a_module_travels_without_whatever_imported_it_here(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a package that checks types has put its own loader in the way of all imports."""
    only_here = ModuleType("only_here")
    only_here.Loader = type("Loader", (), {"__module__": "only_here"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    monkeypatch.setattr(called, "__loader__", only_here.Loader())
    assert await answer(here, lambda number: called.times(number), 2) == 6  # noqa: PLW0108 - it names the module


SCRIPT = """
import asyncio, sys
from dataclasses import dataclass
from pathlib import Path
from helper import doubled
from tests.core.runs.here import Here
from tests.core.runs.test_function import answer

@dataclass
class Pair:
    one: int
    two: int

def pair(number):
    return Pair(number, doubled(number))

if __name__ == "__main__":
    found = asyncio.run(answer(Here(Path(sys.argv[1])), pair, 4))
    print(found, type(found) is Pair)
"""


def test_a_script_and_the_modules_beside_it_travel(user: User) -> None:
    """The second process reads the answer that the first one got; a changed helper is called anew."""
    own = user.folder / "-a b'$(id)\n\udcff"
    own.mkdir()
    (own / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(own / "script.py"), str(user.folder / "state")]
    (user.folder / "state").mkdir()

    def printed(helper: str) -> str:
        (own / "helper.py").write_text(helper)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    asked = [printed(f"def doubled(x):\n    return {factor} * x\n") for factor in (2, 2, 3)]
    assert asked == ["Pair(one=4, two=8) True\n"] * 2 + ["Pair(one=4, two=12) True\n"]
    receipts = [json.loads(each.read_text()) for each in (user.folder / "state").rglob("a*/receipt.json")]
    assert [each["attempt"] for each in receipts] == [1, 1]
