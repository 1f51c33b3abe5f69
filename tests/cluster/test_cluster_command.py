"""The command line with a cluster, as a user types it: run, jobs, logs, attach, shell, cancel, doctor."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.test_runs import TOML

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

COMMAND = str(Path(sys.executable).with_name("sluiceway"))
ODD = """
[clusters.odd]
host = "{name}"
ssh_config = "{config}"
use_agent = false
base = "/proc/nowhere"
[clusters.other]
host = "{name}"
ssh_config = "{config}"
use_agent = false
python = "/no/python"
resources.partition = "nonesuch"
[clusters.gone]
host = "127.0.0.1"
port = 1
"""


@dataclass
class Typist:
    """Somebody at a shell whose home knows the devcluster as `west`."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLUICEWAY_HOME": str(self.folder / "home"), "COLUMNS": "300"}

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def starts(self, *words: str) -> subprocess.Popen[str]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [COMMAND, *words], cwd=self.folder, env=self.environment, text=True, stdout=quiet, stderr=quiet
        )

    def script(self, text: str) -> str:
        (self.folder / "script.sh").write_text(f"# {secrets.token_hex(8)}\n{text}")
        return "script.sh"

    @property
    def only_run(self) -> dict[str, Any]:
        (run,) = json.loads(self.types("jobs", "--json").stdout)
        return dict(run)

    def until_it_prints(self, line: str) -> str:
        """Wait until the only run has printed this line, and give the run's name."""
        for _ in range(200):
            runs = json.loads(self.types("jobs", "--json").stdout)
            if runs and line in self.types("logs", runs[0]["run_id"]).stdout:
                return str(runs[0]["run_id"])
            time.sleep(0.05)
        raise AssertionError(f"nothing printed {line}")


@pytest.fixture
def typist(tmp_path: Path, devcluster: Devcluster, folder: PurePosixPath) -> Typist:
    plan = devcluster.plan
    (tmp_path / "home").mkdir()
    text = (TOML + ODD).format(name=plan.name, config=plan.folder.ssh_config, base=folder / "base")
    (tmp_path / "home" / "clusters.toml").write_text(text)
    return Typist(tmp_path)


async def test_a_script_runs_there_and_a_dry_run_has_printed_its_very_script(
    typist: Typist, folder: PurePosixPath, devcluster: Devcluster
) -> None:
    words = ["run", typist.script("hostname; cat ../inputs/in >made"), "--on", "west", "--cpus", "2", "--mem", "200M"]
    (typist.folder / "in").write_text("input")
    words += ["--time", "5m", "--extra-sbatch", "nice=7", "--input", "in", "--output", "made", "--out", "out"]
    planned, estimated, done = (typist.types(*words, *more) for more in (["--dry-run"], ["--estimate"], []))
    assert "would start attempt 1 on west: sbatch" in planned.stderr
    assert "to start at" in estimated.stdout
    assert (done.returncode, done.stdout.strip() in {each.name for each in devcluster.plan.nodes}) == (0, True)
    assert (typist.folder / "out" / "made").read_text() == "input"
    (script,) = Path(folder).glob("base/runs/*/a1/job.sh")
    assert script.read_text() == planned.stdout
    assert '#SBATCH "--nice=7"' in planned.stdout
    assert (typist.only_run["standing"], typist.only_run["place"]) == ("ok", "west")


def test_a_command_that_is_killed_leaves_its_job_which_is_followed_and_cancelled(typist: Typist) -> None:
    """Red on: core/runs/run.py: `await host.cancel(folder, job)` -> `pass`."""
    running = typist.starts("run", typist.script("echo began; sleep 100"), "--on", "west")
    name = typist.until_it_prints("began")
    running.send_signal(signal.SIGTERM)
    running.wait()
    (asked,) = json.loads(typist.types("jobs", "--ask", "--json").stdout)
    assert (asked["standing"], asked["state"]) == ("away", "RUNNING")
    beside = typist.types("shell", name, "--print")
    assert "srun --jobid=" in beside.stdout
    following = typist.starts("attach", name)
    cancelled = typist.types("cancel", name)
    assert (cancelled.returncode, following.wait(timeout=60)) == (0, 0)
    assert "has ended" in cancelled.stderr + cancelled.stdout
    again = typist.types("run", "script.sh", "--on", "west", "--dry-run")
    assert "would start attempt 2" in again.stderr


