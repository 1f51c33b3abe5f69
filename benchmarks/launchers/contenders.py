"""Who starts an engine in a job: our launchers, as they travel with a run, and dagster-slurm's of Ray.

Each gives the files of a job, whose payload writes down when it begins. An engine has one environment for all of them,
which is there already.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks.slurm.peers import DAGSTER_SLURM, environment
from tests.engines import KEPT

if TYPE_CHECKING:
    from sluiceway.core.launch.launcher import EngineLauncher

SIDE: Final = Path(__file__).with_name("dagster_side.py")
PAYLOAD: Final = "import time\nprint(time.time(), file=open('ready', 'w'))\n"
_OURS: Final = """\
date +%s.%N >began
export SLUICEWAY_CONTEXT="$PWD/context.json" PATH={programs}:$PATH
{command}
date +%s.%N >ended
"""
# Its script does its own tidying when it ends; only then is all of it over. It uses uuidgen, which not every node has.
_UUIDGEN: Final = "#!/bin/sh\nexec cat /proc/sys/kernel/random/uuid\n"
_THEIRS: Final = """\
date +%s.%N >began
export PATH="$PATH:$PWD"
bash {script}
date +%s.%N >ended
"""


class Contender(Protocol):
    """Somebody who starts an engine in a job."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def files(self, folder: PurePosixPath) -> dict[str, str]:
        """Give the files of a job in this folder, `job.sh` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One of our launchers."""

    name: str
    launcher: EngineLauncher
    python: Path

    def files(self, folder: PurePosixPath) -> dict[str, str]:
        """Give what travels with a run of it."""
        words = self.launcher.command((str(self.python), "payload.py"), programs=folder)
        script = _OURS.format(programs=shlex.quote(str(self.python.parent)), command=shlex.join(words))
        programs = {name: content.decode() for name, content in self.launcher.files().items()}
        return {"job.sh": script, "payload.py": PAYLOAD, **programs}


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterSlurm:
    """dagster-slurm's launcher of Ray, with its own defaults: what it would put into the batch script."""

    python: Path
    name: str = "ray of dagster-slurm"

    def files(self, folder: PurePosixPath) -> dict[str, str]:
        """Let it write its scripts."""
        maker = environment(KEPT / DAGSTER_SLURM.replace("==", "-"), DAGSTER_SLURM)
        activate = self.python.parent / "activate"
        words = (str(maker), str(SIDE), str(folder), str(self.python), str(activate))
        made: dict[str, str] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return {"job.sh": _THEIRS.format(script="main.sh"), "payload.py": PAYLOAD, "uuidgen": _UUIDGEN, **made}
