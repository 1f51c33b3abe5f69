"""Environments with an engine that is too large for everybody's: made by uv once, and kept below .tools.

They lie beside what the checkout has already, where users of the devcluster can read what they run, and outlive the
session: to make one takes minutes where the package has to be fetched, and half a minute where uv has it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import ROOT

# A copy of the tree, such as a test of the tests works in, has neither the lock nor what was made by it.
CHECKOUT = ROOT if (ROOT / "uv.lock").exists() else Path(sys.prefix).parent
KEPT = CHECKOUT / ".tools" / "engines"


def locked(package: str) -> str:
    """The version that uv.lock has; what stands in brackets is an extra."""
    (version,) = {
        each["version"]
        for each in tomllib.loads((CHECKOUT / "uv.lock").read_text())["package"]
        if each["name"] == package.partition("[")[0]
    }
    return f"{package}=={version}"


def environment_with(package: str, *more: str, python: str = "/usr/bin/python3") -> Path:
    """The Python of an environment that has the package, as it is locked."""
    return environment_of(locked(package), *more, python=python)


def environment_of(*wanted: str, python: str = "/usr/bin/python3") -> Path:
    """The Python of an environment of these packages, each with its version."""
    folder = KEPT / re.sub(r"[^\w.]+", "-", "-".join(wanted))
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv("venv", "--python", python, folder)
            # Without byte code, whoever may not write here compiles all of it in every process.
            uv("pip", "install", "--compile-bytecode", "--python", folder / "bin/python", *wanted)
            (folder / "whole").touch()
    return folder / "bin/python"


def uv(*arguments: str | Path) -> None:
    found = subprocess.run(
        ["sh", CHECKOUT / "deployments" / "setup.sh", "uv"], capture_output=True, text=True, check=True
    )
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([found.stdout.strip(), "--quiet", *map(str, arguments)], env=variables, cwd="/", check=True)
