"""What a run asks of the place where it runs: this machine and every cluster answer the same few questions.

An attempt's folder looks the same everywhere, so that staging it is a list of files and starting it is one command.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sluiceway.core.environments import contained, enter, watched
from sluiceway.core.errors import InputMissing
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.runs import jobside, payload
from sluiceway.core.slurm.resources import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import PurePosixPath

    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.request import Content, Element, RunRequest
    from sluiceway.core.slurm.job import Ending, JobId
    from sluiceway.core.slurm.usage import JobUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a request: where its folder on this machine is, at which place it runs, and in which parts."""

    request: RunRequest
    folder: AttemptFolder
    place: str
    elements: tuple[Element, ...] = ()
    since: int = 1

    def order(self, index: int | None = None) -> bytes:
        """Give the request as jobside reads it, for one element of an array or for all there is."""
        folder, element = self.folder, None
        if index is not None:
            folder, element = folder.element(index), self.elements[index]
        checkpoint = self.folder.run.checkpoint(self.since) / self.checkpoint(index)
        place = os.path.relpath(checkpoint, folder.path)
        return self.request.order(attempt=folder.number, element=element, checkpoint=place)

    def checkpoint(self, index: int | None) -> str:
        """Give the part of the checkpoint's folder that is an element's own; nothing where all of it is."""
        if index is None:
            return ""
        # By what it does: its place in the array may be another one in the next attempt.
        return digest_of_bytes(repr(self.elements[index].arguments).encode())[-16:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A small file to write into an attempt's folder, by its name there."""

    name: PurePosixPath
    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was added to a job's files since the last news."""

    stdout: bytes = b""
    stderr: bytes = b""
    messages: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job is not running yet, or not now, and why."""

    reason: str


class JobHost(Protocol):
    """A place where attempts run. Every question about an attempt may be asked again, after any crash."""

    @property
    @abstractmethod
    def base(self) -> PurePosixPath:
        """The folder there that holds the folder of runs."""

    @abstractmethod
    async def stage(self, attempt: Attempt) -> None:
        """Bring everything there that the attempt needs; whatever lay in its folder goes."""

    @abstractmethod
    async def find(self, folder: AttemptFolder) -> JobId | None:
        """Give the job of an attempt; none where it was never started."""

    @abstractmethod
    async def submit(self, attempt: Attempt) -> JobId:
        """Start the attempt unless that was done before, and give its job: never two."""

    @abstractmethod
    def watch(self, folder: AttemptFolder, job: JobId) -> AsyncIterator[News | Waiting | Ending]:
        """Tell what becomes of a job, from its first byte on; the last thing told is how it ended."""

    @abstractmethod
    async def has_checkpoint(self, folder: AttemptFolder, since: int, part: str = "") -> bool:
        """Whether attempts from that one on have left anything, in this part, from which the next one can go on."""

    def asked(self, folder: AttemptFolder) -> Resources:  # noqa: ARG002 - this machine is asked for nothing
        """Give what an attempt that was staged asks for."""
        return Resources()

    async def used(
        self,
        folder: AttemptFolder,  # noqa: ARG002 - nobody keeps accounts here
        *,
        waits: bool = True,  # noqa: ARG002
    ) -> JobUsage | None:
        """Give what an attempt that has ended was given and used; none where nobody knows, or nobody knows yet."""
        return None

    @abstractmethod
    async def cancel(self, folder: AttemptFolder, job: JobId) -> None:
        """End a job, and come back when it has ended."""

    @abstractmethod
    async def fetch(self, folder: AttemptFolder, name: PurePosixPath) -> Path:
        """Bring a file of the attempt's folder to this machine's, unless it is there, and give its place."""


def staged_files(attempt: Attempt, activation: bytes | None = None) -> tuple[Staged, ...]:
    """Give every small file that an attempt's folder holds before it starts; its inputs come beside them."""
    folder, request = attempt.folder, attempt.request
    files = [
        Staged(name=folder.request, content=attempt.order()),
        Staged(name=folder.jobside, content=Path(jobside.__file__).read_bytes()),
        Staged(name=folder.helper, content=Path(payload.__file__).read_bytes()),
        Staged(name=folder.messages, content=b""),
    ]
    files += [Staged(name=folder.carried / name, content=content) for name, content in request.carried.items()]
    programs = {} if request.launcher is None else request.launcher.files()
    files += [Staged(name=folder.launch / name, content=content) for name, content in programs.items()]
    if activation is not None:
        files.append(Staged(name=folder.activation, content=activation))
        entering = (Path(str(each.__file__)) for each in (enter, contained, watched))
        files += [Staged(name=folder.whole.path / each.name, content=each.read_bytes()) for each in entering]
    for index in range(len(attempt.elements)):
        files.append(Staged(name=folder.element(index).request, content=attempt.order(index)))
    files += _code_files(attempt)
    return tuple(replace(each, name=each.name.relative_to(folder.path)) for each in files)


def keep_code(attempt: Attempt) -> None:
    """Keep an attempt's script and its modules here, where it runs elsewhere: it may be asked for again."""
    for each in _code_files(attempt):
        place = Path(each.name)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(each.content)


def _code_files(attempt: Attempt) -> Iterator[Staged]:
    folder, request = attempt.folder, attempt.request
    for each in () if request.code is None else request.code.modules:
        yield Staged(name=folder.library / each.place, content=each.content)
    if request.script is not None:
        yield Staged(name=folder.script, content=unchanged(request.script), executable=True)


def unchanged(file: Content) -> bytes:
    """Give a file of a request, read where need be, or raise InputMissing where it is not what the request says."""
    content = file.path.read_bytes() if file.content is None else file.content
    if digest_of_bytes(content) != file.digest:
        raise InputMissing(what="the script, which has changed since it was asked for,", path=file.path)
    return content
