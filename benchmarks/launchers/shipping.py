"""Measures how an environment comes to a cluster and what a run in it costs, beside a plain copy of its folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.launchers.outcome import Shipment
from benchmarks.measure import Stopwatch
from benchmarks.slurm.ours import PLACE, WISH, Ours
from sluiceway.core.environments import provision
from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import runtime_of, workshop_here
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import run
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.hosts import host_at
from sluiceway.core.runs.request import RunRequest

if TYPE_CHECKING:
    from benchmarks.slurm.login_node import LoginNode
    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.runs.access import Access

TOOLS: Final = Path(".tools/bin").absolute()
# As good as a copy by hand gets: packed as ours is, one stream, and nobody looks whether it arrived whole.
_COPY: Final = """
tar --create --use-compress-program='zstd -3 -T0' --directory="$1" . |
    ssh -F "$2" "$3" 'mkdir -p copied && tar --extract --zstd --directory=copied'
"""
_FORGET: Final = 'rm -rf copied; ! test -e "$1" || chmod -R u+w "$1"; rm -rf "$1"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    """A devcluster, and a folder here for what is built."""

    node: LoginNode
    work: Path

    async def measure(self, name: str, python: Path) -> Shipment:
        """Bring to the cluster what this Python's environment has, which was never there, and use it."""
        ours = Ours(node=self.node, home=self.work / "home")
        ours.home.mkdir(exist_ok=True)
        os.environ["PATH"] += f":{TOOLS}"
        os.environ["SLUICEWAY_CACHE_DIR"] = str(self.work / f"cache-{secrets.token_hex(4)}")
        access = await access_to(await ours.settings(PLACE.name), ours.runs.clock)
        runtime = await self._runtime(name, python)
        with Stopwatch() as built:
            packed = await provision.build(runtime, workshop_here())
        size = 0 if packed is None else packed.path.stat().st_size
        with Stopwatch() as shipped:
            await provision.at_cluster(runtime, access, None)
        with Stopwatch() as found:
            await provision.at_cluster(runtime, access, None)
        (entry,) = await provision.cache_at(access).entries()
        within = [await self._run(ours, runtime) for _ in range(3)]
        without = [await self._run(ours, None) for _ in range(3)]
        copied = await asyncio.to_thread(self._copy, python.parent.parent)
        await self._forget(access)
        return Shipment(
            name=name, files=entry["files"], megabytes=entry["bytes"] >> 20,
            packed=size >> 20,
            built=built.seconds, shipped=shipped.seconds, found=found.seconds, copied=copied,
            within=min(within), without=min(without),
        )  # fmt: skip

    async def _runtime(self, name: str, python: Path) -> Runtime:
        freeze = ("uv", "--quiet", "pip", "freeze", "--python", str(python))
        frozen = await asyncio.to_thread(subprocess.run, freeze, check=True, capture_output=True, text=True)
        requirements = self.work / f"{name}.txt"
        requirements.write_text(frozen.stdout)
        fields = {"kind": "uv", "requirements": str(requirements), "python": "/usr/bin/python3"}
        return await runtime_of(environment_of(name, fields, where="the benchmark"))

    async def _run(self, ours: Ours, runtime: Runtime | None) -> float:
        """Run a Python that does nothing, from request to receipt."""
        request = RunRequest(command=("python3", "-c", ""), runtime=runtime, parameters={"salt": secrets.token_hex(8)})
        with Stopwatch() as watch:
            async with host_at(PLACE, ours.runs, wish=WISH, find=ours.settings) as host:
                receipt = await run.run(request, runs=ours.runs, host=host, place=PLACE)
        if not receipt.succeeded:
            raise SystemExit(f"ours failed: {receipt.why}")
        return watch.seconds

    def _copy(self, folder: Path) -> float:
        plan = self.node.plan
        words = ("sh", "-c", _COPY, "sh", str(folder), str(plan.folder.ssh_config), plan.name)
        with Stopwatch() as watch:
            subprocess.run(words, check=True)
        return watch.seconds

    async def _forget(self, access: Access) -> None:
        environments = str(access.base / "environments")
        (await access.shell.run(Command.script(_FORGET, environments))).require_success()
        await asyncio.to_thread(shutil.rmtree, os.environ["SLUICEWAY_CACHE_DIR"])
