"""What a payload runs in, as part of a request: what it is, for the key and the manifest, and how to have it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, assert_never

from sluiceway.core import settings
from sluiceway.core.environments import uv
from sluiceway.core.environments.container import Image, image_of, runs_without
from sluiceway.core.environments.environment import Archive, Container, Environment, Existing, Modules, Uv
from sluiceway.core.environments.environment import environment_in_file as _in_file
from sluiceway.core.environments.snapshot import Snapshot, snapshot_of
from sluiceway.core.environments.workshop import Workshop
from sluiceway.core.errors import EnvironmentInvalid
from sluiceway.core.provenance import manifest
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.manifest import Git
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BUILT = "built"
"""The folder of what was built here, below the folder of what can be made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to have an environment: its description, and what was looked at or built when it was asked for."""

    environment: Environment
    snapshot: Snapshot | None = None
    image: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An environment at one moment: two with the same identity run the same.

    Attributes:
        name: What people call it.
        identity: What it is; part of the key of whatever runs in it.
        git: The state of the user's own code in it.
        container: The image that it runs in.
        warnings: What a reader of the manifest has to know.
        recipe: How to have it; none where it is only told of.
    """

    name: str
    identity: Mapping[str, str]
    git: Git | None = None
    container: manifest.Container | None = None
    warnings: tuple[str, ...] = ()
    recipe: Recipe | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Give it without its recipe, as JSON has it."""
        return {
            "name": self.name,
            "identity": dict(self.identity),
            "git": None if self.git is None else self.git.model_dump(mode="json"),
            "container": None if self.container is None else self.container.model_dump(mode="json"),
            "warnings": list(self.warnings),
        }

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> Self:
        """Give back what was told."""
        git, container = fields["git"], fields["container"]
        return cls(
            name=fields["name"],
            identity=fields["identity"],
            git=None if git is None else Git(**git),
            container=None if container is None else manifest.Container(**container),
            warnings=tuple(fields["warnings"]),
        )

    def ran_in(self, told: Mapping[str, Any]) -> manifest.Container | None:
        """Give the container that a payload ran in, as its node told; one that never entered it ran in no image."""
        if self.container is None:
            return None
        ran = told.get("container") or {"runtime": None, "digest": None}
        return self.container.model_copy(update={"runtime": ran["runtime"], "digest": ran["digest"]})


def workshop_here() -> Workshop:
    """Give this machine's workshop."""
    folder = settings.load().cache_dir.absolute() / BUILT
    return Workshop(folder=folder, shell=LocalShell(), clock=SystemClock())


def environment_named(name: str) -> Environment:
    """Give an environment of clusters.toml, or raise EnvironmentInvalid."""
    return _in_file(name, settings.load().home / "clusters.toml")


async def runtime_of(environment: Environment, *, workshop: Workshop | None = None) -> Runtime:
    """Look at an environment, and at the user's code in it, as they are now; an image is built if it has to be."""
    workshop = workshop or workshop_here()
    kind, name = environment.kind, environment.name
    snapshot = image = None
    if environment.source is not None:
        snapshot = await snapshot_of(environment.source, name=name, workshop=workshop)
    if isinstance(kind, Container) and not runs_without(kind):
        image = await image_of(kind, name=name, workshop=workshop)
    identity = await _identity(kind, image, name=name, workshop=workshop)
    if environment.variables:
        identity["variables"] = json.dumps(dict(environment.variables), sort_keys=True)
    if snapshot is not None:
        identity["source"] = snapshot.digest
    return Runtime(
        name=name,
        identity=identity,
        git=None if snapshot is None else snapshot.git,
        container=_container(kind, image),
        warnings=_warnings(kind),
        recipe=Recipe(environment=environment, snapshot=snapshot, image=image),
    )


def _container(kind: object, image: Image | None) -> manifest.Container | None:
    if not isinstance(kind, Container):
        return None
    wanted = kind.image or str(kind.containerfile)
    if image is None:
        return manifest.Container(image=wanted, runtime="none")
    return manifest.Container(image=image.reference, digest=image.digest, runtime=str(kind.runtime))


def _warnings(kind: object) -> tuple[str, ...]:
    if not isinstance(kind, Container) or not runs_without(kind):
        return ()
    wanted = kind.image or str(kind.containerfile)
    return (f"runtime = none was chosen: it ran outside of the container {wanted!r}, in what the node itself has",)


async def _identity(
    kind: Uv | Archive | Modules | Container | Existing, image: Image | None, *, name: str, workshop: Workshop
) -> dict[str, str]:
    match kind:
        case Uv():
            chosen = json.dumps([sorted(kind.groups), sorted(kind.extras)])
            python = await uv.python_of(kind, name=name, workshop=workshop)
            locked = await asyncio.to_thread(uv.lock_of, kind, name=name)
            return {"kind": "uv", "lock": locked, "chosen": chosen, "python": python}
        case Archive():
            digest = await asyncio.to_thread(_archive_digest, kind, name=name)
            return {"kind": "archive", "archive": digest, **_activated(kind)}
        case Modules():
            return {"kind": "modules", "modules": json.dumps(kind.names)}
        case Container():
            ran = {"runtime": "none"} if image is None else {"image": image.digest}
            options = {"options": json.dumps(kind.run_options)} if kind.run_options else {}
            return {"kind": "container", **ran, **options}
        case Existing():
            return {"kind": "path", "path": str(kind.path), **_activated(kind)}
        case _:
            assert_never(kind)


def _activated(kind: Archive | Existing) -> dict[str, str]:
    """Give the script that activates it, which decides what a payload finds."""
    return {"activate": kind.activate} if kind.activate else {}


def _archive_digest(kind: Archive, *, name: str) -> str:
    """Give the digest of what is packed: the file's, or that of what says what is in it."""
    if kind.archive is not None:
        return _digest_of_all([kind.archive], name)
    if kind.pixi is not None:
        return _digest_of_all([kind.pixi / "pixi.lock"], name)
    listed = (kind.conda or Path()) / "conda-meta"
    return _digest_of_all(sorted(listed.glob("*.json")), name)


def _digest_of_all(files: Iterable[Path], name: str) -> str:
    found = [*files]
    missing = [str(each) for each in found if not each.is_file()]
    if missing or not found:
        problem = f"{missing[0]!r} is no file" if missing else "it is no conda environment: it has no conda-meta"
        raise EnvironmentInvalid(name=name, where="archive", problems=(problem,))
    if len(found) == 1:
        return digest_of_file(found[0])
    return digest_of_bytes("".join(f"{each.name} {digest_of_file(each)}\n" for each in found).encode())
