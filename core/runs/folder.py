"""The name of every file of a run, and nothing else spells one; jobside.py, which travels alone, spells its own.

A run is a folder called by its content key; each attempt at it is a folder in that: `BASE/runs/KEY/a1/`. It looks the
same on this machine and on a cluster, only the base differs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.provenance.manifest import FOLDERS_NAME
from sluiceway.core.runs import jobside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

RUNS = "runs"
_ATTEMPT = re.compile(r"a([1-9]\d*)")
_SHORT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder of a run, below the base of the machine that it lies on."""

    base: PurePosixPath
    key: str

    @property
    def name(self) -> str:
        """What the folder is called: the key without the name of its algorithm."""
        return self.key.rpartition(":")[2]

    @property
    def run_id(self) -> str:
        """What people call the run: the beginning of the key."""
        return self.name[:_SHORT]

    @property
    def path(self) -> PurePosixPath:
        """The folder."""
        return self.base / RUNS / self.name

    @property
    def receipt(self) -> PurePosixPath:
        """How the last finished attempt ended."""
        return self.path / "receipt.json"

    @property
    def again(self) -> PurePosixPath:
        """Why there is another attempt after one that failed, and what it asks for; on this machine only."""
        return self.path / "again.json"

    def checkpoint(self, since: int) -> PurePosixPath:
        """Where attempts from that one on leave for each other how far they came."""
        return self.path / f"checkpoint-a{since}"

    def attempt(self, number: int) -> AttemptFolder:
        """Give the folder of an attempt."""
        return AttemptFolder(run=self, number=number)

    def attempts(self, names: Iterable[str]) -> list[AttemptFolder]:
        """Find the attempts among the names of a run's folder, in their order.

        >>> from pathlib import PurePosixPath
        >>> folder = RunFolder(base=PurePosixPath("/home"), key="sha256:ab")
        >>> [each.number for each in folder.attempts(["a10", "a2", ".a3", "receipt.json", "a0"])]
        [2, 10]
        """
        found = (_ATTEMPT.fullmatch(name) for name in names)
        return [self.attempt(number) for number in sorted(int(each[1]) for each in found if each)]


def attempt_called(comment: str, base: PurePosixPath) -> AttemptFolder | None:
    """Give the folder of the attempt whose job has this comment; none where it is nobody's.

    >>> from pathlib import PurePosixPath
    >>> attempt = RunFolder(base=PurePosixPath("/home"), key="sha256:ab").attempt(2)
    >>> attempt_called(attempt.comment, attempt.run.base) == attempt
    True
    """
    try:
        told = json.loads(comment)
        return RunFolder(base=base, key=told["key"]).attempt(int(told["attempt"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFolder:
    """The folder of one attempt at a run, or of one element of an array."""

    run: RunFolder
    number: int
    index: int | None = None

    def element(self, index: int) -> AttemptFolder:
        """Give the folder of an array's element."""
        return AttemptFolder(run=self.run, number=self.number, index=index)

    @property
    def whole(self) -> AttemptFolder:
        """The folder of the attempt that this is an element of, or itself."""
        return AttemptFolder(run=self.run, number=self.number)

    def at(self, base: PurePosixPath) -> AttemptFolder:
        """Give the same attempt's folder on another machine."""
        return AttemptFolder(run=RunFolder(base=base, key=self.run.key), number=self.number, index=self.index)

    @property
    def token(self) -> str:
        """The job's name, by which a lost job is found again."""
        return f"sw-{self.run.run_id}-a{self.number}"

    @property
    def comment(self) -> str:
        """The job's comment: the token in full."""
        return json.dumps({"key": self.run.key, "attempt": self.number})

    @property
    def path(self) -> PurePosixPath:
        """The folder."""
        whole = self.run.path / f"a{self.number}"
        return whole if self.index is None else whole / f"t{self.index}"

    @property
    def intent(self) -> PurePosixPath:
        """That this attempt is to be made, and where; written when all else is staged, before anything starts."""
        return self.path / "intent.json"

    @property
    def cancelled(self) -> PurePosixPath:
        """That somebody wants this attempt to end."""
        return self.path / "cancelled.json"

    @property
    def receipt(self) -> PurePosixPath:
        """How this attempt ended, also when there is a later one; on this machine only."""
        return self.path / "receipt.json"

    @property
    def manifest(self) -> PurePosixPath:
        """How what it made came to be."""
        return self.path / FOLDERS_NAME

    @property
    def resources(self) -> PurePosixPath:
        """What the job asks of Slurm; on this machine only."""
        return self.path / "resources.json"

    @property
    def job(self) -> PurePosixPath:
        """Slurm's id of the job, once it is known; on this machine only."""
        return self.path / "job.json"

    @property
    def request(self) -> PurePosixPath:
        """What is to be done, for jobside."""
        return self.path / jobside.REQUEST

    @property
    def script(self) -> PurePosixPath:
        """The user's script."""
        return self.path / jobside.SCRIPT

    @property
    def batch_script(self) -> PurePosixPath:
        """The script that sbatch gets."""
        return self.path / "job.sh"

    @property
    def jobside(self) -> PurePosixPath:
        """The program that runs the payload."""
        return self.whole.path / "jobside.py"

    @property
    def helper(self) -> PurePosixPath:
        """What a payload in Python imports to send messages."""
        return self.library / "sluiceway_payload.py"

    @property
    def library(self) -> PurePosixPath:
        """Where Python looks for modules first: the user's own that a script imports lie there."""
        return self.whole.path / jobside.LIBRARY

    @property
    def carried(self) -> PurePosixPath:
        """Where what comes with a request lies."""
        return self.whole.path / "carried"

    @property
    def launch(self) -> PurePosixPath:
        """Where the launcher's programs lie."""
        return self.whole.path / "launch"

    @property
    def activation(self) -> PurePosixPath:
        """How the payload enters its environment."""
        return self.whole.path / "activation.json"

    @property
    def entered(self) -> PurePosixPath:
        """In what the payload really runs, as its node says."""
        return self.path / "entered.json"

    @property
    def connection(self) -> PurePosixPath:
        """Where a launcher's engine is, once it is ready."""
        return self.path / "engine" / "connection.json"

    @property
    def elements(self) -> PurePosixPath:
        """Which element of an array does what; on this machine only."""
        return self.path / "elements.json"

    @property
    def context(self) -> PurePosixPath:
        """What the payload is told."""
        return self.path / jobside.CONTEXT

    @property
    def started(self) -> PurePosixPath:
        """That it began, and as which job; locked as long as it lives."""
        return self.path / jobside.STARTED

    @property
    def outcome(self) -> PurePosixPath:
        """How it ended."""
        return self.path / jobside.OUTCOME

    @property
    def stdout(self) -> PurePosixPath:
        """What it printed."""
        return self.path / jobside.STDOUT

    @property
    def stderr(self) -> PurePosixPath:
        """What it complained of."""
        return self.path / jobside.STDERR

    @property
    def messages(self) -> PurePosixPath:
        """What the payload told of itself."""
        return self.path / jobside.MESSAGES

    @property
    def inputs(self) -> PurePosixPath:
        """Where the payload finds its inputs."""
        return self.path / jobside.INPUTS

    @property
    def work(self) -> PurePosixPath:
        """The payload's working directory; declared outputs are relative to it."""
        return self.path / jobside.WORK

    def input(self, name: str) -> PurePosixPath:
        """Give the place of an input."""
        return self.inputs / name

    def output(self, name: str) -> PurePosixPath:
        """Give the place of an output."""
        return self.work / name
