"""The manifest: everything that is known of how one output came to be, written beside it. A failed run leaves one too.

Every field stands in every manifest; what is unknown is null. manifest.schema.json beside this module is its JSON
Schema, for whoever reads one without us.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

import sluiceway.core
from sluiceway.core.errors import InputMissing, ManifestBroken
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.git import head_of
from sluiceway.core.provenance.software import software_of
from sluiceway.core.store.durable import Storing, content_of, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = Path(__file__).with_name("manifest.schema.json")
FOLDERS_NAME = "manifest.json"

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
Count = Annotated[int, Field(ge=0)]


Table = dict[str, JsonValue]


class Part(BaseModel):
    """What all parts of a manifest have in common: no other fields, and no changes."""

    # NaN is refused, for JSON has none and it would be written as null.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class Input(Part):
    """Something that was read."""

    role: str
    digest: Digest | None = None
    size: Count | None = None
    name: str | None = None
    path: str | None = Field(
        default=None,
        description="Where it was read, seen from the manifest's folder; its digest is then that of the tree there.",
    )
    origin: str | None = Field(default=None, description="The address that it came from, where that was written down.")


class File(Part):
    """A file of the output; its name is relative to the output."""

    name: str
    digest: Digest
    size: Count


class Environment(Part):
    """The software that ran."""

    modules: dict[str, Digest] | None = Field(default=None, description="The text of each module of ours that ran.")
    distributions: dict[str, str] | None = Field(default=None, description="Versions of what those modules import.")
    lock_digest: Digest | None = Field(default=None, description="Of the payload's own lock file.")
    python: str | None = None
    python_build: str | None = None
    platform: str | None = None
    uv: str | None = None
    system_packages_digest: Digest | None = Field(default=None, description="Of the list of the system's packages.")
    gpu_driver: str | None = None


class Container(Part):
    """The container that it ran in."""

    image: str
    digest: str | None = None
    runtime: str | None = None


class Git(Part):
    """The state of the working tree that the code came from."""

    head: str | None = None
    dirty: bool | None = None
    patch_digest: Digest | None = Field(default=None, description="Of what differs from the commit.")
    remote: str | None = None


class Host(Part):
    """The machine."""

    name: str | None = None
    cpu: str | None = None
    cores: Count | None = None


class Slurm(Part):
    """The job, where there was one."""

    job_id: str | None = None
    restart_count: Count | None = None
    cluster: str | None = None
    partition: str | None = None


class Prefect(Part):
    """The flow run and task run, where there were any."""

    flow_run_id: str | None = None
    task_run_id: str | None = None


class Times(Part):
    """When it began and ended, in UTC."""

    started: Moment | None = None
    finished: Moment | None = None


class Resources(Part):
    """What it used."""

    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    peak_memory_bytes: Count | None = None
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    cores: Count | None = None


class Step(Part):
    """What one step of the work used."""

    name: str
    resources: Resources


class Ending(Part):
    """How it ended."""

    status: Literal["ok", "failed"]
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None


class Counts(Part):
    """What was asked for, and what became of it."""

    n_total: Count | None = None
    n_ok: Count | None = None
    n_failed: Count | None = None
    n_cached: Count | None = None
    coverage: float | None = Field(default=None, ge=0, le=1, description="The share of what was asked for that is ok.")


class Manifest(Part):
    """Everything that is known of how one output came to be."""

    schema_version: Literal[1] = 1
    output_id: str
    output_type: str | None = None
    universe: str | None = Field(default=None, description="Which variant of the analysis, where there are several.")
    content_key: Digest | None = None
    ending: Ending
    recipe: str | None = None
    decisions: Table | None = None
    parameters: Table | None = None
    code_version: Digest | None = Field(default=None, description="Of the recipe, its decisions and its code.")
    data_version: Digest | None = Field(default=None, description="Of the output's content.")
    inputs: tuple[Input, ...] | None = None
    outputs: tuple[File, ...] | None = None
    environment: Environment = Environment()
    container: Container | None = None
    isolation: Table | None = Field(default=None, description="What kept the work from files that it did not declare.")
    git: Git = Git()
    host: Host = Host()
    slurm: Slurm = Slurm()
    prefect: Prefect = Prefect()
    run_id: str | None = None
    attempt: Count | None = None
    submitted_by: str | None = None
    sluiceway_version: str | None = None
    times: Times = Times()
    resources: Resources = Resources()
    steps: tuple[Step, ...] | None = Field(default=None, description="What each step used, in their order.")
    counts: Counts = Counts()
    warnings: tuple[str, ...] | None = None
    previous: Digest | None = Field(default=None, description="Of the manifest before this one in the ledger.")


def write(manifest: Manifest, output: Path) -> Path:
    """Write a manifest to its place beside an output, whole or not at all, and give that place."""
    path = path_of(output)
    with Storing("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encoded(manifest))
    return path


def encoded(manifest: Manifest) -> bytes:
    """Give the bytes of a manifest's file."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def read(path: Path) -> Manifest:
    """Read a manifest; one that lacks a field, or has a value that we would have written otherwise, is refused."""
    content = content_of(path)
    if content is None:
        raise InputMissing(what="the manifest", path=path)
    return decoded(content, path)


