"""The two others: how each is installed, and how it runs.

submitit lives on the login node, where its user would log in. dagster-slurm runs here and goes there over SSH.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from benchmarks.slurm.login_node import LoginNode
    from sluiceway.core.remote.shell import Shell

HERE: Final = Path(__file__).parent
SUBMITIT: Final = "submitit==1.5.4"
DAGSTER_SLURM: Final = "dagster-slurm==1.22.0"
# One that the cluster's user can run, too.
PYTHON: Final = "/usr/bin/python3"


def environment(folder: Path, package: str) -> Path:
    """Give the Python of an environment with one package, made now unless it is there."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv", path=f"{os.environ['PATH']}:.tools/bin") or "uv"
        subprocess.run((uv, "venv", "--quiet", "--python", PYTHON, str(folder)), check=True)
        install = ("pip", "install", "--quiet", "--link-mode=copy", "--compile-bytecode", "--python", str(python))
        subprocess.run((uv, *install, package), check=True)
    return python


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitit:
    """submitit on the login node."""

    node: LoginNode
    shell: Shell

    def install(self) -> None:
        """Put it and its script there."""
        environment(self.node.home / "submitit", SUBMITIT)
        shutil.copy(HERE / "submitit_side.py", self.node.home)

    async def run(self, what: str, count: int, at_once: int = 1) -> float:
        """Run so many calls; give the seconds from submit to the last result."""
        python = self.node.home / "submitit" / "bin" / "python"
        folder = self.node.home / "submitit-runs"
        script = str(self.node.home / "submitit_side.py")
        done = await self.shell.run(Command.of(str(python), script, what, str(folder), str(count), str(at_once)))
        return float(done.require_success().text.split()[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterSlurm:
    """dagster-slurm here, its payloads' environment there."""

    node: LoginNode
    work: Path

    def install(self) -> None:
        """Make its environment here, and there what it calls a pre-deployed one."""
        environment(self.work / "dagster-slurm", DAGSTER_SLURM)
        environment(self.node.home / "pipes" / "env", "dagster-pipes")
        (self.node.home / "pipes" / "activate.sh").write_text(":\n")

    async def start(self, payload: str, assets: int = 1) -> asyncio.subprocess.Process:
        """Begin to run so many assets of one payload."""
        login = self.node.login
        account = {
            "assets": assets,
            "ssh": {
                "host": login.host, "port": login.port, "user": login.user, "key_path": str(login.keys[0]),
                "known_hosts_file": str(login.known_hosts),
            },
            "base": str(self.node.home / "dagster"),
            "environment": str(self.node.home / "pipes"),
            "payload": str(HERE / f"{payload}_payload.py"),
        }  # fmt: skip
        file = self.work / f"{payload}-{assets}.json"
        await asyncio.to_thread(file.write_text, json.dumps(account))
        python = self.work / "dagster-slurm" / "bin" / "python"
        variables = {**os.environ, "HOME": str(self.work), "DAGSTER_SLURM_SSH_CONTROL_DIR": str(self.work / "control")}
        return await asyncio.create_subprocess_exec(
            python, HERE / "dagster_side.py", file, env=variables, stdout=-1, stderr=asyncio.subprocess.DEVNULL
        )

    async def noop(self) -> float:
        """Run one asset that does nothing; give the seconds that its client took."""
        process = await self.start("noop")
        said = (await process.communicate())[0].decode()
        seconds = [json.loads(line)["seconds"] for line in said.splitlines() if line.startswith('{"seconds"')]
        if process.returncode or not seconds:
            raise SystemExit(f"dagster-slurm failed: {said[-2000:]}")
        return float(seconds[0])

    async def lags(self) -> list[float]:
        """Run one asset that says the time; give how late each is heard."""
        process, lags = await self.start("talking"), []
        while process.stdout is not None and (line := await process.stdout.readline()):
            words = line.decode(errors="replace").split()
            if words[:1] == ["[SLURM]"] and words[-1].replace(".", "", 1).isdigit():
                lags.append(time.time() - float(words[-1]))
        await process.wait()
        return lags
