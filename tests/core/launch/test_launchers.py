"""What all launchers share: an engine comes up or says why not, the payload runs beside it, and nothing is left."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import RequestInvalid
from sluiceway.core.launch import allocation, holder, launcher
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.launch.single import SingleLauncher
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.folder import AttemptFolder, RunFolder
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.local_job import LocalJob
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.slurm.resources import Resources
from tests.core.launch.toy import SLEEP, Toy
from tests.core.launch.toy import toys as toys  # noqa: PLC0414 - a fixture
from tests.core.runs.test_jobside import outcome, start

PROGRAMS = sorted(Path(launcher.__file__).parent.glob("*side.py"))
SHARED = [Path(launcher.__file__).with_name(name) for name in launcher._SHARED]
WAIT = "trap 'echo {0} >>heard' {0}; touch ready; while :; do sleep 0.05; done"


def staged(home: Path, **asked: Any) -> AttemptFolder:
    """An attempt on this machine, about to start."""
    request = RunRequest(**asked)
    folder = RunFolder(base=PurePosixPath(home), key=request.key).attempt(1)
    host = LocalJob(home, shell=LocalShell(), clock=SystemClock())
    asyncio.run(host.stage(Attempt(request=request, folder=folder, place="local")))
    return folder


@pytest.fixture
def toy(toys: Callable[[str], Toy]) -> Toy:
    return toys(".")


def until(found: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("place", sorted({*PROGRAMS, *SHARED}), ids=lambda place: place.name)
def test_what_runs_on_nodes_is_python_3_6_and_the_standard_library(place: Path) -> None:
    tree = ast.parse(place.read_text(), feature_version=(3, 6))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.split(".")[0]
        for node in found
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    siblings = {each.stem for each in (*PROGRAMS, *SHARED)}
    # The first branch of an import that is made twice is for us, and never taken there.
    assert names - {"sluiceway"} <= sys.stdlib_module_names - {"__future__", "subprocess", "dataclasses"} | siblings


def test_the_payload_runs_beside_the_engine_and_its_exit_code_comes_back(toy: Toy) -> None:
    done = toy.run("sh", "-c", 'echo "$TOY $SLUICEWAY_LAUNCHER"; cp "$SLUICEWAY_ENGINE" "$0"; exit 7', str(toy.folder))
    assert (done.returncode, done.stdout) == (7, "toy://here toy\n"), done.stderr
    during = json.loads((toy.folder / "connection.json").read_bytes())
    assert [during[name] for name in ("state", "address", "launcher")] == ["ready", "toy://here", "toy"]
    assert [(each["part"], each["state"]) for each in during["nodes"]] == [
        ("local1", "there"), ("local2", "there"), ("boss", "there"),
    ]  # fmt: skip
    assert toy.connection["state"] == "over"
    assert toy.living == []
    assert not [each for each in during["nodes"] if Path(each["tmp"]).exists()]


def test_a_part_that_cannot_start_is_told_with_the_end_of_its_own_log(toy: Toy) -> None:
    """Red on: core/launch/nodeside.py: `if part.status is not None:` -> `if part.status == 0:`."""
    failing = ["sh", "-c", "echo the disk is full; sleep 0.3; exit 3"]
    done = toy.run("touch", str(toy.folder / "ran"), parts=[SLEEP, failing], wait=["/nowhere"], seconds=5)
    assert done.returncode == 69
    assert "local2 on node local2 did not start: it ended with exit code 3" in done.stderr
    assert "the disk is full" in done.stderr
    assert not (toy.folder / "ran").exists()
    assert toy.living == []


def test_an_engine_that_is_not_ready_in_time_says_what_is_missing(toy: Toy) -> None:
    done = toy.run("true", wait=["/nowhere"], seconds=0.5)
    assert (done.returncode, "was not ready within 0.5 s (missing: /nowhere)" in done.stderr) == (69, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_payload_and_not_the_engine(toy: Toy, number: signal.Signals) -> None:
    """Red on: core/launch/nodeside.py: `if self._payload: self._signal(number)` -> `if self._payload: pass`."""
    name = number.name.removeprefix("SIG")
    script = f"cd {toy.folder}; {WAIT.format(name).replace('>>heard', '>>heard; exit 5')}"
    begun = toy.start("sh", "-c", script)
    until((toy.folder / "ready").exists)
    begun.send_signal(number)
    assert begun.wait(20) == 5
    assert (toy.folder / "heard").read_text() == f"{name}\n"
    assert "left" not in (toy.folder / "told").read_text()


def test_a_payload_that_is_killed_is_known_to_have_been_killed(toy: Toy) -> None:
    assert toy.run("sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL


def test_nothing_outlives_a_launcher_that_is_killed(toy: Toy) -> None:
    """Red on: core/launch/holder.py: `if ready:` -> `if False:`."""
    begun = toy.start("sh", "-c", f"touch {toy.folder}/ready; sleep 600")
    until((toy.folder / "ready").exists)
    assert len(toy.living) >= 7
    begun.kill()
    begun.wait()
    until(lambda: toy.living in ([], ["sleep 600 "]))


@pytest.mark.slow
def test_what_a_part_has_left_in_another_session_ends_with_it(toy: Toy) -> None:
    """Red on: core/launch/holder.py: `left = descendants(os.getpid())` -> `left = ()`."""
    leaving = ["sh", "-c", "setsid sh -c 'trap \"\" TERM; sleep 600; :' & sleep 600"]
    assert toy.run("sleep", "0.5", parts=[SLEEP, leaving]).returncode == 0
    assert toy.living == []


def test_a_node_that_leaves_is_told_and_the_payload_goes_on(toy: Toy) -> None:
    done = toy.run("sleep", "1.5", parts=[SLEEP, ["sh", "-c", "sleep 0.7; exit 9"]])
    assert done.returncode == 0, done.stderr
    link, told = map(json.loads, (toy.folder / "told").read_text().splitlines())
    assert link == {"kind": "link", "name": "toy dashboard", "url": "http://127.0.0.1:1/"}
    assert told["level"] == "warning"
    assert told["text"] == "local2 on node local2 has left the toy cluster: it ended with exit code 9"
    assert [each["part"] for each in toy.connection["nodes"] if each["state"] == "lost"] == ["local2"]


@pytest.mark.parametrize("changed", [{"boss": ["sleep", "0.7"]}, {"parts": [["sleep", "0.7"], ["sleep", "0.7"]]}])
def test_a_payload_ends_when_there_is_nothing_left_to_work_with(toy: Toy, changed: dict[str, Any]) -> None:
    done = toy.run("sleep", "600", **changed)
    assert (done.returncode, "nothing is left to work with" in done.stderr) == (70, True)
    assert toy.living == []


def test_each_part_has_ports_of_its_own_and_its_nodes_facts(toy: Toy) -> None:
    part = ["sh", "-c", 'echo "{node} {port0} $OWN {cpus}"; touch {tmp}/mine; sleep 600']
    done = toy.run("cat", str(toy.folder / "engine/connection.json"), parts=[part, part])
    nodes = {each["part"]: each for each in json.loads(done.stdout)["nodes"]}
    assert nodes["local1"]["port0"] != nodes["local2"]["port0"]
    for name in ("local1", "local2"):
        port, cpus = nodes[name]["port0"], max(len(os.sched_getaffinity(0)) // 2, 1)
        assert toy.said(name) == f"{name} {port} {name} {port} {cpus}\n"


@pytest.mark.slow
def test_an_engines_own_logs_are_kept_while_it_runs_and_survive_a_kill(toy: Toy) -> None:
    part = ["sh", "-c", "mkdir -p {tmp}/logs/deep; echo first >{tmp}/logs/deep/own; sleep 600"]
    begun = toy.start("sleep", "600", parts=[part, SLEEP])
    kept = toy.folder / "engine/local1/deep/own"
    until(kept.exists)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.communicate()
    assert kept.read_text() == "first\n"
    until(lambda: toy.living == [])


@pytest.mark.parametrize(
    ("variables", "facts"),
    [
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "300"}, (4, 300 << 20, 0)),
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_MEM_PER_CPU": "500", "SLURM_GPUS_ON_NODE": "2"}, (2, 1000 << 20, 2)),
        ({"SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "1", "CUDA_VISIBLE_DEVICES": "0,3"}, (1, 1 << 20, 2)),
    ],
)
def test_what_a_job_has_on_a_node_is_read_from_slurm(variables: dict[str, str], facts: tuple[int, ...]) -> None:
    assert tuple(holder.facts_here({"SLURM_JOB_ID": "7", **variables}).values()) == facts


def test_a_nodes_address_is_one_that_others_reach() -> None:
    assert allocation.address_of("localhost") == "127.0.0.1"
    assert allocation.address_of("127.0.0.12") == "127.0.0.12"
    assert allocation.address_of("no-such-node.invalid") == "no-such-node.invalid"


def test_a_launcher_is_part_of_the_key_and_one_task_is_what_runs_are_without_one() -> None:
    keys = {
        name: RunRequest(command=("true",), launcher=each).key
        for name, each in {
            "none": None,
            "one": SingleLauncher(),
            "three": SingleLauncher(tasks=3),
            "dask": DaskLauncher(),
            "threads": DaskLauncher(threads=2),
        }.items()
    }
    assert keys["none"] == keys["one"]
    assert len(set(keys.values())) == 4


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mpi", {}, "there are dask"),
        ("dask", {"treads": "2"}, "treads: Extra inputs"),
        ("dask", {"threads": "two"}, "threads: Input should be a valid integer"),
        (None, {"threads": "2"}, "name a launcher"),
    ],
)
def test_a_launcher_that_there_is_not_is_refused(name: str | None, options: dict[str, str], said: str) -> None:
    with pytest.raises(RequestInvalid, match=said):
        launcher_named(name, options)


def test_tasks_that_are_asked_of_slurm_are_as_many_of_the_payload() -> None:
    assert launcher_named("single", {}, resources=Resources(tasks=4)) == SingleLauncher(tasks=4)
    assert launcher_named("single", {"tasks": "2"}, resources=Resources(tasks=4)) == SingleLauncher(tasks=2)
    assert launcher_named("dask", {}, resources=Resources(tasks=4)) == DaskLauncher()
    assert launcher_named(None) is None


def test_tasks_are_numbered_here_as_srun_does_there(tmp_path: Path) -> None:
    made = 'echo "$SLURM_PROCID of $SLURM_NTASKS" >"$SLURM_PROCID"'
    asked = {"command": ("sh", "-c", made), "outputs": ("*",)}
    folder = staged(tmp_path, launcher=SingleLauncher(tasks=3), **asked)
    done = start(folder)
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in outcome(folder)["outputs"]] == ["0", "1", "2"]
    assert Path(folder.output("2")).read_text() == "2 of 3\n"


def test_a_task_that_fails_ends_the_others(tmp_path: Path) -> None:
    script = 'test "$SLURM_PROCID" -ne 1 || exit 3; sleep 600'
    folder = staged(tmp_path, launcher=SingleLauncher(tasks=3), command=("sh", "-c", script))
    assert start(folder).returncode == 3


def test_a_task_that_does_not_want_to_end_when_another_has_failed_is_made_to(tmp_path: Path) -> None:
    """Red on: core/launch/single_side.py: `self._signal(signal.SIGKILL)` -> `None`."""
    deaf = f"trap '' TERM; echo $$ >{tmp_path}/deaf; while :; do sleep 0.1; done"
    fails = f"until [ -s {tmp_path}/deaf ]; do sleep 0.05; done; exit 3"
    code = "import sys; from sluiceway.core.launch.single_side import Tasks; "
    code += "sys.exit(Tasks(2, grace=0.3).run(sys.argv[1:]))"
    payload = ["sh", "-c", f'if [ "$SLURM_PROCID" = 0 ]; then {deaf}; fi; {fails}']
    done = subprocess.run([sys.executable, "-c", code, *payload], timeout=20, check=False)
    assert done.returncode == 3
    until(lambda: not Path(f"/proc/{(tmp_path / 'deaf').read_text().strip()}").exists())


def test_tasks_are_started_by_srun_inside_of_a_job(tmp_path: Path) -> None:
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    srun.chmod(0o755)
    folder = staged(tmp_path, launcher=SingleLauncher(tasks=3, mpi="pmix"), command=("./solve", "a b"))
    job = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "2", "PATH": f"{srun.parent}:{os.environ['PATH']}"}
    said = start(folder, **job).stdout.decode().split("|")[:-1]
    options = ["--ntasks=3", "--kill-on-bad-exit=1", "--export=ALL", "--cpus-per-task=2", "--mpi=pmix"]
    assert said == [*options, "--", "./solve", "a b"]


PAYLOAD = """
import json, os
from distributed import Client
with Client() as client:
    found = client.scheduler_info()["workers"].values()
    names = client.run(lambda dask_worker: dask_worker.name)
    print(json.dumps([sorted(names.values()), [each["nthreads"] for each in found],
        [each["memory_limit"] for each in found], [each["resources"] for each in found],
        client.submit(sum, [1, 2]).result(), os.environ["SLUICEWAY_LAUNCHER"]]))
"""


@pytest.mark.slow
def test_dask_has_a_worker_on_each_node_with_what_was_declared(tmp_path: Path) -> None:
    launched = DaskLauncher(nodes=2, threads=1, memory="300 MiB", resources={"licence": 2})
    folder = staged(tmp_path, launcher=launched, command=("python3", "-c", PAYLOAD))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = start(folder, PATH=path)
    assert done.returncode == 0, done.stderr.decode()
    names, threads, memory, resources, total, name = json.loads(done.stdout)
    assert (names, threads, memory, total, name) == (["local1", "local2"], [1, 1], [300 << 20] * 2, 3, "dask")
    facts = holder.facts_here({}, share=2)
    assert resources == [{name: float(facts[name]) for name in ("cpus", "memory", "gpus")} | {"licence": 2.0}] * 2


def test_a_python_without_dask_says_so(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    folder = staged(tmp_path, launcher=DaskLauncher(), command=("true",))
    done = start(folder, PATH=f"{bare}/bin:{os.environ['PATH']}")
    assert done.returncode == 69
    assert b"bin/python3 has no Dask: name an environment that has the package distributed" in done.stderr
