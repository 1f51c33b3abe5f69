"""Container images: named by what they are built from, built again only when that changes, and packed to be sent.

The name is the digest of the Containerfile, of every file that it copies with its mode, and of the files beside it that
say what is installed. The build sees these files and no other. What runs is named by the image's own digest, so that it
is no other image of that name; `contained.py` runs it where the work is done.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.environments.cache import Packed
from sluiceway.core.environments.containerfile import parts_of
from sluiceway.core.environments.environment import Container, ContainerRuntime
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.remote.shell import Command
from sluiceway.core.store.durable import write_whole

if TYPE_CHECKING:
    from sluiceway.core.environments.workshop import Workshop
    from sluiceway.core.provenance.key import Json

BUILDERS = ("podman-hpc", "podman", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that this machine has."""

    reference: str
    digest: str
    builder: str
    built: bool

    @property
    def form(self) -> str:
        """How its archive is written: one that keeps its digest."""
        return "docker-archive" if self.builder == "docker" else "oci-archive"


async def image_of(kind: Container, *, name: str, workshop: Workshop) -> Image:
    """Give the image, built now where what it is made of has changed; raise EnvironmentUnusable where there is none."""
    builder = _builder(name)
    if kind.containerfile is None:
        reference, built = kind.image, False
    else:
        reference = reference_of(kind, name=name)
        built = await _digest(workshop, builder, reference) is None
        if built:
            await _build(kind, reference, builder, name=name, workshop=workshop)
    digest = await _digest(workshop, builder, reference)
    if digest is None:
        reason = f"{builder} has no image {reference!r} here; pull it, or name a containerfile"
        raise EnvironmentUnusable(name=name, where="this machine", reason=reason)
    if builder == "podman-hpc" and kind.containerfile is not None:
        await _migrate(reference, digest, name=name, workshop=workshop)
    return Image(reference=reference, digest=digest, builder=builder, built=built)


def reference_of(kind: Container, *, name: str) -> str:
    """Name an image by what it is built from."""
    file = kind.containerfile
    if file is None or not file.is_file():
        raise EnvironmentInvalid(name=name, where="containerfile", problems=(f"{str(file)!r} is no file",))
    parts = {_name(each, file): each for each in parts_of(file, name=name)}
    try:
        inputs = {each: _digest_of(part) for each, part in parts.items()}
        modes = {each: f"{part.lstat().st_mode & 0o7777:o}" for each, part in parts.items() if not part.is_symlink()}
    except OSError as error:
        raise EnvironmentInvalid(name=name, where=str(file), problems=(str(error),)) from error
    options: dict[str, Json] = {"options": list(kind.build_options), "modes": modes}
    key = content_key("container image", inputs=inputs, parameters=options, modules={}, environment={})
    return f"localhost/sluiceway-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'image'}:{key[7:23]}"


async def pack_image(image: Image, *, name: str, workshop: Workshop, folder: Path) -> Packed:
    """Write an image as one file."""
    file = folder / "image.tar"
    form = () if image.builder == "docker" else ("--format", image.form)
    await workshop.run(name, image.builder, "save", *form, "--output", str(file), image.reference)
    digest = await asyncio.to_thread(digest_of_file, file)
    return Packed(path=file, digest=digest, form="file", unpacked=file.stat().st_size)


def order_for(
    kind: Container, image: Image | None, *, archive: str, scratch: str, variables: list[str]
) -> dict[str, object]:
    """Say how a container is run, for `contained.py`."""
    return {
        "runtime": str(kind.runtime),
        "image": kind.image if image is None else image.reference,
        "digest": None if image is None else image.digest,
        "archive": archive,
        "form": "" if image is None else image.form,
        "scratch": scratch,
        "run_options": list(kind.run_options),
        "variables": variables,
        "mounts": [],
    }


def runs_without(kind: Container) -> bool:
    """Whether the user chose to run what belongs into a container without one."""
    return kind.runtime is ContainerRuntime.NONE


async def _build(kind: Container, reference: str, builder: str, *, name: str, workshop: Workshop) -> None:
    """Build from a folder that holds what the name is made of, and nothing else."""
    file = kind.containerfile or Path()
    with tempfile.TemporaryDirectory(prefix="sluiceway-build-") as made:
        context = Path(made)
        await asyncio.to_thread(_lay_out, file, parts_of(file, name=name), context)
        own = ("--tag", reference, "--file", str(context / file.name), str(context))
        await workshop.run(name, builder, "build", *kind.build_options, *own)


def _lay_out(file: Path, parts: list[Path], context: Path) -> None:
    """Copy all parts as they are, folders before what is in them; their modes are set last, for one may be closed."""
    folders = []
    for each in parts:
        target = context / each.relative_to(file.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        if each.is_dir() and not each.is_symlink():
            target.mkdir(exist_ok=True)
            folders.append((each, target))
        else:
            shutil.copy2(each, target, follow_symlinks=False)
    for each, target in reversed(folders):
        shutil.copystat(each, target)


async def _migrate(reference: str, digest: str, *, name: str, workshop: Workshop) -> None:
    """Let nodes see an image: only once it was moved to where all of them read, which may not have come to its end."""
    done = workshop.folder / f"migrated-{digest[7:39]}"
    if not await asyncio.to_thread(done.exists):
        await workshop.run(name, "podman-hpc", "migrate", reference)
        await asyncio.to_thread(done.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(write_whole, done, f"{reference}\n".encode())


async def _digest(workshop: Workshop, builder: str, reference: str) -> str | None:
    """Give the digest of an image's configuration, which says all that is in it; none where there is no such image."""
    asked = Command.of(builder, "image", "inspect", "--format", "{{.Id}}", reference)
    done = await workshop.shell.run(asked)
    found = done.text.strip().rpartition(":")[2]
    return f"sha256:{found}" if done.succeeded and found else None


def _builder(name: str) -> str:
    found = next((each for each in BUILDERS if shutil.which(each)), None)
    if found is None:
        reason = f"none of {', '.join(BUILDERS)} is on PATH, so there is no image to send"
        raise EnvironmentUnusable(name=name, where="this machine", reason=reason)
    return found


def _name(part: Path, file: Path) -> str:
    """Give a part's name from its folder on, in a form that UTF-8 can hold."""
    return part.relative_to(file.parent).as_posix().encode("utf-8", "backslashreplace").decode()


def _digest_of(part: Path) -> str:
    """Give the digest of a file's content, of where a link leads, or of there being a folder."""
    if part.is_symlink():
        return digest_of_bytes(b"link to " + os.fsencode(part.readlink()))
    return digest_of_bytes(b"folder") if part.is_dir() else digest_of_file(part)
