"""An engine that is held stays as long as somebody works with it, and says why where it does not come up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.errors import EngineFailed, RequestInvalid
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.held import held_here
from sluiceway.core.launch.launcher import EngineLauncher
from sluiceway.core.launch.opened import dashboard
from sluiceway.core.runs.folder import AttemptFolder, RunFolder
from tests.conftest import ROOT
from tests.core.launch.toy import SIDE

READY = {"launcher": "dask", "state": "ready", "address": "tcp://10.0.0.1:8786"}


class ToyLauncher(EngineLauncher):
    name = "toy"
    program = "toy_side.py"
    parts: tuple[tuple[str, ...], ...] = (("sleep", "600"), ("sleep", "600"))
    boss: tuple[str, ...] = ("sleep", "600")
    wait: tuple[str, ...] = ()
    ports: int = 1
    seconds: float = 20

    def files(self) -> Mapping[str, bytes]:
        shared = {name: content for name, content in DaskLauncher().files().items() if name != "dask_side.py"}
        return {**shared, self.program: SIDE.encode()}


async def test_an_engine_is_there_as_long_as_the_block() -> None:
    with held_here(sys.executable) as holding:
        async with holding.engine(ToyLauncher(nodes=2)) as connection:
            assert (connection.launcher, connection.state, connection.address) == ("toy", "ready", "toy://here")
            holders = [Path(f"/proc/{each['holder']}") for each in connection.nodes]
            assert all(each.exists() for each in holders)
        assert not [each for each in holders if each.exists()]
        folder = Path(holding.folder)
    assert not folder.exists()


async def test_an_engine_that_does_not_come_up_says_why() -> None:
    with held_here(sys.executable) as holding:
        # It is ready only when this is there: a part that ends just after the start has not come up either.
        failing = ToyLauncher(parts=(("sh", "-c", "echo no room here; exit 4"),), wait=("/nowhere",))
        with pytest.raises(EngineFailed, match=r"(?s)this machine.*exit code 4.*no room here"):
            async with holding.engine(failing):
                pass


def test_an_engine_ends_with_whoever_holds_it(tmp_path: Path) -> None:
    """Red on: core/launch/held.py: `watched = str(os.getpid()) if self.is_here else ""` -> `watched = ""`."""
    script = tmp_path / "holds.py"
    script.write_text(HOLDS)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = subprocess.Popen([sys.executable, script], env=env, stdout=subprocess.PIPE, text=True)
    assert begun.stdout is not None
    holders = [Path(f"/proc/{each}") for each in json.loads(begun.stdout.readline())]
    begun.kill()
    begun.communicate()
    left = " -o ".join(f"-e {each}" for each in holders)
    subprocess.run(["sh", "-c", f"for n in $(seq 300); do [ {left} ] || exit 0; sleep 0.1; done"], check=True)
    outlived = [each for each in holders if each.exists()]
    for each in outlived:
        os.kill(int(each.name), signal.SIGTERM)
    assert outlived == []


HOLDS = """
import asyncio, json, sys
from sluiceway.core.launch.held import held_here
from tests.core.launch.test_held import ToyLauncher

async def hold():
    with held_here(sys.executable) as holding:
        async with holding.engine(ToyLauncher(nodes=2)) as connection:
            print(json.dumps([each["holder"] for each in connection.nodes]), flush=True)
            await asyncio.Event().wait()

asyncio.run(hold())
"""


def attempt(home: Path, **told: str) -> AttemptFolder:
    folder = RunFolder(base=PurePosixPath(home), key="sha256:ab").attempt(1)
    if told:
        Path(folder.connection).parent.mkdir(parents=True)
        Path(folder.connection).write_text(json.dumps(told))
    return folder


async def test_the_dashboard_of_a_run_on_this_machine_is_where_it_is(tmp_path: Path) -> None:
    async with dashboard(attempt(tmp_path, **READY, dashboard="http://127.0.0.1:8787/status"), None) as url:
        assert url == "http://127.0.0.1:8787/status"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "it was started beside no engine, or that is not ready yet"),
        ({**READY, "dashboard": "http://127.0.0.1:1/", "state": "over"}, "is over"),
        ({**READY, "dashboard": ""}, "its dask shows none"),
    ],
)
async def test_a_run_without_a_dashboard_says_so(tmp_path: Path, told: dict[str, str], why: str) -> None:
    with pytest.raises(RequestInvalid, match=why):
        async with dashboard(attempt(tmp_path, **told), None):
            pass
