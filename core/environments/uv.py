"""Environments of uv: what names one, and how it is made here to be sent.

What is installed is exactly what the lock says, or what a file of pinned requirements does. A project's own code is not
part of it, nor is any package that lies in a folder: what these hold the lock does not tell. They travel as `source`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.environments.workshop import Workshop, this_machine, without_secrets
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.provenance.digest import digest_of_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.environments.cache import Packed
    from sluiceway.core.environments.environment import Uv

_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[^]]*\])?\s*(===?\s*[^\s*;]+|@\s*\S+)\s*(;.*|--hash=.*)*")
_NO_INDEX = 'comes from no index, so there is no wheel to gather: use ship = "venv"'
# A URL, as a page of an index, holds one file for ever, or so it is meant; a branch or a folder does not.
_FIXED = re.compile(r"https?://\S+|git\+\S+@[0-9a-f]{40}(#\S*)?(?=\s|$)")
_REMOTE = ("https://", "http://", "${")
_OPTION = re.compile(r"(--?[a-z-]+)(?:\s*=\s*|\s+|$)(.*)")
_PLAIN_OPTIONS = frozenset({"--no-index", "--require-hashes", "--only-binary", "--no-binary"})
_LINKS = frozenset({"--find-links", "-f"})
_INDEX_OPTIONS = frozenset({"--index-url", "-i", "--extra-index-url", *_LINKS})


def lock_of(kind: Uv, *, name: str) -> str:
    """Give the digest of what is locked; raise EnvironmentInvalid where it does not say exactly what is installed."""
    if kind.project is not None:
        text = _read(kind.project / "uv.lock", name, "run `uv lock` there")
        problems = tuple(_unlocked(text, ship=kind.ship))
        file = kind.project / "uv.lock"
    else:
        file = kind.requirements or Path()
        text = _read(file, name, "name a file")
        problems = tuple(_unpinned(text, ship=kind.ship))
    if problems:
        raise EnvironmentInvalid(name=name, where=str(file), problems=tuple(map(without_secrets, problems)))
    return digest_of_bytes(text.encode())


async def python_of(kind: Uv, *, name: str, workshop: Workshop) -> str:
    """Give the minor version of the interpreter that it is made for."""
    if kind.ship == "wheels" and shutil.which(kind.python) is None:
        # Only the nodes have it, and only there anything is installed.
        return kind.python
    program = "import sys; print('{}.{}'.format(*sys.version_info))"
    return (await workshop.run(name, kind.python, "-I", "-c", program)).text.strip()


async def pack_venv(kind: Uv, *, name: str, machine: str, zstd: bool, workshop: Workshop, folder: Path) -> Packed:
    """Install here, in a folder that may be moved, for the nodes' interpreter and architecture; and pack it."""
    tree = folder / "tree"
    await workshop.run(name, "uv", "venv", "-q", "--no-project", "--relocatable", "--python", kind.python, str(tree))
    options = ["--link-mode=copy", "--compile-bytecode"]
    if machine not in {"", this_machine()}:
        options += ["--python-platform", f"{machine}-unknown-linux-gnu"]
    if kind.project is None:
        file = await asyncio.to_thread(_whole_path, kind)
        own = ["uv", "pip", "install", "-q", "--python", str(tree / "bin" / "python"), *options, "-r", str(file)]
        await workshop.run(name, "env", "-C", str(file.parent), *own)
    else:
        own = ["uv", "sync", "-q", "--project", str(kind.project.absolute()), "--active", "--no-install-project"]
        own += [*_chosen(kind), *options]
        set_up = [f"VIRTUAL_ENV={tree}", "UV_VENV_RELOCATABLE=1"]
        await workshop.run(name, "env", "-C", str(kind.project.absolute()), *set_up, *own)
    await asyncio.to_thread(_point_to, tree, kind.python, name)
    packed = await workshop.pack(name, tree, folder, zstd=zstd)
    await asyncio.to_thread(shutil.rmtree, tree)
    return packed


