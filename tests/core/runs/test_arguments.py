"""The same arguments make the same key in every process, and others another one."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel

from sluiceway.core.runs.arguments import Forms, NoForm
from sluiceway.core.runs.function import Calls, Item
from sluiceway.core.runs.own_code import own_software, source_of
from tests.conftest import ROOT
from tests.core.runs import called
from tests.core.runs.called import Colour, Point


class Couple(NamedTuple):
    one: int
    two: int


class Model(BaseModel):
    number: int


class Plain:
    pass


# No two of these are the same.
DIFFERENT: list[Any] = [
    None, True, 1, 1.0, "1", b"1", bytearray(b"1"), 0.0, -0.0, math.nan, math.inf, 1j, Decimal(1), "ü", "c3bc",
    "\udcff", [], (), [[]], [()], {}, set(), frozenset(), {"a": 1}, {"a": 1.0}, {1: "a"}, ["a", 1], {"a", 1},
    [["a", 1]], Path("1"), date(2024, 1, 1), datetime.fromisoformat("2024-01-01"), datetime(2024, 1, 1, tzinfo=UTC),
    timedelta(1), UUID(int=1), Colour.RED, "r", Point(1), Point(2), (1, Colour.RED), Couple(1, 2), (1, 2),
    Model(number=1), {"number": 1}, Point, range(1), np.int64(1), np.float64(1), np.arange(2), np.arange(2.0),
    np.arange(2).reshape(1, 2), called.times, called.moved, lambda x: x + 1, lambda x: x + 2,
]  # fmt: skip


def test_what_differs_has_different_forms() -> None:
    forms = [Forms().digest(each) for each in DIFFERENT]
    assert len(set(forms)) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (Point(1), Point(1)),
        ([[1]] * 2, [[1], [1]]),
    ],
)
def test_what_is_the_same_has_one_form(one: Any, other: Any) -> None:
    assert Forms().digest(one) == Forms().digest(other)


def nested() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Plain(), "a tests.core.runs.test_arguments.Plain"),
        ([threading.Lock()], "a _thread.lock"),
        (nested(), "holds itself"),
        (np.array([object()]), "a numpy.ndarray"),
        (eval("lambda: 1"), "whose text is in no file"),  # noqa: S307
    ],
)
def test_what_has_no_form_is_named(value: object, why: str) -> None:
    with pytest.raises(NoForm, match=why):
        Forms().digest(value)


def key(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    return Calls(function=function, items=[Item(arguments=arguments, named=named)]).request().key


def adder(amount: Any) -> Callable[[int], int]:
    return lambda number: number + amount


def test_arguments_are_the_same_by_position_and_by_name() -> None:
    assert key(called.times, 1, 2) == key(called.times, factor=2, number=1) != key(called.times, 2, 1)


def test_what_a_function_takes_from_around_it_counts() -> None:
    assert key(adder(1), 5) == key(adder(1), 5) != key(adder(2), 5)


def test_where_and_in_which_interpreter_it_runs_does_not_count() -> None:
    keys = {
        Calls(function=called.times, items=[Item(arguments=(1,))], python=python).request().key
        for python in (None, "/usr/bin/python3")
    }
    assert len(keys) == 1


def test_a_call_without_a_form_is_said_and_has_a_key_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    plain = Plain()
    assert key(called.same, plain) != key(called.same, plain)
    assert "call without a key" in caplog.text
    assert "test_arguments.Plain" in caplog.text


def test_a_key_is_the_same_in_every_process() -> None:
    ask = (
        "from tests.core.runs.test_arguments import *\n"
        "print(key(called.same, [{'x', 'y', 'z'}, {'b': Point(1), 'a': Colour.RED}]))"
    )
    command = [sys.executable, "-c", ask]
    found = {subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)}
    assert len(found) == 1


def test_the_users_own_modules_are_those_that_are_not_installed() -> None:
    own = [
        each
        for each in ("tests.conftest", "json", "numpy", "sys", "sluiceway.core.errors", "prefect")
        if source_of(each)
    ]
    assert own == ["tests.conftest"]


def test_own_modules_count_to_the_end_and_others_by_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "travelling"
    (package / "inside").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from . import second\nimport numpy\n")
    (package / "second.py").write_text("def later():\n    from .inside import third, fourth\n")
    (package / "inside" / "third.py").write_text("from .. import fifth\n")
    (package / "fifth.py").write_text("import json, nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = own_software(["travelling.first"])
    names = ["travelling", "travelling.fifth", "travelling.first", "travelling.inside.third", "travelling.second"]
    assert (list(found.modules), found.environment) == (names, {"numpy": np.__version__})
