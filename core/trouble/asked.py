"""What was asked for cannot be done as it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.trouble.letter import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path


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
class RegistryUnusable(UsageProblem):
    """The registry's database cannot be used."""

    url: str
    reason: str

    def __str__(self) -> str:
        """Name the database, without its password, and the reason."""
        return (
            f"the registry {self.url} cannot be used: {self.reason}. A registry is sqlite:///PATH or "
            "postgresql://USER@HOST/NAME."
        )


@dataclass(kw_only=True, eq=False)
class TreeUnreadable(UsageProblem):
    """A file or folder has no digest, for it cannot be read as it is."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and the reason."""
        return (
            f"{str(self.path)!r} has no digest: {self.reason}. Name a file or a folder that can be read, and that "
            "nobody writes meanwhile."
        )


@dataclass(kw_only=True, eq=False)
class NotReproducible(UsageProblem):
    """An output cannot be made again from its manifest."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the output and the reason."""
        return (
            f"{str(self.path)!r} cannot be made again: {self.reason}. What a script or a scoring made can, as long as "
            "everything that it read is where it was, as it was."
        )


@dataclass(kw_only=True, eq=False)
class NotExportable(UsageProblem):
    """An output, or the place for it, cannot be exported as asked."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the path and the reason."""
        return f"{str(self.path)!r} cannot be exported: {self.reason}. Only what verifies is exported."


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
class RefreshRunning(UsageProblem):
    """Another refresh of the same home is on its way."""

    home: Path
    holder: str

    def __str__(self) -> str:
        """Name the home and the other one."""
        return (
            f"a refresh below {str(self.home)!r} is on its way: {self.holder}. Nothing was begun; "
            "wait until that has ended, or stop it: what it has made is kept."
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
class ClusterInvalid(UsageProblem):
    """What is known of a cluster cannot be used."""

    name: str
    where: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Name the cluster, where its fields stand, and everything that is wrong with them."""
        return (
            f"the cluster {self.name!r} of {self.where!r} cannot be used: {'; '.join(self.problems)}. docs/slurm.md "
            "shows every field of a cluster."
        )


@dataclass(kw_only=True, eq=False)
class EnvironmentInvalid(UsageProblem):
    """An environment is not there by that name, or its description cannot be used."""

    name: str
    where: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Name the environment, where it is described, and everything that is wrong with it."""
        return (
            f"the environment {self.name!r} of {self.where!r} cannot be used: {'; '.join(self.problems)}. "
            "docs/environments.md shows every field of an environment."
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
class ArtifactUnknown(UsageProblem):
    """The store has no whole artifact of that name."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Name what was looked for, and how to see what there is."""
        return f"there is no artifact {self.name!r}: {self.reason}. 'sluiceway artifacts' lists those of the store."


@dataclass(kw_only=True, eq=False)
class LinkRefused(UsageProblem):
    """Something is in the way of a link, and the store did not put it there."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the place, and what to do."""
        return f"{str(self.path)!r} is left as it is: {self.reason}. Move it away, or choose another place."


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