def test_what_cannot_be_asked_of_a_cluster_is_exit_code_2_before_anything_is_submitted(typist: Typist) -> None:
    script = typist.script("true")
    for words, said in (
        (["--mem", "3"], "write an amount with a unit"),
        (["--extra-sbatch", "job-name=x"], "set here, so that the job is found again"),
        (["--on", "wset"], "did you mean 'west'"),
    ):
        done = typist.types("run", script, "--on", "west", *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert json.loads(typist.types("jobs", "--json").stdout) == []


def test_a_doctor_finds_a_sound_cluster_sound(typist: Typist) -> None:
    done = typist.types("doctor", "--on", "west")
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 10


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("odd", ["failed    connection"]),
        ("other", ["failed    versions", "failed    partitions: not up: nonesuch", "failed    usual job"]),
        ("gone", ["failed    connection: could not reach 127.0.0.1:1"]),
    ],
)
def test_a_doctor_names_what_a_cluster_lacks_with_exit_code_4(typist: Typist, name: str, said: list[str]) -> None:
    done = typist.types("doctor", "--on", name)
    assert done.returncode == 4, done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert [line.startswith(each) for line, each in zip(failed, said, strict=True)] == [True] * len(said), failed


def test_a_doctor_runs_a_tiny_job_where_that_is_asked_for(typist: Typist) -> None:
    done = typist.types("doctor", "--on", "west", "--job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ok +job: \d+ ran on \w+\d and was back after", done.stdout, re.MULTILINE)


def test_a_component_makes_a_heterogeneous_job(typist: Typist) -> None:
    script = typist.script('echo "$SLURM_HET_SIZE $SLURM_JOB_NUM_NODES_HET_GROUP_1"')
    done = typist.types("run", script, "--on", "west", "--mem", "100M", "--component", "nodes=2,mem=100M")
    assert (done.returncode, done.stdout) == (0, "2 2\n"), done.stderr


def test_a_session_runs_commands_in_one_allocation(typist: Typist) -> None:
    words = ["session", "--on", "west", "--mem", "100M", "--time", "5m"]
    done = typist.types(*words, 'echo "$SLURM_JOB_ID"', 'echo "$SLURM_JOB_ID"; exit 3', "echo so >&2")
    first, second = done.stdout.splitlines()
    assert (first, done.returncode) == (second, 1)
    assert f"job {first}" in done.stderr
    assert "exit code 3" in done.stderr
    assert "so\n" in done.stderr
    given = subprocess.run(
        [COMMAND, *words, "--nodes", "2", "--ntasks", "2"],
        cwd=typist.folder, env=typist.environment, input="hostname\n\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (given.returncode, len(set(given.stdout.split()))) == (0, 2), given.stderr


MAPPED = """\
from prefect import flow
from sluiceway.tasks.slurm import slurm_task

@slurm_task(on="west")
def say(text: str) -> None:
    print("said", text)

say.each({texts})
"""


def test_the_elements_of_an_array_are_shown_by_their_numbers(typist: Typist) -> None:
    texts = [secrets.token_hex(4) for _ in range(2)]
    (typist.folder / "mapped.py").write_text(MAPPED.format(texts=texts))
    asked = [sys.executable, "mapped.py"]
    subprocess.run(asked, cwd=typist.folder, env=typist.environment, check=True, capture_output=True)
    name = typist.only_run["run_id"]
    assert sorted(typist.types("logs", name).stdout.splitlines()) == [f"[{n}] said {texts[n]}" for n in range(2)]
    assert typist.types("logs", name, "--element", "1").stdout == f"said {texts[1]}\n"
    assert sorted(typist.types("attach", name).stdout.splitlines()) == [f"[{n}] said {texts[n]}" for n in range(2)]
