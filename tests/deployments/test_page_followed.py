"""The page about deploying, followed line by line: a server that is there already, and a clone for each flow run."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from sluiceway.deployments.processes import started_by
from sluiceway.deployments.server import address, running
from tests.conftest import ROOT
from tests.deployments.page import block
from tests.deployments.runs import PATIENCE, asked_for, client_of, has_ended, until

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]

PROGRAMS = Path(sys.executable).parent
PACKAGES = Path(sys.prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
CODE = ("core", "blocks", "tasks", "flows", "deployments", "sluiceway", "prefect.yaml", "pyproject.toml")
GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Somebody's shell, with a Prefect server, a home, and the programs of an environment."""

    folder: Path
    url: str
    programs: Path = PROGRAMS

    @property
    def variables(self) -> dict[str, str]:
        there = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {
            **there,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_HOME": str(self.folder / "client"),
            "SLUICEWAY_HOME": str(self.folder / "home"),
            "SLUICEWAY_REPOSITORY": f"file://{self.folder}/repository.git",
        }

    def run(self, text: str, *, at: Path | None = None) -> str:
        """Run lines, and give what they said."""
        words = ["sh", "-ec", text]
        done = subprocess.run(
            words,
            cwd=at or self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def in_background(self, text: str) -> Iterator[None]:
        """Run a line for as long as the block."""
        with (self.folder / "background").open("wb") as log:
            program = subprocess.Popen(
                ["sh", "-c", f"exec {text}"],
                cwd=self.folder,
                env=self.variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
        finally:
            # Whatever runs of schedules it has just begun, and wherever it would wait for them.
            family = started_by(program.pid)
            os.killpg(program.pid, signal.SIGKILL)
            for each in family:
                each.end(signal.SIGKILL)
            program.wait()


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    url = address()
    async with running(url, home=tmp_path / "prefect", pages=False):
        yield Shell(folder=tmp_path, url=url)


def bare_repository(place: Path) -> None:
    """Keep this tree, as it stands, in a repository that can be cloned."""
    tree = place.with_suffix(".tree")
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "All of it"), ("branch", "-M", "main")):
        subprocess.run([*GIT, *words], cwd=tree, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(tree), str(place)], check=True)


def environment_without_us(folder: Path) -> Path:
    """Make what `uv sync --no-install-project` makes, without its network, and give its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for each in PACKAGES.iterdir():
        if "sluiceway" not in each.name:
            (packages / each.name).symlink_to(each)
    (folder / "bin" / "prefect").write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m prefect "$@"\n')
    (folder / "bin" / "prefect").chmod(0o755)
    return folder / "bin"


async def test_a_run_with_a_clone_of_its_own_ends_well_where_the_worker_has_the_dependencies_only(shell: Shell) -> None:
    bare_repository(shell.folder / "repository.git")
    clone = shell.folder / "clone"
    shell.run("git clone -q $SLUICEWAY_REPOSITORY clone")
    declared = clone / "prefect.yaml"
    assert declared.read_text().count("\npull: null\n") == 1
    declared.write_text(declared.read_text().replace("\npull: null\n", "\npull: *fresh_clone\n"))
    worker = Shell(folder=shell.folder, url=shell.url, programs=environment_without_us(shell.folder / "only"))
    worker.run(block("sh", "prefect deploy --all"), at=clone)
    async with client_of(shell.url) as client:
        known = await client.read_deployment_by_name("collect-garbage/gc")
        asked = await asked_for(client, "collect-garbage/gc")
        shutil.rmtree(clone)
        worker.run("prefect worker start --pool sluiceway --run-once")
        ended = await client.read_flow_run(asked.id)
    assert str(known.pull_steps).count("git_clone") == 1
    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message


class Told(http.server.BaseHTTPRequestHandler):
    """Somebody who is told of what went wrong."""

    said: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.said.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def told() -> Iterator[str]:
    """The address of somebody to tell."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


async def test_a_server_that_is_there_already_is_given_everything_and_tells_of_damage(shell: Shell, told: str) -> None:
    *lines, worker = block("sh", "export PREFECT_API_URL").splitlines()
    given = "\n".join(lines).replace("http://prefect.example.org:4200", shell.url)
    said = shell.run(given.replace("/srv/sluiceway", str(shell.folder)))
    assert "created\tautomation" in said
    async with client_of(shell.url) as client:
        webhook = CustomWebhookNotificationBlock(name="ops", url=told, json_data={"text": "{{subject}}: {{body}}"})
        await webhook.asave("ops", client=client)
        said = shell.run(block("sh", "--notify").replace("slack-webhook/ops", "custom-webhook/ops"))
        assert [line.split("\t")[0] for line in said.splitlines() if "automation" in line].count("changed") == 2
        (shell.folder / "script.sh").write_text("echo sound >result.txt\n")
        wish = {"script": str(shell.folder / "script.sh"), "outputs": ["result.txt"], "out": str(shell.folder / "out")}
        with shell.in_background(worker):
            made = await until(client, await asked_for(client, "run-script/run-script", **wish), has_ended)
            (shell.folder / "out" / "result.txt").write_text("touched\n")
            looked = await until(client, await asked_for(client, "verify/verify", paths=[wish["out"]]), has_ended)
            assert [each.state_name for each in (made, looked)] == ["Completed", "Failed"]
            async with asyncio.timeout(PATIENCE):
                while not Told.said:
                    await asyncio.sleep(0.2)
    assert "verification failed" in json.loads(Told.said[0])["text"]
    assert "result.txt" in Told.said[0]
