"""The set-up scripts: what they do without rights, and what they say before they do anything."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

LISTED = (ROOT / "deployments" / "debian-packages.txt").read_text()


def stand_in(folder: Path, name: str, text: str) -> None:
    """Put a program on PATH that answers in the place of the machine's own."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def setup(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    script = ["sh", str(ROOT / "deployments" / "setup.sh"), *arguments]
    return subprocess.run(script, env=env, capture_output=True, text=True, check=False)


def test_without_rights_missing_packages_are_named_and_nothing_fails(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "dpkg-query", "exit 1")
    stand_in(tmp_path / "bin", "id", "echo 1000")
    stand_in(tmp_path / "bin", "sudo", "exit 1")
    done = setup(tmp_path / "bin", "debian")
    assert done.returncode == 0
    assert "no root and no password-less sudo" in done.stderr
    assert "slurmctld" in done.stderr


def test_with_sudo_it_says_what_and_why_before_it_installs(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "dpkg-query", "exit 1")
    stand_in(tmp_path / "bin", "id", "echo 1000")
    stand_in(tmp_path / "bin", "sudo", '[ "$2" = true ] || echo "AS ROOT: $*"')
    said = setup(tmp_path / "bin", "debian").stdout.splitlines()
    assert said[0].startswith("Going to install these Debian packages")
    assert "  munge: signs what the Slurm daemons say to each other" in said
    assert said[-1].startswith("AS ROOT: -n sh deployments/install-packages.sh munge")


def test_with_everything_there_nothing_is_said_or_done(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "dpkg-query", "echo 'install ok installed'")
    done = setup(tmp_path / "bin", "debian")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_system_without_dpkg_is_told_so(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "sed", "id"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    script = ["/bin/sh", str(ROOT / "deployments" / "setup.sh"), "debian"]
    done = subprocess.run(script, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert (done.returncode, "not a Debian system" in done.stderr) == (0, True)


@pytest.mark.parametrize("line", [line for line in LISTED.splitlines() if line and not line.startswith("#")])
def test_each_package_has_a_tier_and_a_reason(line: str) -> None:
    tier, package, reason = line.split(maxsplit=2)
    assert tier in ("cluster", "environments", "container", "modules", "plink2", "browser", "postgres", "spark")
    assert package
    assert len(reason) > 10


@pytest.mark.parametrize("tier", ["cluster", "plink2", "browser", "postgres"])
def test_a_tier_that_is_left_out_without_its_debian_package_has_it_in_the_list(tier: str) -> None:
    assert re.search(rf"^{tier} +\S+", LISTED, re.MULTILINE)


def test_an_unknown_word_is_a_usage_error(tmp_path: Path) -> None:
    done = setup(tmp_path, "everything")
    assert (done.returncode, "usage:" in done.stderr) == (2, True)
