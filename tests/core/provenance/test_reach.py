"""What a function reaches in its own module: every edit that it depends on counts, and no other."""

from __future__ import annotations

import pytest

from sluiceway.core.provenance.reach import Reached, reached

MODULE = '''
"""Two tasks and their flow."""
from __future__ import annotations
import os
import numpy as np, one.deep
import one.other
from helpers import first, second as other
from . import beside
from stars import *
from prefect import flow, task
from tools import timed

LIMIT: int = 3
TABLE = {"a": 1}
TABLE["b"] = 2
WORST, BEST = 0, LIMIT
try:
    from fast import speed
except ImportError:
    speed = None
os.umask(2)

class Model:
    limit = LIMIT

def inner(x):
    return first(x) + WORST

@task(retries=3)
@timed(LIMIT)
def one_task(x: Model):
    from late import later
    return inner(x) + later(TABLE)

@task
def other_task(y):
    return other(y) + np.sum(y) + one.deep.f(beside) + (speed or 0)

@flow
def whole():
    one_task(1)
    other_task(2)

if __name__ == "__main__":
    whole()
'''
BYSTANDERS = frozenset({"prefect"})


def reach(name: str, text: str = MODULE) -> Reached:
    return reached(text.encode(), name, "package", BYSTANDERS)


EDITS = {
    "its own body": ("return inner(x) + later", "return inner(x) - later", {"one_task", "whole"}),
    "a function that it calls": ("first(x) + WORST", "first(x) - WORST", {"one_task", "whole"}),
    "a constant of that function": ("WORST, BEST = 0", "WORST, BEST = 1", {"one_task", "whole"}),
    "a constant of a constant": ("LIMIT: int = 3", "LIMIT: int = 4", {"one_task", "whole"}),
    "a change of a constant's value": ('TABLE["b"] = 2', 'TABLE["b"] = 3', {"one_task", "whole"}),
    "a class of its arguments": ("limit = LIMIT", "limit = LIMIT + 1", {"one_task", "whole"}),
    "a decorator that counts": ("@timed(LIMIT)", "@timed(BEST)", {"one_task", "whole"}),
    "what a name stands for": ("import first,", "import third as first,", {"one_task", "whole"}),
    "an import in a block": ("from fast import", "from faster import", {"other_task", "whole"}),
    "an import of the other": ("second as other", "third as other", {"other_task", "whole"}),
    "what happens at import": ("os.umask(2)", "os.umask(3)", {"one_task", "other_task", "whole"}),
    "an import of everything": ("from stars", "from planets", {"one_task", "other_task", "whole"}),
    "the flow": ("other_task(2)", "other_task(3)", {"whole"}),
    "Prefect's own options": ("retries=3", "retries=4", {"whole"}),
    "how the script is run": ("    whole()\n", "    print(whole())\n", set()),
    "the module's text about itself": ('"""Two tasks', '"""Three tasks', set()),
    "an import that nobody uses": ("import os", "import os, sys", set()),
}


@pytest.mark.parametrize(("old", "new", "changed"), EDITS.values(), ids=EDITS)
def test_an_edit_changes_exactly_what_depends_on_it(old: str, new: str, changed: set[str]) -> None:
    assert MODULE.count(old) == 1
    edited = MODULE.replace(old, new)
    names = ("one_task", "other_task", "whole")
    assert {name for name in names if reach(name) != reach(name, edited)} == changed


def test_imports_are_those_that_are_used_and_those_inside() -> None:
    assert reach("one_task").imports >= {"helpers", "helpers.first", "late", "late.later", "tools", "stars", "os"}
    assert not reach("one_task").imports & {"numpy", "one", "fast", "helpers.second", "package"}
    others = {"numpy", "one.deep", "one.other", "package", "package.beside", "fast", "fast.speed", "helpers.second"}
    assert reach("other_task").imports >= others


def test_what_is_not_defined_at_the_top_reaches_all_of_the_module() -> None:
    found = reach("nobody")
    assert found.text == MODULE.encode()
    assert {"numpy", "helpers", "prefect"} <= found.imports


def test_what_is_for_type_checkers_alone_does_not_count() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from types import Kind\ndef f(x: Kind): return x\n"
    assert reach("f", text) == reach("f", text.replace("from types", "from other_types"))


def test_names_that_refer_to_each_other_end() -> None:
    text = "def f(): return g()\ndef g(): return f()\n"
    assert reach("f", text).text == text.rstrip().encode()
