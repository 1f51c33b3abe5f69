"""`sluiceway logs` of an array: each line with its element's number, or one element alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.array import Arrays
from sluiceway.core.runs.function import Calls, Item
from sluiceway.core.runs.local_array import LocalArray
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.run import Runs
from tests.core.runs import called

TEXTS = ["one\ntwo", "three"]


@pytest.fixture
async def array(tmp_path: Path) -> str:
    """An array of two elements that have said their texts; its name."""
    runs = Runs(home=tmp_path / "home", clock=SystemClock())
    host = LocalArray(runs.home, shell=LocalShell(), clock=runs.clock)
    asked = Calls(function=called.saying, items=[Item(arguments=(each,)) for each in TEXTS], python=sys.executable)
    await Arrays(runs=runs, host=host, place=Local()).answers(asked)
    return runs.folder(asked.array_request().key).run_id


def logs(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("sluiceway")), "logs", *words]
    home = {**os.environ, "SLUICEWAY_HOME": str(folder / "home")}
    return subprocess.run(command, env=home, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("follow", [[], ["--follow"]], ids=["at once", "followed"])
def test_each_line_of_an_array_tells_its_element(tmp_path: Path, array: str, follow: list[str]) -> None:
    assert logs(tmp_path, array, *follow).stdout == "[0] one\n[0] two\n[1] three\n"


@pytest.mark.parametrize("follow", [[], ["--follow"]], ids=["at once", "followed"])
def test_one_element_alone_is_shown_as_it_was_printed(tmp_path: Path, array: str, follow: list[str]) -> None:
    assert logs(tmp_path, array, "--element", "0", *follow).stdout == "one\ntwo\n"


def test_an_element_that_there_is_none_of_is_exit_code_2(tmp_path: Path, array: str) -> None:
    done = logs(tmp_path, array, "--element", "2")
    assert (done.returncode, "it has elements 0 to 1" in done.stderr) == (2, True)
