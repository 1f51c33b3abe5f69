"""The login node of a devcluster, which counts what is asked of it: commands over SSH, and Slurm's programs.

Each session's shell, and a small script before each program on PATH, writes a line with the port that the connection
comes from; so what runs at the same time is told apart. Copies over SFTP start no shell and are not counted.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.remote.login import Login
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sluiceway.core.remote.shell import Shell
    from sluiceway.deployments.devcluster.plan import Plan

SESSION: Final = "session"
PROGRAMS: Final = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun")
# Bash reads this for each command that sshd starts.
_EACH_SESSION = 'export PATH="{programs}:$PATH"\necho "$SSH_CONNECTION session" >>"{log}"\n'
_EACH_PROGRAM = '#!/bin/sh\necho "$SSH_CONNECTION {name}" >>"{log}"\nexec {real} "$@"\n'


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that was asked of the login node: over the connection from which port, a session or a program."""

    port: int
    what: str


@dataclass(frozen=True, slots=True)
class LoginNode:
    """The login node, and what it was asked so far."""

    plan: Plan

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.plan.folder.home

    @property
    def login(self) -> Login:
        """How to log in."""
        return Login(
            host="127.0.0.1", port=self.plan.ports.login, user=self.plan.user, keys=(self.plan.folder.key,),
            known_hosts=self.plan.folder.known_hosts, use_agent=False,
        )  # fmt: skip

    def count(self) -> None:
        """Begin to count."""
        programs, log = self.home / "counted", self.home / "asked.txt"
        programs.mkdir(exist_ok=True)
        for name in PROGRAMS:
            text = _EACH_PROGRAM.format(name=name, log=log, real=shutil.which(name))
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        log.touch()
        shutil.chown(log, self.plan.user)
        (self.home / ".bashrc").write_text(_EACH_SESSION.format(programs=programs, log=log))

    def mark(self) -> int:
        """Give the place up to which everything was asked before now."""
        return (self.home / "asked.txt").stat().st_size

    def asked_since(self, mark: int) -> list[Asked]:
        """Give what was asked since then, in order; what asks from inside of a job has no part in it."""
        with (self.home / "asked.txt").open("rb") as log:
            log.seek(mark)
            words = [line.split() for line in log.read().decode().splitlines()]
        return [Asked(int(each[1]), each[-1]) for each in words if len(each) == 5]


async def port_of(shell: Shell) -> int:
    """Give the port that a connection comes from."""
    done = await shell.run(Command.script('echo "$SSH_CONNECTION"'))
    return int(done.require_success().text.split()[1])


def tally(asked: Iterable[Asked]) -> dict[str, int]:
    """Count sessions and programs."""
    return dict(sorted(Counter(each.what for each in asked).items()))


def until_submitted(asked: list[Asked]) -> list[Asked]:
    """Give what was asked until sbatch ran, with the session that it ran in; all where it never ran.

    >>> tally(until_submitted([Asked(1, "session"), Asked(1, "sbatch"), Asked(1, "session")]))
    {'sbatch': 1, 'session': 1}
    """
    last = next((number for number, each in enumerate(asked, start=1) if each.what == "sbatch"), len(asked))
    return asked[:last]
