"""`sluiceway devcluster` as a user runs it, on the session's cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

COMMAND = str(Path(sys.executable).with_name("sluiceway"))


def run(devcluster: Devcluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = ["--folder", str(devcluster.plan.root)]
    command = [COMMAND, "devcluster", arguments[0], *folder, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_up_prints_how_to_use_it(devcluster: Devcluster) -> None:
    done = run(devcluster, "up")
    assert done.returncode == 0, done.stderr
    assert f"ssh -F {devcluster.plan.folder.ssh_config} {devcluster.plan.name} " in done.stdout
    assert "4 nodes of 4 CPUs and 16000 MiB" in done.stdout
    assert "processes are found by " in done.stdout


def test_status_lists_every_daemon_and_node(devcluster: Devcluster) -> None:
    facts = json.loads(run(devcluster, "status", "--json").stdout)
    assert facts["up"] is True
    assert [daemon["name"] for daemon in facts["daemons"]].count("slurmctld") == 1
    assert all(daemon["pid"] for daemon in facts["daemons"])
    assert {node["state"] for node in facts["nodes"]} <= {"idle", "mixed", "allocated", "completing"}


def test_status_is_a_table_for_people(devcluster: Devcluster) -> None:
    shown = run(devcluster, "status").stdout
    assert "munged" in shown
    assert "idle" in shown


def test_a_command_runs_on_the_login_node_as_the_ordinary_user(devcluster: Devcluster) -> None:
    assert run(devcluster, "shell", "id", "-un").stdout == f"{devcluster.plan.user}\n"


@pytest.mark.parametrize("word", ["a b", "$(id)", "-h", "it's"])
def test_the_words_of_a_command_arrive_as_they_were_given(devcluster: Devcluster, word: str) -> None:
    assert run(devcluster, "shell", "printf", "%s|", word, "end").stdout == f"{word}|end|"


def test_a_node_fails_and_resumes_by_command(devcluster: Devcluster) -> None:
    node = devcluster.plan.nodes[0].name
    assert run(devcluster, "node", "fail", node).returncode == 0
    facts = json.loads(run(devcluster, "status", "--json").stdout)
    assert facts["nodes"][0]["state"] == "down"
    assert run(devcluster, "node", "resume", node).returncode == 0


def test_an_unknown_node_is_an_error_in_slurms_words(devcluster: Devcluster) -> None:
    done = run(devcluster, "node", "fail", "nonesuch")
    assert done.returncode == 4
    assert "nonesuch" in done.stderr
    assert "Traceback" not in done.stderr
