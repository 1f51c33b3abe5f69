"""`sluiceway refresh` as a user runs it: with a server of its own or the one that is up, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from sluiceway.deployments.direct_or_flow import UP
from tests.deployments.runs import client_of
from tests.deployments.upped import COMMAND, PATIENCE, Up, processes_in
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, file_name

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(600)]

IDS = GOOD[:2]


@dataclass(kw_only=True)
class Shell:
    """A user in a folder, with a home of their own there and a catalogue on this machine."""

    folder: Path
    panel: Path
    upstream: LoopbackCatalog
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def variables(self) -> dict[str, str]:
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SLUICEWAY_"))}
        return {
            **theirs,
            "SLUICEWAY_HOME": str(self.home),
            "SLUICEWAY_CACHE_DIR": str(self.folder / "cache"),
            "SLUICEWAY_CATALOG_API": self.upstream.source.api,
            "SLUICEWAY_CATALOG_FILES": self.upstream.source.files,
            "PREFECT_HOME": str(self.folder / "client"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def refresh(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a refresh whose answer and remarks go to files."""
        command = [COMMAND, "refresh", "--panel", str(self.panel), "--out", "out", "--no-publish", *words]
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            program = subprocess.Popen(
                command, cwd=self.folder, env=self.variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.programs.append(program)
        return program

    def in_its_middle(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a refresh, and give it when it waits for the rest of a scoring file."""
        self.upstream.stall(file_name(IDS[0]), after=100)
        program = self.refresh(*words)
        deadline = time.monotonic() + PATIENCE
        while not self.upstream.stalled.wait(0.2):
            assert program.poll() is None, self.said("stderr")
            assert time.monotonic() < deadline, self.said("stderr")
        return program

    def said(self, name: str = "stdout") -> str:
        return (self.folder / name).read_text()

    def page(self, name: str = "stdout") -> str:
        """The address of the run's page."""
        found = re.search(r"^Prefect: (http://127\.0\.0\.1:\d+/runs/flow-run/\S+)$", self.said(name), re.MULTILINE)
        assert found is not None, self.said(name)
        return found[1]

    def processes(self) -> list[int]:
        """Everything that runs with this home or on behalf of it."""
        return processes_in(self.home)

    def wipe(self) -> None:
        """End what is left, whatever the test found."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for each in self.programs:
            each.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    invented = Invented.made(tmp_path / "invented", variants=1_500, people=12)
    folder = tmp_path / "user"
    folder.mkdir()
    with invented.catalogue(*IDS).served() as upstream:
        shell = Shell(folder=folder, panel=invented.panel, upstream=upstream)
        try:
            yield shell
        finally:
            upstream.released.set()
            shell.wipe()


def test_it_says_first_where_its_page_is_which_is_there_meanwhile_and_leaves_nothing_running(shell: Shell) -> None:
    """Red on: deployments/server.py: `await daemon.stop()` -> `pass`."""
    program = shell.in_its_middle()
    assert shell.said().startswith(f"Prefect: {shell.page()}\n")
    # Pages are for browsers: whoever does not ask for HTML is told that there is none.
    assert httpx.get(shell.page(), headers={"Accept": "text/html"}).status_code == 200
    shell.upstream.released.set()
    assert program.wait(PATIENCE) == 0, shell.said("stderr")
    assert "n_total 2, n_ok 2, n_failed 0, n_cached 0" in " ".join(shell.said().split())
    assert (shell.folder / "out" / "own" / "scores.parquet").is_file()
    assert shell.processes() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_told_to_end_leaves_nothing_running_and_the_next_one_does_the_rest(
    shell: Shell, how: signal.Signals
) -> None:
    """Red on: deployments/server.py: `await daemon.stop()` -> `pass`."""
    program = shell.in_its_middle()
    program.send_signal(how)
    shell.upstream.released.set()
    assert program.wait(PATIENCE) != 0
    assert shell.processes() == []
    assert "Traceback" not in shell.said("stderr")
    assert shell.refresh("--headless", "--json").wait(PATIENCE) == 0, shell.said("stderr")
    assert json.loads(shell.said())["n_total"] == 2


async def test_with_a_server_that_is_up_it_is_a_run_there_and_leaves_that_alone(shell: Shell) -> None:
    up = Up(shell.folder, "--no-run")
    try:
        up.until("Ctrl-C ends it")
        (shell.folder / "stdout").rename(shell.folder / "up.out")
        (shell.folder / "stderr").rename(shell.folder / "up.err")
        assert await asyncio.to_thread(shell.refresh("--json").wait, PATIENCE) == 0, shell.said("stderr")
        assert json.loads(shell.said())["n_total"] == 2
        page = shell.page("stderr")
        assert page.startswith(up.url)
        async with client_of(up.url) as client:
            run = await client.read_flow_run(UUID(page.rpartition("/")[2]))
        assert run.state is not None
        assert (run.state.name, run.deployment_id) == ("Completed", None)
        assert json.loads((shell.home / UP).read_text()) == {"api": f"{up.url}/api"}
        assert up.program.poll() is None
    finally:
        up.wipe()
