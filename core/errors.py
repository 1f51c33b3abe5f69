"""Every error that sluiceway raises on purpose, as one tree; each class is something a caller would do differently.

::

    SluicewayError                 exit code 1: the work failed
    ├── UsageProblem               exit code 2: what was asked for cannot be done as written
    │   ├── SettingsInvalid        a setting has a value that cannot be used
    │   ├── InputMissing           a file that was named is not there
    │   ├── NotCanonical           a parameter has no one form as JSON
    │   ├── RegionUnreadable       a stretch of the genome is not written as one
    │   ├── PolicyInvalid          a policy that was named or written cannot be followed
    │   ├── PanelUnusable          a reference panel's files cannot be used together
    │   ├── ScoringFileBroken      a scoring file cannot be read; the batch goes on without it
    │   ├── ScoreNotKept           a catalogue id has no scoring file on this machine
    │   ├── QueryRefused           a question in SQL about a folder of results cannot be answered
    │   ├── ManifestBroken         a file is no manifest, or not a whole one
    │   ├── OutputBusy             another run is writing to that folder
    │   ├── PlaceUnusable          a place to run at is not written as one, or cannot run this
    │   ├── RequestInvalid         a run cannot be asked for like this
    │   ├── RunElsewhere           the same run is on its way at another place
    │   ├── RunUnknown             no run has that name, or several have
    │   ├── ResourcesInvalid       something asked of Slurm is not written as Slurm takes it
    │   └── MixedInstall           a flow from one tree would run with the core of another
    ├── OutcomeBroken              a job's outcome file is damaged or half-written
    ├── NothingScored              every score that was asked for failed
    ├── RunFailed                  a run ended, and its work is not done; its receipt says how
    ├── StorageFailed              a disk could not hold or give what it was asked; nothing half-written is left
    ├── RemoteError                exit code 4: a machine did not do what it was asked
    │   ├── Unreachable            no connection came about; nothing was started there
    │   │   └── ConnectionRefused  the machine is there, but nothing listens on that port
    │   ├── ConnectionLost         the connection broke under a command: its outcome is unknown
    │   ├── HostKeyUnknown         the machine's key is not the one we were told to expect
    │   ├── AuthenticationFailed   the machine does not accept who we say we are
    │   ├── CommandTimedOut        a command took longer than it was given, and was stopped
    │   ├── CommandFailed          a command ran and ended with an exit code or a signal
    │   ├── SlurmRefused           Slurm answered, and will not do what it was asked
    │   └── TransferFailed         a file could not be brought over
    └── DevclusterError            exit code 3: this machine cannot run what was asked for
        ├── RootNeeded             the devcluster's daemons need root
        ├── PackagesMissing        Debian packages are missing
        ├── PortTaken              another program listens on a port that was asked for
        ├── NameUnusable           a cluster cannot have that name here
        ├── FolderUnusable         the folder is not empty, not ours, or has a bad path
        └── DaemonFailed           a daemon did not come up, or did not go down

Each error keeps its values as attributes and survives pickling, because Prefect stores the exception of a failed run.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path, PurePath

    from sluiceway.core.remote.shell import Completed

_LAST_LINES = 20


def _restore(kind: type[SluicewayError], values: dict[str, Any]) -> SluicewayError:
    error = kind.__new__(kind)
    error.__dict__.update(values)
    return error


@dataclass(kw_only=True, eq=False)
class SluicewayError(Exception):
    """An error of ours: its text is a letter to the reader, its attributes are the values in it."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, tuple[type[Self], dict[str, Any]]]:
        """Pickle by attributes: the default would call the class without its arguments."""
        return _restore, (type(self), self.__dict__)


@dataclass(kw_only=True, eq=False)
class UsageProblem(SluicewayError):
    """What was asked for cannot be done as it was written."""

    exit_code: ClassVar[int] = 2


