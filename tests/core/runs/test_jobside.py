"""The program that runs where the work is done: any payload, any bytes, any signal; a whole outcome or none."""

from __future__ import annotations

import ast
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.runs import function_side, jobside, payload
from sluiceway.core.runs.folder import AttemptFolder, RunFolder
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.local_job import _stage
from sluiceway.core.runs.request import Content, RunRequest, inputs_of
from sluiceway.core.slurm.job import JobId, JobOutcome
from tests.conftest import Missing

ODD = ["a b", "'", '"', "$(id)", "`id`", "-n", "--", "", "new\nline", "\udcff\udcfe", "é", "*", "\\", "{}", "\x01"]
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
SHOW = (
    "import json,os,sys;from sluiceway_payload import context;"
    "print(json.dumps([sys.argv[1:],dict(os.environ),context()]))"
)


def staged(folder: Path, **asked: Any) -> AttemptFolder:
    request = RunRequest(**asked)
    run = RunFolder(base=PurePosixPath(folder), key=request.key)
    _stage(Attempt(request=request, folder=run.attempt(1), place="local"))
    return run.attempt(1)


def script(folder: Path, text: str) -> Content:
    place = folder / "script"
    place.write_text(text)
    return Content.of(place, what="the script")


def jobside_command(folder: AttemptFolder, python: str = sys.executable) -> list[str]:
    return [python, "-I", str(folder.jobside), str(folder.path)]


def start(
    folder: AttemptFolder, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run an attempt as Slurm does: in the foreground, its output going wherever this program's goes."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    env = {**own, **environment}
    return subprocess.run(jobside_command(folder, python), env=env, capture_output=True, check=False)


def outcome(folder: AttemptFolder) -> dict[str, Any]:
    return dict(json.loads(Path(folder.outcome).read_bytes()))


def pythons() -> list[str]:
    """This Python, and every older one that is at hand."""
    found = (shutil.which(f"python3.{minor}") for minor in range(6, 11))
    working = [
        each
        for each in found
        if each and not subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode
    ]
    return [sys.executable, *working]


@pytest.mark.parametrize("module", [jobside, payload, function_side], ids=lambda module: module.__name__)
def test_what_runs_on_nodes_is_python_3_6_and_the_standard_library(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 6))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    # These two come with the call.
    brought = {"cloudpickle", "sluiceway_payload"} if module is function_side else set()
    assert imported <= sys.stdlib_module_names - {"__future__", "subprocess"} | brought


@pytest.mark.parametrize("python", pythons())
def test_the_payload_gets_every_byte_as_it_was_asked_for(tmp_path: Path, python: str) -> None:
    (tmp_path / "in").mkdir()
    for name in ODD:
        if name:
            (tmp_path / "in" / f"x{name}").write_text("input")
    folder = staged(
        tmp_path,
        command=(sys.executable, "-c", SHOW),
        arguments=tuple(ODD),
        environment={f"V{number}": value for number, value in enumerate(ODD)},
        inputs=inputs_of([tmp_path / "in"]),
        parameters={"odd": [each for each in ODD if each.isprintable()], "n": 0.1},
    )
    done = start(folder, python)
    assert done.returncode == 0, done.stderr
    arguments, environment, context = json.loads(done.stdout)
    assert arguments == ODD
    assert [environment[f"V{number}"] for number in range(len(ODD))] == ODD
    assert context["parameters"]["odd"] == [each for each in ODD if each.isprintable()]
    assert {Path(place).read_text() for place in context["inputs"].values()} == {"input"}
    assert set(context["inputs"]) == {f"in/x{name}" for name in ODD if name}


def test_outputs_of_any_name_have_their_digests(tmp_path: Path) -> None:
    made = f"import os; [open(os.fsencode('o' + each), 'w').close() for each in {ODD!a}]"
    folder = staged(tmp_path, command=(sys.executable, "-c", made), outputs=("o*", "[o]*"))
    assert start(folder).returncode == 0
    found = outcome(folder)["outputs"]
    assert sorted(each["name"] for each in found) == sorted(f"o{name}" for name in ODD)
    assert all(each["digest"].startswith("sha256:") and each["patterns"] == ["[o]*", "o*"] for each in found)


def test_the_outcome_is_what_slurms_side_reads(tmp_path: Path) -> None:
    before = datetime.now(tz=UTC)
    folder = staged(tmp_path, script=script(tmp_path, "exit 3"))
    done = start(folder, SLURM_JOB_ID="80", SLURM_RESTART_COUNT="2")
    read = JobOutcome.of(Path(folder.outcome).read_bytes())
    assert (done.returncode, read.exit_code, read.signal) == (3, 3, None)
    assert read.is_of(JobId(80), restart=2)
    assert before <= read.started <= read.ended <= datetime.now(tz=UTC)
    assert read.peak_memory is not None
    assert read.peak_memory > 100_000