def decoded(content: bytes, path: Path, *, is_ours: bool = False) -> Manifest:
    """Give the manifest of which these are the file's bytes.

    Args:
        content: The bytes.
        path: The file, for whoever is told that it is no manifest.
        is_ours: Whether it is known that we wrote these very bytes, so that not every field needs to be compared.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors()[:3])
        raise ManifestBroken(path=path, reason=places) from error
    if is_ours:
        return manifest
    changed = _differences(manifest.model_dump(mode="json"), _with_later_fields(json.loads(content)), where="")
    if changed:
        raise ManifestBroken(path=path, reason=f"these fields are missing or not as written: {', '.join(changed[:3])}")
    return manifest


def path_of(output: Path) -> Path:
    """Give the place of an output's manifest: in a folder that is there, else beside the file of that name."""
    return output / FOLDERS_NAME if output.is_dir() else output.with_name(f"{output.name}.{FOLDERS_NAME}")


def files_of(output: Path) -> tuple[File, ...]:
    """Give the files of an output with their digests; a folder's own manifest is not one of them."""
    if not output.is_dir():
        return tuple(_file(path, name=path.name) for path in (output,) if path.is_file())
    own = path_of(output)
    files = sorted(path for path in output.rglob("*") if path.is_file() and path != own)
    return tuple(_file(path, name=path.relative_to(output).as_posix()) for path in files)


def this_software(*modules: str) -> Environment:
    """Give the software of this process, as far as these modules of ours use it."""
    software = software_of(*modules)
    return Environment(
        modules=software.modules,
        distributions=software.environment,
        python=platform.python_version(),
        python_build=sys.version,
        platform=platform.platform(),
    )


def this_git() -> Git:
    """Give the commit of the tree that this code runs from; unknown where it was installed from a wheel."""
    return Git(head=head_of(Path(sluiceway.core.__path__[0]).resolve().parent))


def this_host() -> Host:
    """Give this machine."""
    return Host(name=platform.node(), cpu=platform.machine())


def this_version() -> str:
    """Give the version of sluiceway."""
    return version("sluiceway")


def _file(path: Path, *, name: str) -> File:
    return File(name=name, digest=digest_of_file(path), size=path.stat().st_size)


def _with_later_fields(written: Any) -> Any:
    """Give a manifest with the fields that earlier ones of the same version lack."""
    for each in written.get("inputs") or ():
        each.setdefault("origin", None)
    return written


def _differences(ours: Any, theirs: Any, *, where: str) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names: Iterable[str] = sorted({*ours, *theirs})
        return [
            place
            for name in names
            for place in (
                _differences(ours[name], theirs[name], where=f"{where}.{name}".lstrip("."))
                if name in ours and name in theirs
                else [f"{where}.{name}".lstrip(".")]
            )
        ]
    return [] if ours == theirs and type(ours) is type(theirs) else [where]