@dataclass(kw_only=True, eq=False)
class SettingsInvalid(UsageProblem):
    """A setting has a value that cannot be used."""

    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Name every setting that is wrong, and where settings come from."""
        return (
            f"these settings cannot be used: {'; '.join(self.problems)}. They come from environment variables "
            "and from the file .env in the working directory; .env.template describes each."
        )


@dataclass(kw_only=True, eq=False)
class InputMissing(UsageProblem):
    """A file that was named is not there."""

    what: str
    path: Path

    def __str__(self) -> str:
        """Name the file and what it was to be."""
        return f"{self.what} {str(self.path)!r} is not a file that can be read. Check the path."


@dataclass(kw_only=True, eq=False)
class NotCanonical(UsageProblem):
    """A parameter has no one form as JSON, so a key made of it would mean nothing."""

    where: str
    value: str
    reason: str

    def __str__(self) -> str:
        """Name the place, the value and what is allowed."""
        return (
            f"{self.where} holds {self.value}: {self.reason}. Parameters may be text, finite numbers, true, false, "
            "none, lists, and tables whose names are text."
        )


@dataclass(kw_only=True, eq=False)
class RegionUnreadable(UsageProblem):
    """A stretch of the genome is not written as one."""

    text: str

    def __str__(self) -> str:
        """Show how one is written."""
        return f"{self.text!r} is no region. Write a chromosome, or chromosome:first-last such as 11:69M-70M."


@dataclass(kw_only=True, eq=False)
class PolicyInvalid(UsageProblem):
    """A policy that was named or written cannot be followed."""

    where: str
    reason: str

    def __str__(self) -> str:
        """Name the policy and what is wrong with it."""
        return f"the policy {self.where} cannot be followed: {self.reason}. docs/scoring.md lists every choice."


@dataclass(kw_only=True, eq=False)
class PanelUnusable(UsageProblem):
    """A reference panel's files cannot be used together."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and the reason."""
        return (
            f"the reference panel {str(self.path)!r} cannot be used: {self.reason}. A panel is .pgen with .pvar or "
            ".pvar.zst and .psam, or .bed with .bim and .fam, all with one prefix."
        )


@dataclass(kw_only=True, eq=False)
class ScoringFileBroken(UsageProblem):
    """A scoring file cannot be read; the batch goes on without it."""

    path: Path
    reason: str
    line: int | None = None

    @property
    def said(self) -> str:
        """The reason, with the line where one is known; the same wherever the file lies."""
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"

    def __str__(self) -> str:
        """Name the file, the line where one is known, and the reason."""
        where = f"{str(self.path)!r}" if self.line is None else f"{str(self.path)!r}, line {self.line}"
        return f"the scoring file {where} cannot be used: {self.reason}. Its scores are left out; the others go on."


@dataclass(kw_only=True, eq=False)
class ScoreNotKept(UsageProblem):
    """A catalogue id has no scoring file on this machine."""

    scores: tuple[str, ...]
    folder: Path
    build: str | None

    def __str__(self) -> str:
        """Name the ids, the folder, and the name that a file must have there."""
        more = f" and {len(self.scores) - 5} more" if len(self.scores) > 5 else ""
        name = f"{self.scores[0]}_hmPOS_{self.build or 'GRCh38'}.txt.gz"
        return (
            f"no scoring file of {', '.join(self.scores[:5])}{more} is in {str(self.folder)!r}. Put the catalogue's "
            f"harmonised file there under its own name, such as {name}, or name a file instead of an id."
        )


@dataclass(kw_only=True, eq=False)
class QueryRefused(UsageProblem):
    """A question in SQL about a folder of results cannot be answered."""

    folder: Path
    reason: str
    tables: str

    def __str__(self) -> str:
        """Name the folder, the reason, and the tables that are there."""
        return (
            f"the question about {str(self.folder)!r} was not answered: {self.reason}. The tables there are: "
            f"{self.tables}; 'DESCRIBE name' tells a table's columns."
        )


@dataclass(kw_only=True, eq=False)
class ManifestBroken(UsageProblem):
    """A file is no manifest, or not a whole one."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and the first things that are wrong with it."""
        return (
            f"the manifest {str(self.path)!r} cannot be used: {self.reason}. It was changed, or another version of "
            "sluiceway wrote it; computing its output again writes a new one."
        )


@dataclass(kw_only=True, eq=False)
class OutputBusy(UsageProblem):
    """Another run is writing to that folder."""

    folder: Path
    holder: str

    def __str__(self) -> str:
        """Name the folder and who writes there."""
        return (
            f"the folder {str(self.folder)!r} is being written by {self.holder}. "
            "Wait until that has ended, or name another folder with --out."
        )


@dataclass(kw_only=True, eq=False)
class PlaceUnusable(UsageProblem):
    """A place to run at is not written as one, or cannot run this."""

    place: str
    reason: str

    def __str__(self) -> str:
        """Name the place and how places are written."""
        return (
            f"nothing can run at {self.place!r}: {self.reason}. A place is local, dask, dask:ADDRESS, dask@CLUSTER, "
            "or the name of a cluster."
        )


@dataclass(kw_only=True, eq=False)
class RequestInvalid(UsageProblem):
    """A run cannot be asked for like this."""

    what: str
    value: str
    reason: str

    def __str__(self) -> str:
        """Name the part of the request, its value and the reason."""
        return f"a run cannot have {self.what} {self.value!r}: {self.reason}. Nothing was started."


@dataclass(kw_only=True, eq=False)
class RunElsewhere(UsageProblem):
    """The same run is on its way at another place."""

    run: str
    place: str

    def __str__(self) -> str:
        """Name the run, the place, and the two ways on."""
        return (
            f"the run {self.run} is on its way at {self.place!r} and will not be started twice. Ask for it with "
            f"--on {self.place} to wait for it, or end it first: sluiceway cancel {self.run}."
        )


