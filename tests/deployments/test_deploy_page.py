"""The page about deploying tells the truth: what it lists is what is there, and its service file is one for systemd."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.flows import Flow, load_flow_from_entrypoint
from typer.main import get_command

from sluiceway import cli
from sluiceway.deployments.automations import automations
from sluiceway.deployments.declared import declared
from tests.conftest import ROOT, Missing
from tests.deployments.page import PAGE, block

UNIT = block("ini", "[Service]")


def rows(heading: str) -> list[list[str]]:
    """The rows of the table with this first heading."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def test_it_lists_the_deployments_that_there_are_and_how_many_run_at_once() -> None:
    there = {}
    for each in declared():
        flow: Flow[..., Any] = load_flow_from_entrypoint(each.module, use_placeholder_flow=False)
        there[f"`{flow.name}/{each.name}`"] = "as the pool lets" if each.limit is None else "one; the next waits"
    assert {name: at_once for name, _, at_once in rows("deployment")} == there


def test_it_lists_the_automations_that_there_are() -> None:
    assert [f"sluiceway: {name}" for name, _ in rows("automation")] == [each.name for each in automations(None)]


def test_every_option_that_it_names_is_one_of_the_command() -> None:
    up: Any = get_command(cli.app).commands["up"]  # type: ignore[attr-defined]
    known = {option for each in up.params for option in each.opts}
    named = {re.sub(r"[` ].*", "", cell.lstrip("`")) for cell, _ in rows("option")}
    assert named == known - {"--no-run"}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The page's service, with the program of this environment."""
    file = tmp_path / "sluiceway.service"
    here = Path(sys.executable).with_name("sluiceway")
    file.write_text(UNIT.replace("/srv/sluiceway/.venv/bin/sluiceway", str(here)))
    return file


def test_the_service_starts_up_as_somebody_with_a_home_and_ends_it_as_ctrl_c_does(unit: Path) -> None:
    read = configparser.ConfigParser(interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(unit)
    service = read["Service"]
    program, *words = service["ExecStart"].split()
    assert (Path(program).is_file(), words) == (True, ["up", "--no-run"])
    assert service["User"]
    # The first to be told is `up`, which ends everything else; what is left then is killed.
    assert (service["KillMode"], int(service["TimeoutStopSec"]) > 60) == ("mixed", True)
    assert service["Environment"].startswith("SLUICEWAY_HOME=/srv/sluiceway/")


def test_systemd_has_nothing_to_say_against_the_service(unit: Path, missing: Missing) -> None:
    if shutil.which("systemd-analyze") is None:
        missing.part("deployments", why="systemd-analyze is not installed", get="install Debian's systemd")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about) == (0, [])


def test_the_pull_step_that_it_names_stands_in_prefect_yaml() -> None:
    text = (ROOT / "prefect.yaml").read_text()
    assert "`fresh_clone`" in PAGE
    assert "fresh_clone: &fresh_clone" in text
    assert "SLUICEWAY_REPOSITORY" in text
