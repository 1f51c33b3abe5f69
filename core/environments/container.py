"""Container images: named by what they are built from, built again only when that changes, and packed to be sent.

The name is the digest of the Containerfile, of every file that it copies, and of the files beside it that say what is
installed. The build sees these files and no other. What runs is named by the image's own digest, so that it is no other
image of that name; `contained.py` runs it where the work is done.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.environments.cache import Packed
from sluiceway.core.environments.environment import Container, ContainerRuntime
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.environments.workshop import Workshop

BUILDERS = ("podman-hpc", "podman", "docker")
_DEPENDENCIES = (
    "requirements.txt", "requirements.in", "pyproject.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock",
    "setup.py", "setup.cfg", "environment.yml", "environment.yaml", "conda-lock.yml", "pixi.toml", "pixi.lock",
    "renv.lock", "DESCRIPTION", "Cargo.lock", "package-lock.json",
)  # fmt: skip
_COPIES = re.compile(r"^\s*(?:COPY|ADD)\s+(.*)$", re.IGNORECASE | re.MULTILINE)


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
    return Image(reference=reference, digest=digest, builder=builder, built=built)


def reference_of(kind: Container, *, name: str) -> str:
    """Name an image by what it is built from."""
    file = kind.containerfile
    if file is None or not file.is_file():
        raise EnvironmentInvalid(name=name, where="containerfile", problems=(f"{str(file)!r} is no file",))
    parts = {each.relative_to(file.parent).as_posix(): digest_of_file(each) for each in _parts(file, name)}
    key = content_key(
        "container image", inputs=parts, parameters={"options": list(kind.build_options)}, modules={}, environment={}
    )
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
    }


def runs_without(kind: Container) -> bool:
    """Whether the user chose to run what belongs into a container without one."""
    return kind.runtime is ContainerRuntime.NONE


async def _build(kind: Container, reference: str, builder: str, *, name: str, workshop: Workshop) -> None:
    """Build from a folder that holds what the name is made of, and nothing else."""
    file = kind.containerfile or Path()
    with tempfile.TemporaryDirectory(prefix="sluiceway-build-") as made:
        context = Path(made)
        for each in _parts(file, name):
            target = context / each.relative_to(file.parent)
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(shutil.copy2, each, target, follow_symlinks=False)
        own = ("--tag", reference, "--file", str(context / file.name), str(context))
        await workshop.run(name, builder, "build", *kind.build_options, *own)
    if builder == "podman-hpc":
        # Nodes see images only once they were moved to where all of them read.
        await workshop.run(name, builder, "migrate", reference)


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


def _parts(file: Path, name: str) -> list[Path]:
    """Give every file that a build may see."""
    parts = {file, *(file.parent / each for each in _DEPENDENCIES if (file.parent / each).is_file())}
    for source in _sources(file.read_text()):
        found = [*file.parent.glob(source.lstrip("/"))] if source not in {".", "./", "/"} else [file.parent]
        if not found:
            problem = f"it copies {source!r}, and there is no such file beside it"
            raise EnvironmentInvalid(name=name, where=str(file), problems=(problem,))
        for each in found:
            inside = each.rglob("*") if each.is_dir() else [each]
            parts |= {one for one in inside if (one.is_file() or one.is_symlink()) and ".git" not in one.parts}
    return sorted(parts)


def _sources(text: str) -> Iterator[str]:
    r"""Name what a Containerfile copies from beside it: not from other images, and not from the network.

    >>> list(_sources('COPY --chown=1 a "b c" /to/\nCOPY --from=base /x /y\nADD ["d", "/e"]'))
    ['a', 'b c', 'd']
    """
    for found in _COPIES.finditer(text.replace("\\n", " ")):
        written = found[1].strip()
        words = json.loads(written) if written.startswith("[") else shlex.split(written, comments=False)
        options = [each for each in words if each.startswith("--")]
        if any(each.startswith("--from=") for each in options):
            continue
        *sources, _ = [each for each in words if not each.startswith("--")]
        yield from (each for each in sources if "://" not in each and not each.startswith("<<"))