@dataclass(kw_only=True, eq=False)
class RunUnknown(UsageProblem):
    """No run has that name, or several have."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Name what was looked for, and how to see what there is."""
        return f"there is no one run {self.name!r}: {self.reason}. 'sluiceway jobs' lists the runs of this machine."


@dataclass(kw_only=True, eq=False)
class MixedInstall(UsageProblem):
    """A flow from one tree would run with the core of another."""

    flow: Path
    core: Path

    def __str__(self) -> str:
        """Name both trees and the two ways out."""
        return (
            f"the flow {self.flow} belongs to another copy of sluiceway than the one Python imports, {self.core}. "
            "Results would name the wrong code. Either run the flow from a clone in an environment that has only "
            "the dependencies, or install the wheel and use a module entrypoint such as "
            "'sluiceway.flows.run_script.run_script'."
        )


@dataclass(kw_only=True, eq=False)
class ResourcesInvalid(UsageProblem):
    """Something asked of Slurm is not written as Slurm takes it."""

    option: str
    value: str
    reason: str

    def __str__(self) -> str:
        """Name the option, what it was given, and what is wrong with that."""
        return f"{self.option} = {self.value!r} cannot be asked of Slurm: {self.reason}. Nothing was submitted."


@dataclass(kw_only=True, eq=False)
class OutcomeBroken(SluicewayError):
    """A job's outcome file is damaged or half-written."""

    text: str
    reason: str

    def __str__(self) -> str:
        """Show how the file begins and what is wrong with it."""
        return (
            f"a job's outcome file cannot be read ({self.reason}); it begins: {self.text!r}. It counts for nothing: "
            "how the job ended is asked of Slurm instead."
        )


@dataclass(kw_only=True, eq=False)
class NothingScored(SluicewayError):
    """Every score that was asked for failed."""

    folder: Path
    failed: int
    reason: str

    def __str__(self) -> str:
        """Name the first reason, and where the others are."""
        return (
            f"none of {self.failed} scores has a result; the first, {self.reason}. "
            f"{str(self.folder / 'quality.parquet')!r} tells the reason of each."
        )


@dataclass(kw_only=True, eq=False)
class RunFailed(SluicewayError):
    """A run ended, and its work is not done; its receipt says how."""

    run: str
    why: str
    folder: Path
    tail: str

    def __str__(self) -> str:
        """Name the run, how it ended, where everything of it lies, and the last lines it said."""
        return (
            f"the run {self.run} did not succeed: {self.why}. Everything of it is kept in {str(self.folder)!r}; "
            f"the same request starts a new attempt. The end of what it said:\n{self.tail or '(nothing on stderr)'}"
        )


@dataclass(kw_only=True, eq=False)
class StorageFailed(SluicewayError):
    """A disk could not hold or give what it was asked; nothing half-written is left."""

    what: str
    path: Path
    reason: str

    def __str__(self) -> str:
        """Name what was attempted, the file, and what the system said."""
        return (
            f"could not {self.what} {str(self.path)!r}: {self.reason}. Nothing half-written was left. Make room or "
            "check the disk, then run the same again: what was finished is kept."
        )


@dataclass(kw_only=True, eq=False)
class RemoteError(SluicewayError):
    """A machine did not do what it was asked."""

    exit_code: ClassVar[int] = 4
    machine: str


@dataclass(kw_only=True, eq=False)
class Unreachable(RemoteError):
    """No connection came about; nothing was started there."""

    reason: str

    def __str__(self) -> str:
        """Name the machine and what the network said."""
        return (
            f"could not reach {self.machine}: {self.reason}. Nothing was started there. "
            "Check the host name, the port and the network, then try again."
        )


@dataclass(kw_only=True, eq=False)
class ConnectionRefused(Unreachable):
    """The machine is there, but nothing listens on that port."""


@dataclass(kw_only=True, eq=False)
class ConnectionLost(RemoteError):
    """The connection broke under a command: its outcome is unknown."""

    attempted: str
    reason: str

    def __str__(self) -> str:
        """Name what was under way, and that nobody knows how it ended."""
        return (
            f"the connection to {self.machine} broke ({self.reason}) during: {self.attempted}. "
            "Whether that was done is unknown: look before doing it again."
        )


@dataclass(kw_only=True, eq=False)
class HostKeyUnknown(RemoteError):
    """The machine's key is not the one we were told to expect."""

    known_hosts: str
    reason: str

    def __str__(self) -> str:
        """Name the machine, the file, and the safe way to add a key."""
        return (
            f"{self.machine} showed a host key that is not trusted ({self.reason}); trusted keys are read from "
            f"{self.known_hosts}. Nothing was sent. If you know this machine, compare its key with what its operators "
            "publish, then add it there (ssh-keyscan prints it)."
        )