async def pack_wheels(kind: Uv, *, name: str, zstd: bool, workshop: Workshop, folder: Path) -> Packed:
    """Gather wheels and uv itself, which installs them there without any network."""
    tree = folder / "tree"
    await asyncio.to_thread((tree / "wheels").mkdir, parents=True)
    asked = await _listed(kind, tree / "requirements.txt", name, workshop)
    pip = next((each for each in ("pip3", "pip") if shutil.which(each)), "pip")
    gather = [pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    python = await python_of(kind, name=name, workshop=workshop)
    # pip would gather for the Python that it runs in itself.
    gather += ["--python-version", python] if python[0].isdecimal() else []
    inside = str(kind.project.absolute() if kind.project else asked.parent)
    await workshop.run(name, "env", "-C", inside, *gather, "--dest", str(tree / "wheels"), "-r", str(asked))
    await asyncio.to_thread(shutil.copy2, _found("uv", name), tree / "uv")
    packed = await workshop.pack(name, tree, folder, zstd=zstd)
    await asyncio.to_thread(shutil.rmtree, tree)
    return replace(packed, unpacked=3 * packed.unpacked, steps=_installing(kind))


async def _listed(kind: Uv, listed: Path, name: str, workshop: Workshop) -> Path:
    """Write what is to be installed there, and give the file that says where it comes from as well."""
    if kind.project is None:
        source = await asyncio.to_thread(_whole_path, kind)
        await asyncio.to_thread(listed.write_text, _without_options(await asyncio.to_thread(source.read_text)))
        return source
    export = ["uv", "export", "-q", "--project", str(kind.project.absolute()), "--no-header", "--no-emit-project"]
    await workshop.run(name, *export, *_chosen(kind), "-o", str(listed))
    return listed


def _installing(kind: Uv) -> tuple[tuple[str, ...], ...]:
    uv, made = "@tree@/uv", "@tree@/env"
    alone = ("--offline", "--no-config", "--no-cache")
    wheels = ("--no-index", "--find-links", "@tree@/wheels", "--no-deps", "-r", "@tree@/requirements.txt")
    how = ("--link-mode=copy", "--compile-bytecode", "--python", f"{made}/bin/python")
    return (
        (uv, "venv", "-q", *alone, "--no-project", "--python", kind.python, made),
        (uv, "pip", "install", "-q", *alone, *how, *wheels),
        ("rm", "-rf", "--", uv, "@tree@/wheels"),
    )


def _chosen(kind: Uv) -> list[str]:
    words = ["--frozen", "--no-default-groups"]
    words += [word for each in kind.groups for word in ("--group", each)]
    return words + [word for each in kind.extras for word in ("--extra", each)]


def _without_options(text: str) -> str:
    """Leave out where packages come from: there they come from the wheels alone."""
    lines = text.replace("\\\n", " ").splitlines()
    return "\n".join(each for each in lines if not each.lstrip().startswith("-")) + "\n"


def _whole_path(kind: Uv) -> Path:
    """Give the file of requirements, wherever a program is started."""
    return (kind.requirements or Path()).absolute()


def _read(file: Path, name: str, advice: str) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise EnvironmentInvalid(name=name, where=str(file), problems=(f"{error}; {advice}",)) from error


def _unlocked(text: str, *, ship: str) -> Iterator[str]:
    """Name the packages of a lock whose content it does not tell, or of which there is no wheel to gather."""
    try:
        packages: list[dict[str, Any]] = tomllib.loads(text).get("package", [])
    except ValueError as error:
        yield str(error)
        return
    for each in packages:
        source = each.get("source", {})
        place = source.get("editable") or source.get("directory") or source.get("virtual")
        if place is not None and place != ".":
            yield f"{each['name']} lies in the folder {place!r}, whose content no lock tells: build a wheel of it"
        elif ship == "wheels" and "registry" not in source and place is None:
            yield f"{each['name']} {_NO_INDEX}"


def _unpinned(text: str, *, ship: str) -> Iterator[str]:
    """Name the lines that let something else in than this text says."""
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    written = [each for each in lines if each and not each.startswith("#")]
    packages = [each for each in written if not each.startswith("-")]
    has_hashes = all("--hash=" in each for each in packages)
    for each in written:
        wrong = _wrong_package(each, ship) if each in packages else _wrong_option(each, has_hashes=has_hashes)
        if wrong:
            yield f"{each!r} {wrong}"


def _wrong_package(line: str, ship: str) -> str:
    """Say why a line does not tell exactly one package; nothing where it does."""
    if not _PINNED.fullmatch(line):
        return "is not pinned; `uv pip compile` writes a file in which everything is"
    if "${" in line:
        return "takes a variable, which may be another the next time: write what it stands for"
    _, is_direct, place = line.partition(";")[0].partition("@")
    if is_direct and ship == "wheels":
        return _NO_INDEX
    if is_direct and "--hash=" not in line and not _FIXED.match(place.strip()):
        return "is of a place that may hold another one the next time: name a commit, or a `--hash=`"
    return ""


def _wrong_option(line: str, *, has_hashes: bool) -> str:
    """Say why an option lets in what nothing here tells; nothing where it does not."""
    found = _OPTION.match(line)
    name, place = found.groups() if found else (line, "")
    if name in _PLAIN_OPTIONS:
        return ""
    if name in _INDEX_OPTIONS:
        if has_hashes or (place.startswith(_REMOTE) and name not in _LINKS):
            return ""
        return "is a place whose packages may change under the same version: give each package its `--hash=`"
    return "brings in what this file does not say, so that nothing tells when it changes: write it here instead"


def _point_to(tree: Path, python: str, name: str) -> None:
    """Let the environment's interpreter be the nodes' one, by the name that it has there."""
    link = tree / "bin" / "python"
    target = python if python.startswith("/") else _found(python, name)
    link.unlink()
    link.symlink_to(target)


def _found(program: str, name: str) -> str:
    place = shutil.which(program)
    if place is None:
        raise EnvironmentUnusable(name=name, where="this machine", reason=f"{program} is not on PATH")
    return place
