"""Small things to build environments of, without a network: wheels of one module, projects that lock them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sluiceway.core.environments.cache import EnvironmentCache, Packed, Wanted
from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of
from sluiceway.core.environments.workshop import Workshop
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed
from tests.conftest import ROOT

UV = ROOT / ".tools" / "bin"


def wheel(folder: Path, name: str, text: str, version: str = "1.0") -> Path:
    """Make a wheel of one module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": text,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{each},sha256={_digest(content)},{len(content)}" for each, content in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*lines, f"{about}/RECORD,,", ""])
    with zipfile.ZipFile(path, "w") as packed:
        for each, content in files.items():
            packed.writestr(each, content)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def recorded_uv(folder: Path) -> Path:
    """Make a stand-in for uv that writes down how it was called, into the file beside it, and does its work."""
    tool = folder / "uv"
    folder.mkdir()
    tool.write_text(f'#!/bin/sh\nprintf "%s " "$@" >>"{folder}/called"\nexec {UV / "uv"} "$@"\n')
    tool.chmod(0o755)
    return folder / "called"


def requirements(folder: Path, text: str = "WORD = 'shipped'\n") -> Path:
    """Make a file of requirements that pins one package, and the wheel beside it."""
    digest = digest_of_file(wheel(folder / "wheels", "greeting", text))
    file = folder / "requirements.txt"
    file.write_text(f"--no-index\n--find-links ./wheels\ngreeting==1.0 --hash={digest}\n")
    return file


def project(folder: Path) -> Path:
    """Make a project whose lock knows one package, found beside it."""
    requirements(folder)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0.1"\nrequires-python = ">=3.9"\ndependencies = ["greeting"]\n'
        '[tool.uv]\nno-index = true\nfind-links = ["wheels"]\n'
    )
    subprocess.run(["uv", "lock", "-q", "--offline"], cwd=folder, check=True)
    return folder


@dataclass
class CountingShell(LocalShell):
    """This machine, with what it was asked."""

    operations: list[str] = field(default_factory=list)
    sent: int = 0

    async def run(self, command: Command, *, timeout: Any = NO_LIMIT) -> Completed:
        self.operations += [command.argv[3]] if command.argv[1:3] == ("-I", "-") else [command.argv[0]]
        return await super().run(command, timeout=timeout)

    async def put(self, source: Path, target: PurePosixPath, *, timeout: Any = NO_LIMIT) -> None:
        self.sent += source.stat().st_size
        await super().put(source, target, timeout=timeout)


@dataclass
class Bench:
    """A workshop and a folder of environments, both in a test's folder."""

    folder: Path
    shell: CountingShell = field(default_factory=CountingShell)

    @property
    def workshop(self) -> Workshop:
        return Workshop(folder=self.folder / "built", shell=LocalShell(), clock=SystemClock())

    def cache(self, **options: Any) -> EnvironmentCache:
        folder = PurePosixPath(self.folder / "environments")
        return EnvironmentCache(self.shell, SystemClock(), folder=folder, python=sys.executable, **options)

    async def runtime(self, **fields: Any) -> Runtime:
        return await runtime_of(environment_of("mine", fields, where="a test"), workshop=self.workshop)

    def wanted(self, *files: Path, key: str = "ab" * 16, machine: str = "") -> Wanted:
        """Want an environment of these files."""

        async def pack(_zstd: bool) -> Packed:
            target = self.folder / "archive.tar"
            names = [word for each in files for word in ("-C", str(each.parent), each.name)]
            await asyncio.to_thread(lambda: subprocess.run(["tar", "-cf", target, *names], check=True))
            size = target.stat().st_size
            return Packed(path=target, digest=digest_of_file(target), form="tar", unpacked=size)

        return Wanted(key=key, name="mine", pack=pack, machine=machine)