def test_an_element_of_an_array_has_a_folder_of_its_own_and_the_arrays_number(tmp_path: Path) -> None:
    folder = staged(tmp_path, script=script(tmp_path, "pwd"))
    element = folder.element(4)
    shutil.copytree(folder.path, tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", element.path)
    done = start(folder, SLURM_JOB_ID="81", SLURM_ARRAY_JOB_ID="80", SLURM_ARRAY_TASK_ID="4")
    assert done.stdout.decode().strip() == str(element.work)
    assert JobOutcome.of(Path(element.outcome).read_bytes()).is_of(JobId(80, 4), restart=0)
    assert not Path(folder.outcome).exists()


def test_a_requeued_job_runs_again_and_any_other_second_start_is_refused(tmp_path: Path) -> None:
    folder = staged(tmp_path, script=script(tmp_path, "echo once >>lines; exit 5"))
    starts = [("80", "0"), ("80", "0"), ("80", "1"), ("81", "2"), ("80", "1")]
    ended = [start(folder, SLURM_JOB_ID=job, SLURM_RESTART_COUNT=count).returncode for job, count in starts]
    assert ended == [5, jobside.REFUSED, 5, jobside.REFUSED, jobside.REFUSED]
    assert Path(folder.output("lines")).read_text() == "once\n" * 2
    assert outcome(folder)["restart"] == 1


@pytest.mark.parametrize(
    ("text", "exit_code", "signalled"),
    [
        ("exit 0", 0, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", None, "TERM"),
        ("kill -SEGV $$", None, "SEGV"),
        ("#!/bin/sh\nexit 4", 4, None),
        ("#!/usr/bin/env python3\nraise SystemExit(9)", 9, None),
        ("#!/no/such/program\n", 127, None),
    ],
)
def test_an_ending_is_kept_as_it_was(tmp_path: Path, text: str, exit_code: int | None, signalled: str | None) -> None:
    folder = staged(tmp_path, script=script(tmp_path, text))
    done = start(folder)
    assert (outcome(folder)["exit_code"], outcome(folder)["signal"]) == (exit_code, signalled)
    expected = exit_code if exit_code is not None else 128 + signal.Signals[f"SIG{signalled}"]
    assert done.returncode == expected


@pytest.mark.parametrize("command", [("no-such-program",), ("/etc",), ("-n",)])
def test_a_program_that_cannot_start_is_an_ending_like_any_other(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = staged(tmp_path, command=command)
    done = start(folder)
    assert outcome(folder)["exit_code"] in (126, 127)
    assert b"could not start" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_reaches_the_payload_and_what_it_started_and_is_waited_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Red on: core/runs/jobside.py: `os.killpg(self._group, number)` -> `os.kill(self._group, number)`."""
    name = number.name.removeprefix("SIG")
    wait = "n=0; while [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done; echo late"
    child = f"(trap 'echo child; exit 0' {name}; echo on; {wait}) &"
    text = f"trap 'wait; echo parent; exit 6' {name}\n{child}\nwait\nwait"
    folder = staged(tmp_path, script=script(tmp_path, text))
    with subprocess.Popen(jobside_command(folder), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "on\n"
        running.send_signal(number)
        said, _ = running.communicate(timeout=20)
    assert (said.split(), running.returncode) == (["child", "parent"], 6)
    assert outcome(folder)["exit_code"] == 6


def test_what_a_payload_leaves_running_ends_with_it(tmp_path: Path) -> None:
    folder = staged(tmp_path, script=script(tmp_path, "sleep 60 & echo $!"))
    done = start(folder)
    assert done.returncode == 0
    left = Path("/proc") / done.stdout.decode().strip() / "stat"
    assert not left.exists() or left.read_bytes().rpartition(b")")[2].split()[0] == b"Z"


def test_an_attempt_goes_on_when_whoever_started_it_is_gone_before_it_could_say_so(tmp_path: Path) -> None:
    folder = staged(tmp_path, script=script(tmp_path, "exit 3"))
    code = "import os,sys; from sluiceway.core.runs import jobside as j; r,w=os.pipe(); os.close(r); "
    code += "sys.exit(j.run(os.fsencode(sys.argv[1]), {}, asker=[w]))"
    done = subprocess.run([sys.executable, "-c", code, str(folder.path)], check=False)
    assert (done.returncode, outcome(folder)["exit_code"]) == (3, 3)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_full_disk_leaves_no_outcome_and_is_said(tmp_path: Path) -> None:
    """Red on: core/runs/jobside.py: `raise OSError("could not write %s: %s" % (name, error)) from error` -> `pass`."""
    made = "import os; [open(str(n).zfill(50), 'w') for n in range(100)]"
    folder = staged(tmp_path, command=(sys.executable, "-c", made), outputs=("*",))
    command = jobside_command(folder)
    done = subprocess.run(command, capture_output=True, check=False, preexec_fn=limited)
    assert done.returncode == jobside.CANNOT_WRITE
    assert b"could not write outcome.json: [Errno 27] File too large" in done.stderr
    assert {each.name for each in Path(folder.path).iterdir() if "outcome" in each.name} == set()


def test_a_disk_that_is_full_before_the_start_starts_nothing(tmp_path: Path, missing: Missing) -> None:
    folder = staged(tmp_path, script=script(tmp_path, "touch ran"))
    shell = (
        'mount -t tmpfs -o size=64k none "$0" && cp -r "$1"/. "$0" && head -c 1M /dev/zero >"$0"/fill; shift; exec "$@"'
    )
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        missing.part("small disks", why="this machine gives no namespaces", get="root, or user namespaces")
    command = [
        *NAMESPACE,
        "sh",
        "-c",
        shell,
        str(small),
        str(folder.path),
        sys.executable,
        "-I",
        str(small / "jobside.py"),
        str(small),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"No space left" in done.stderr) == (jobside.CANNOT_WRITE, True)