@dataclass(kw_only=True, eq=False)
class AuthenticationFailed(RemoteError):
    """The machine does not accept who we say we are."""

    user: str
    tried: str
    reason: str

    def __str__(self) -> str:
        """Name the user and what was offered."""
        return (
            f"{self.machine} did not let {self.user} in ({self.reason}); offered: {self.tried}. "
            "Check the user name and that this key, password or code is the one the machine expects."
        )


@dataclass(kw_only=True, eq=False)
class CommandTimedOut(RemoteError):
    """A command took longer than it was given, and was stopped."""

    attempted: str
    limit: timedelta

    def __str__(self) -> str:
        """Name the command and its limit."""
        return (
            f"no answer from {self.machine} within {self.limit.total_seconds():g} s to: {self.attempted}. "
            "It was told to stop, but may have had its effect: look before doing it again."
        )


@dataclass(kw_only=True, eq=False)
class CommandFailed(RemoteError):
    """A command ran and ended with an exit code or a signal; carries all that the result carries."""

    completed: Completed

    def __str__(self) -> str:
        """Name the command, how it ended, and the last lines it said."""
        done = self.completed
        ending = f"signal {done.signal}" if done.signal else f"exit code {done.exit_code}"
        said = done.stderr.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        tail = "\n".join(said) or "(it said nothing on stderr)"
        return f"on {self.machine}, {shlex.join(done.command.argv)} ended with {ending}:\n{tail}"


@dataclass(kw_only=True, eq=False)
class SlurmRefused(RemoteError):
    """Slurm answered, and will not do what it was asked."""

    attempted: str
    reason: str

    def __str__(self) -> str:
        """Name what was asked, and Slurm's own words."""
        return f"Slurm on {self.machine} refused to {self.attempted}: {self.reason}"


@dataclass(kw_only=True, eq=False)
class TransferFailed(RemoteError):
    """A file could not be brought over; the file of that name is as it was before."""

    source: PurePath
    target: PurePath
    reason: str

    def __str__(self) -> str:
        """Name both ends and what went wrong."""
        return (
            f"could not copy {str(self.source)!r} to {str(self.target)!r} ({self.machine}): {self.reason}. "
            "What stood at the target before is still there."
        )


@dataclass(kw_only=True, eq=False)
class DevclusterError(SluicewayError):
    """This machine cannot run what was asked for."""

    exit_code: ClassVar[int] = 3


@dataclass(kw_only=True, eq=False)
class RootNeeded(DevclusterError):
    """The devcluster's daemons need root."""

    attempted: str

    def __str__(self) -> str:
        """Say why root, and what still works without."""
        return (
            f"{self.attempted} needs root: Slurm's node daemons start each job as its own user. "
            "Use sudo, or a machine where you are root (a container will do)."
        )


@dataclass(kw_only=True, eq=False)
class PackagesMissing(DevclusterError):
    """Debian packages are missing."""

    packages: tuple[str, ...]

    def __str__(self) -> str:
        """Give the command that installs them."""
        return (
            f"these programs' packages are missing: {', '.join(self.packages)}. Install them with: "
            f"apt-get install --no-install-recommends {' '.join(self.packages)}"
        )


@dataclass(kw_only=True, eq=False)
class PortTaken(DevclusterError):
    """Another program listens on a port that was asked for."""

    port: int
    purpose: str

    def __str__(self) -> str:
        """Name the port and its purpose."""
        return (
            f"port {self.port}, meant for {self.purpose}, is taken by another program. Stop that program, or, when the "
            "cluster is first made, choose other ports with --first-port or leave it out to have free ones chosen."
        )


@dataclass(kw_only=True, eq=False)
class NameUnusable(DevclusterError):
    """A cluster cannot have that name here."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Name the name and the reason."""
        return f"a devcluster cannot be called {self.name!r}: {self.reason}. Choose another with --name."


@dataclass(kw_only=True, eq=False)
class FolderUnusable(DevclusterError):
    """The folder is not empty, not ours, or has a path that cannot be used."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        """Name the folder and the reason."""
        return f"the folder {str(self.folder)!r} cannot hold a devcluster: {self.reason}. Name another with --folder."


@dataclass(kw_only=True, eq=False)
class DaemonFailed(DevclusterError):
    """A daemon did not come up, or did not go down."""

    daemon: str
    attempted: str
    log: Path
    tail: str

    def __str__(self) -> str:
        """Name the daemon, its log, and the log's last lines."""
        return f"{self.daemon} did not {self.attempted}. The end of its log {self.log}:\n{self.tail or '(empty)'}"
