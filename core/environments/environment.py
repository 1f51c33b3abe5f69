"""A named environment as somebody describes it: in clusters.toml, as a Prefect block, or in a program.

The fields are flat, for a form has no unions; `environment_of` makes them one kind that cannot be wrong, or says
everything that is wrong with them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sluiceway.core.errors import EnvironmentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Annotated[Path, AfterValidator(Path.expanduser)]
_OURS = "SLUICEWAY_"


class Kind(StrEnum):
    """What an environment is made of."""

    UV = "uv"
    ARCHIVE = "archive"
    MODULES = "modules"
    CONTAINER = "container"
    PATH = "path"


class ContainerRuntime(StrEnum):
    """What runs containers; `auto` is the first one that a node has, `none` runs the payload without any."""

    AUTO = "auto"
    PODMAN_HPC = "podman-hpc"
    PODMAN = "podman"
    APPTAINER = "apptainer"
    SINGULARITY = "singularity"
    DOCKER = "docker"
    NONE = "none"


class EnvironmentFields(BaseModel):
    """Every field of an environment."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field(description="What it is made of: uv, archive, modules, container or path.")
    project: _HERE | None = Field(default=None, description="uv: the folder of pyproject.toml and uv.lock.")
    requirements: _HERE | None = Field(
        default=None, description="uv: a file of pinned requirements (name==version), instead of a project."
    )
    groups: tuple[str, ...] = Field(default=(), description="uv: dependency groups of the project.")
    extras: tuple[str, ...] = Field(default=(), description="uv: extras of the project.")
    python: str = Field(
        default="python3", description="uv: the interpreter that the nodes have, a path or a name on PATH."
    )
    ship: Literal["venv", "wheels"] = Field(
        default="venv", description="uv: ship what was installed here, or wheels that are installed there, offline."
    )
    archive: _HERE | None = Field(
        default=None, description="archive: a packed environment: tar, also compressed, or what pixi-pack makes."
    )
    pixi: _HERE | None = Field(default=None, description="archive: a pixi project that pixi-pack packs.")
    conda: _HERE | None = Field(default=None, description="archive: a conda environment that conda-pack packs.")
    activate: str = Field(default="", description="archive, path: the script inside that activates it.")
    modules: tuple[str, ...] = Field(default=(), description="modules: what `module load` gets, in this order.")
    image: str = Field(default="", description="container: an image that this machine has, where none is built.")
    containerfile: _HERE | None = Field(default=None, description="container: what the image is built from.")
    runtime: ContainerRuntime = Field(
        default=ContainerRuntime.AUTO, description="container: what runs it on the nodes; none runs without one."
    )
    build_options: tuple[str, ...] = Field(default=(), description="container: further options of its build.")
    run_options: tuple[str, ...] = Field(default=(), description="container: further options of its run.")
    path: PurePosixPath | None = Field(default=None, description="path: the folder of an environment that is there.")
    variables: dict[str, str] = Field(default_factory=dict, description="Variables that every payload in it gets.")
    source: _HERE | None = Field(
        default=None, description="The user's own code, a folder or a wheel: a snapshot of it is on the payload's path."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uv:
    """Packages that uv installs: from a project's lock, or from pinned requirements."""

    project: Path | None
    requirements: Path | None
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str = "python3"
    ship: Literal["venv", "wheels"] = "venv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Something packed that is unpacked there: given as a file, or packed by pixi-pack or conda-pack."""

    archive: Path | None = None
    pixi: Path | None = None
    conda: Path | None = None
    activate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """Environment modules that the nodes have."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container image, built here or here already, and how it is run there."""

    image: str = ""
    containerfile: Path | None = None
    runtime: ContainerRuntime = ContainerRuntime.AUTO
    build_options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A folder of programs that is there already, and is nobody's to change here."""

    path: PurePosixPath
    activate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A named environment: one kind, and what every kind may have."""

    name: str
    kind: Uv | Archive | Modules | Container | Existing
    variables: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None


def environment_in_file(name: str, file: Path) -> Environment:
    """Read an environment of clusters.toml; raise EnvironmentInvalid where it is not there, or wrong."""
    try:
        document = tomllib.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise EnvironmentInvalid(name=name, where=str(file), problems=(str(error),)) from error
    known = document.get("environments", {})
    if name not in known:
        raise EnvironmentInvalid(name=name, where=str(file), problems=(f"it has no table [environments.{name}]",))
    return environment_of(name, known[name], where=str(file))


def environments_in_file(file: Path) -> tuple[str, ...]:
    """Give the names of all environments of clusters.toml."""
    try:
        return tuple(tomllib.loads(file.read_text()).get("environments", {})) if file.is_file() else ()
    except (OSError, ValueError) as error:
        raise EnvironmentInvalid(name="*", where=str(file), problems=(str(error),)) from error


def environment_of(name: str, fields: Mapping[str, Any], *, where: str) -> Environment:
    """Make an environment of its fields, or raise EnvironmentInvalid naming what is wrong with them.

    >>> environment_of("tools", {"kind": "modules", "modules": ["gcc/12"]}, where="a test").kind
    Modules(names=('gcc/12',))
    """
    try:
        given = EnvironmentFields.model_validate(fields)
    except ValidationError as error:
        problems = tuple(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise EnvironmentInvalid(name=name, where=where, problems=problems) from error
    return environment_with(name, given, where=where)


def environment_with(name: str, given: EnvironmentFields, *, where: str) -> Environment:
    """Make an environment of fields that are of the right types each."""
    problems = (*_strangers(given), *_lacking(given), *_bad_variables(given))
    if problems:
        raise EnvironmentInvalid(name=name, where=where, problems=problems)
    return Environment(name=name, kind=_kind(given), variables=dict(given.variables), source=given.source)


_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.UV: ("project", "requirements", "groups", "extras", "python", "ship"),
    Kind.ARCHIVE: ("archive", "pixi", "conda", "activate"),
    Kind.MODULES: ("modules",),
    Kind.CONTAINER: ("image", "containerfile", "runtime", "build_options", "run_options"),
    Kind.PATH: ("path", "activate"),
}
# Exactly one of these has to be there.
_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.UV: ("project", "requirements"),
    Kind.ARCHIVE: ("archive", "pixi", "conda"),
    Kind.MODULES: ("modules",),
    Kind.CONTAINER: ("image", "containerfile"),
    Kind.PATH: ("path",),
}


def _strangers(given: EnvironmentFields) -> tuple[str, ...]:
    """Name the fields of another kind; a form gives every field, so what is as it is by default was not said."""
    known = {*_FIELDS[given.kind], "kind", "variables", "source"}
    fields = EnvironmentFields.model_fields
    said = [
        name
        for name in fields
        if name != "kind" and getattr(given, name) != fields[name].get_default(call_default_factory=True)
    ]
    return tuple(f"{name}: it belongs to another kind than {given.kind}" for name in said if name not in known)


def _lacking(given: EnvironmentFields) -> tuple[str, ...]:
    needed = _NEEDED[given.kind]
    said = [name for name in needed if getattr(given, name)]
    if len(said) == 1:
        return ()
    return (f"kind = {given.kind} needs {'one of ' if len(needed) > 1 else ''}{', '.join(needed)}",)


def _bad_variables(given: EnvironmentFields) -> tuple[str, ...]:
    return tuple(
        f"variables.{name}: no variable can be called or hold this"
        for name, value in given.variables.items()
        if not name or "=" in name or "\0" in name + value or name.startswith(_OURS)
    )


def _kind(given: EnvironmentFields) -> Uv | Archive | Modules | Container | Existing:
    own = {name: getattr(given, name) for name in _FIELDS[given.kind]}
    match given.kind:
        case Kind.UV:
            return Uv(**own)
        case Kind.ARCHIVE:
            return Archive(**own)
        case Kind.MODULES:
            return Modules(names=given.modules)
        case Kind.CONTAINER:
            return Container(**own)
        case Kind.PATH:
            return Existing(**own)
