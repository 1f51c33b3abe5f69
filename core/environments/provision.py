"""Brings what a payload runs in to a place, and says how the payload enters it there."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, LiteralString, assert_never

from sluiceway.core import settings
from sluiceway.core.environments import nodes, uv
from sluiceway.core.environments.activation import Activation
from sluiceway.core.environments.cache import FOLDER, EnvironmentCache, Kept, Packed, Wanted
from sluiceway.core.environments.container import order_for, pack_image
from sluiceway.core.environments.environment import Archive, Container, Existing, Modules, Uv
from sluiceway.core.environments.runtime import Recipe, workshop_here
from sluiceway.core.environments.workshop import Workshop, this_machine
from sluiceway.core.errors import EnvironmentUnusable
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.access import Access

_FORM: Final = 1
# What decides how a payload enters, and not what lies there.
_NOT_SHIPPED: Final = frozenset({"variables", "source", "options", "activate"})
# The words after the script are its values; the first one, which enter.py adds, is the handle that is written to.
_ACTIVATE: LiteralString = (
    'sluiceway_to=$1; sluiceway_at=$2; set --; . "$sluiceway_at" || exit 70; env -0 >&"$sluiceway_to"'
)
_LOAD: LiteralString = """
sluiceway_to=$1; shift
type module >/dev/null 2>&1 || { echo "this node has no environment modules" >&2; exit 69; }
for sluiceway_module; do module load "$sluiceway_module" || exit 70; done
env -0 >&"$sluiceway_to"
"""
_PACKERS: Mapping[str, tuple[str, ...]] = {
    "pixi": ("pixi-pack", "--create-executable", "--output-file"),
    "conda": ("conda-pack", "--output"),
}


async def here(runtime: Runtime, shell: Shell, clock: Clock) -> Activation:
    """Let it lie on this machine, in the folder of what can be made again."""
    return await provide(runtime, cache_here(shell, clock), workshop_here(), machine=this_machine())


def cache_here(shell: Shell, clock: Clock) -> EnvironmentCache:
    """Give the folder of environments on this machine."""
    folder = PurePosixPath(settings.load().cache_dir.absolute()) / FOLDER
    return EnvironmentCache(shell, clock, folder=folder, python=sys.executable)


async def at_cluster(runtime: Runtime, access: Access, partition: str | None) -> Activation:
    """Let it lie on a cluster, made for the nodes of a partition: the default one where none is named."""
    machine = await _machine(runtime, access, partition)
    return await provide(runtime, cache_at(access), workshop_here(), machine=machine)


def cache_at(access: Access) -> EnvironmentCache:
    """Give the folder of environments on a cluster."""
    python = access.settings.python
    return EnvironmentCache(access.shell, access.clock, folder=access.base / FOLDER, python=python)


async def _machine(runtime: Runtime, access: Access, partition: str | None) -> str:
    """Give the architecture of the nodes; nothing where Slurm does not tell, for each node looks for itself, too."""
    if isinstance(_recipe(runtime).environment.kind, Modules | Existing):
        return ""
    done = await access.shell.run(nodes.ask(access.settings.slurm_cluster))
    found = nodes.machines_of(done.text, partition=partition)
    if len(found) > 1:
        where = f"partition {partition or '(default)'} of {access.shell.machine}"
        reason = f"its nodes are {' and '.join(found)}; ask for a partition with nodes of one kind"
        raise EnvironmentUnusable(name=runtime.name, where=where, reason=reason)
    return found[0] if found else ""


async def provide(runtime: Runtime, cache: EnvironmentCache, workshop: Workshop, *, machine: str = "") -> Activation:
    """Let everything that the payload runs in lie there, whole, and say how it is entered.

    Args:
        runtime: What the payload runs in.
        cache: The folder of environments there.
        workshop: Where what is not there is built.
        machine: The architecture of the nodes; empty where nobody knows it.
    """
    activation = await _entered(runtime, cache, workshop, machine)
    if _recipe(runtime).snapshot is None:
        return activation
    return await _with_source(activation, runtime, cache)


async def build(runtime: Runtime, workshop: Workshop) -> Packed | None:
    """Build for this machine what is built before it is sent; none where there is nothing to build."""
    recipe, machine = _recipe(runtime), this_machine()
    if recipe.image is None and not isinstance(recipe.environment.kind, Uv | Archive):
        return None
    make = _builder(runtime, machine, workshop, zstd=True)
    return await workshop.packed(f"{parcel_key(runtime, machine)}-zst", build=make)


def parcel_key(runtime: Runtime, machine: str) -> str:
    """Name what lies there by everything that it is made of."""
    kind = _recipe(runtime).environment.kind
    parameters: dict[str, object] = {"form": _FORM, "machine": machine}
    what = {name: value for name, value in runtime.identity.items() if name not in _NOT_SHIPPED}
    if isinstance(kind, Uv):
        parameters |= {"ship": kind.ship, "interpreter": kind.python}
    key = content_key("environment", inputs={}, parameters={**parameters, **what}, modules={}, environment={})  # type: ignore[dict-item]
    return key[7:39]


async def _entered(runtime: Runtime, cache: EnvironmentCache, workshop: Workshop, machine: str) -> Activation:
    kind, name = _recipe(runtime).environment.kind, runtime.name
    variables = dict(_recipe(runtime).environment.variables)
    plain = Activation(name=name, identity=runtime.identity, variables=variables)
    match kind:
        case Uv():
            return _in_venv(plain, kind, await _shipped(runtime, cache, workshop, machine))
        case Archive():
            return _in_archive(plain, kind, await _shipped(runtime, cache, workshop, machine))
        case Modules():
            return replace(plain, prepare=("bash", "-l", "-c", _LOAD, "--", *kind.names))
        case Existing():
            path = str(kind.path)
            script = () if not kind.activate else _script(f"{path}/{kind.activate}")
            return replace(plain, path=(f"{path}/bin",), prepare=script, sealed=(path,))
        case Container():
            return await _in_container(plain, kind, runtime, cache, workshop, machine)
        case _:
            assert_never(kind)


async def _shipped(runtime: Runtime, cache: EnvironmentCache, workshop: Workshop, machine: str) -> Kept:
    key = parcel_key(runtime, machine)

    async def pack(has_zstd: bool) -> Packed:  # noqa: FBT001 - the cache's answer
        build = _builder(runtime, machine, workshop, zstd=has_zstd)
        return await workshop.packed(f"{key}-{'zst' if has_zstd else 'gz'}", build=build)

    return await cache.provide(Wanted(key=key, name=runtime.name, pack=pack, machine=machine))


def _builder(runtime: Runtime, machine: str, workshop: Workshop, *, zstd: bool) -> Callable[[Path], Awaitable[Packed]]:
    kind, name = _recipe(runtime).environment.kind, runtime.name

    async def build(folder: Path) -> Packed:
        match kind:
            case Uv(ship="wheels"):
                return await uv.pack_wheels(kind, name=name, zstd=zstd, workshop=workshop, folder=folder)
            case Uv():
                return await uv.pack_venv(kind, name=name, machine=machine, zstd=zstd, workshop=workshop, folder=folder)
            case Archive():
                return await _pack_archive(kind, name=name, workshop=workshop, folder=folder)
            case _:
                image = _recipe(runtime).image
                if image is None:
                    raise AssertionError("only what is shipped is packed")
                return await pack_image(image, name=name, workshop=workshop, folder=folder)

    return build


async def _pack_archive(kind: Archive, *, name: str, workshop: Workshop, folder: Path) -> Packed:
    """Give an archive as it is, or let pixi-pack or conda-pack make it."""
    file = kind.archive
    if kind.pixi is not None:
        file = folder / "environment.sh"
        await workshop.run(name, *_PACKERS["pixi"], str(file), str(kind.pixi.absolute()))
    elif kind.conda is not None:
        file = folder / "environment.tar.gz"
        await workshop.run(name, *_PACKERS["conda"], str(file), "--prefix", str(kind.conda.absolute()))
    if file is None:
        raise AssertionError("an archive is given or packed")
    target = folder / "archive"
    await asyncio.to_thread(file.rename if file.parent == folder else lambda to: shutil.copyfile(file, to), target)
    return await asyncio.to_thread(_as_packed, target)


def _as_packed(file: Path) -> Packed:
    with file.open("rb") as opened:
        form = "program" if opened.read(2) == b"#!" else "tar"
    return Packed(path=file, digest=digest_of_file(file), form=form, unpacked=file.stat().st_size)


def _in_venv(plain: Activation, kind: Uv, kept: Kept) -> Activation:
    tree = f"{kept.tree}/env" if kind.ship == "wheels" else str(kept.tree)
    python = f"{tree}/bin/python"
    return replace(
        plain,
        variables={"VIRTUAL_ENV": tree, **plain.variables},
        path=(f"{tree}/bin",),
        python=python,
        sealed=(str(kept.seal), python),
        machine=_one(kept),
    )


def _in_archive(plain: Activation, kind: Archive, kept: Kept) -> Activation:
    tree = str(kept.tree)
    script = kind.activate or ("activate.sh" if kind.pixi else "bin/activate" if kind.conda else "")
    return replace(
        plain,
        path=(f"{tree}/bin",),
        prepare=_script(f"{tree}/{script}") if script else (),
        sealed=(str(kept.seal),),
        machine=_one(kept),
    )


async def _in_container(
    plain: Activation, kind: Container, runtime: Runtime, cache: EnvironmentCache, workshop: Workshop, machine: str
) -> Activation:
    names = sorted(plain.variables)
    if _recipe(runtime).image is None:
        return replace(plain, container=order_for(kind, None, archive="", scratch="", variables=names))
    kept = await _shipped(runtime, cache, workshop, machine)
    archive, scratch = f"{kept.tree}/image.tar", str(kept.tree)
    order = order_for(kind, _recipe(runtime).image, archive=archive, scratch=scratch, variables=names)
    return replace(plain, sealed=(str(kept.seal),), container=order)


async def _with_source(activation: Activation, runtime: Runtime, cache: EnvironmentCache) -> Activation:
    """Put the snapshot of the user's code on the payload's path."""
    snapshot = _recipe(runtime).snapshot
    if snapshot is None:
        return activation

    async def pack(_has_zstd: bool) -> Packed:  # noqa: FBT001 - the cache's answer
        return snapshot.packed

    key = f"source-{snapshot.digest[7:39]}"
    kept = await cache.provide(Wanted(key=key, name=f"source of {runtime.name}", pack=pack))
    tree = str(kept.tree)
    inside = f"{tree}/{snapshot.inside}".rstrip("/")
    variables = {**activation.variables, "SLUICEWAY_SOURCE": tree}
    order = activation.container
    return replace(
        activation,
        variables=variables,
        python_path=(inside,),
        sealed=(*activation.sealed, str(kept.seal)),
        container=None if order is None else {**order, "mounts": [tree]},
    )


def _recipe(runtime: Runtime) -> Recipe:
    if runtime.recipe is None:
        raise AssertionError("what is only told of is not brought anywhere")
    return runtime.recipe


def _script(place: str) -> tuple[str, ...]:
    return ("bash", "-c", _ACTIVATE, "--", place)


def _one(kept: Kept) -> str:
    """Give the architecture that programs there are for; none where there is none, or several."""
    return kept.machines[0] if len(kept.machines) == 1 else ""
