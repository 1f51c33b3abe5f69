"""Spark's launcher without a JVM: a program in the place of spark-class says what the real one says, and is faster."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sluiceway.core.launch import spark_side
from sluiceway.core.launch.spark import SparkLauncher
from sluiceway.core.runs.folder import AttemptFolder
from tests.core.launch.test_launchers import staged
from tests.core.runs.test_jobside import start

SPARK_CLASS = """#!/usr/bin/env -S python3 -S
import http.server, json, os, socket, sys, time

registered = os.environ["REGISTERED"]
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        files = [os.path.join(registered, each) for each in os.listdir(registered)]
        self.wfile.write(json.dumps({"status": "ALIVE", "workers": [json.load(open(each)) for each in files]}).encode())
    def log_message(self, *_):
        pass

if options["--host"].count(":") > 1 and options["--host"][0] != "[":
    sys.exit("Expected hostname or IPv6 IP enclosed in [] but got " + options["--host"])
if "Master" in sys.argv[1]:
    host = options["--host"].strip("[]")
    http.server.HTTPServer.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    http.server.HTTPServer((host, int(options["--webui-port"])), Page).serve_forever()
if os.environ.get("BROKEN"):
    sys.exit("the worker is broken")
port = int(options["--port"])
worker = {"host": options["--host"], "port": port, "state": "ALIVE", "memory": int(options["--memory"].rstrip("m"))}
with open(os.path.join(registered, ".new-%d" % port), "w") as file:
    json.dump(dict(worker, argv=sys.argv, options=os.environ["SPARK_WORKER_OPTS"]), file)
os.rename(file.name, os.path.join(registered, str(port)))
os.makedirs(os.path.join(options["--work-dir"], "app-1", "0"), exist_ok=True)
for name in ("stdout", "stderr", "large.jar"):
    with open(os.path.join(options["--work-dir"], "app-1", "0", name), "w") as file:
        file.write(name)
time.sleep(600)
"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A folder that looks like Spark's, and runs beside it."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / "bin").mkdir(parents=True)
        (self.folder / "registered").mkdir()
        for name, text in (("spark-class", SPARK_CLASS), ("java", "#!/bin/sh\n")):
            (self.home / "bin" / name).write_text(text)
            (self.home / "bin" / name).chmod(0o755)

    @property
    def home(self) -> Path:
        return self.folder / "spark"

    def run(self, *payload: str, **variables: str) -> tuple[AttemptFolder, subprocess.CompletedProcess[bytes]]:
        launcher = SparkLauncher(nodes=2, cores=1, memory="700m")
        folder = staged(self.folder, launcher=launcher, command=payload)
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        told = {"SPARK_HOME": str(self.home), "REGISTERED": str(self.folder / "registered"), "PATH": path}
        return folder, start(folder, **told, **variables)


@pytest.fixture
def spark(tmp_path: Path) -> StandIn:
    return StandIn(folder=tmp_path)


def test_the_payload_is_told_the_master_once_all_workers_are_there_and_what_executors_say_is_kept(
    spark: StandIn,
) -> None:
    """Red on: core/launch/spark_side.py: `, only=("stdout", "stderr"))` -> `)`."""
    folder, done = spark.run(
        "sh", "-ec", 'cat "$SLUICEWAY_ENGINE"; test "$MASTER" = "$SPARK_MASTER_URL"; ls "$REGISTERED" >listed'
    )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    master, *workers = told["nodes"]
    assert told["address"] == told["variables"]["MASTER"] == f"spark://127.0.0.1:{master['port0']}"
    assert told["dashboard"] == f"http://127.0.0.1:{master['port1']}/"
    assert [each["part"] for each in workers] == ["local1", "local2"]
    assert Path(folder.work / "listed").read_text().split() == sorted(str(each["port0"]) for each in workers)
    kept = Path(folder.connection).parent / "local2/app-1/0"
    assert sorted(each.name for each in kept.iterdir()) == ["stderr", "stdout"]


def test_gpus_are_offered_by_each_worker_and_asked_for_by_the_application(spark: StandIn) -> None:
    text = """
        grep resource "$SPARK_CONF_DIR/spark-defaults.conf"
        for each in "$REGISTERED"/*; do "$(grep -o 'discoveryScript=[^ "]*' "$each" | cut -d= -f2)"; done
    """
    _, done = spark.run("sh", "-ec", text, CUDA_VISIBLE_DEVICES="3,5", SPARK_WORKER_OPTS="-Dof.the.site=yes")
    asked, *offered = done.stdout.decode().splitlines()
    assert asked == "spark.executor.resource.gpu.amount 2", done.stderr.decode()
    assert [json.loads(each) for each in offered] == [{"name": "gpu", "addresses": ["3", "5"]}] * 2
    told = [json.loads(each.read_bytes())["options"] for each in (spark.folder / "registered").iterdir()]
    assert [each for each in told if "-Dspark.worker.resource.gpu.amount=2 " not in each] == []
    assert [each for each in told if "-Dof.the.site=yes" not in each] == []


@pytest.mark.parametrize(
    ("count", "visible", "addresses"),
    [(2, "3,5", ["3", "5"]), (2, "", ["0", "1"]), (1, "GPU-8f", ["GPU-8f"]), (0, "-1", []), (1, "0,1", ["0"])],
)
def test_gpus_are_called_as_cuda_is_told_or_by_their_numbers(count: int, visible: str, addresses: list[str]) -> None:
    assert spark_side.gpu_addresses(count, {"CUDA_VISIBLE_DEVICES": visible}) == addresses


def test_a_worker_that_does_not_start_is_told_with_the_end_of_its_log(spark: StandIn) -> None:
    _, done = spark.run("true", BROKEN="yes")
    assert done.returncode == 69
    assert b"did not start: it ended with exit code 1" in done.stderr
    assert b"the worker is broken" in done.stderr


def test_a_node_with_too_little_memory_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    order = {"node": "n2", "memory": str(1000 << 20), "reserve": 384, "wished": {"memory": None}}
    with pytest.raises(SystemExit):
        spark_side.become_worker(order)
    assert "node n2 has 1000 MiB for this job, too little: Spark needs 1280 MiB there" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("payload", "main_class", "run"),
    [
        (["a.py", "--x"], None, ["/s/bin/spark-submit", "a.py", "--x"]),
        (["a.jar", "y"], "org.Main", ["/s/bin/spark-submit", "--class", "org.Main", "a.jar", "y"]),
        (["sh", "a.py"], None, ["sh", "a.py"]),
    ],
)
def test_programs_for_spark_are_submitted(payload: list[str], main_class: str | None, run: list[str]) -> None:
    assert spark_side.submitted(payload, {"main_class": main_class}, "/s") == run


def test_executors_that_are_lost_are_told_and_those_that_are_done_are_not(tmp_path: Path) -> None:
    """Red on: core/launch/spark_side.py: `(EXITED|FAILED|LOST)` -> `(NEVER)`."""
    log, heard = tmp_path / "master.log", tmp_path / "heard"
    part = type("Part", (), {"name": "n2", "facts": {"port0": 7}, "node": type("Node", (), {"address": "10.0.0.2"})})
    losses = spark_side.Losses(str(log), [part])  # type: ignore[list-item]
    begun = "x INFO Master: Launching executor app-1/3 on worker worker-20261121-10.0.0.2-7\n"
    log.write_text(
        f"{begun}x INFO Master: Removing executor app-1/2 because it is KILLED\nx INFO Master: Removing exec"
    )
    with pytest.MonkeyPatch.context() as undo:
        undo.setenv("SLUICEWAY_MESSAGES", str(heard))
        losses()
        assert not heard.exists()
        with log.open("a") as file:
            file.write("utor app-1/3 because it is EXITED\n")
        losses()
        losses()
    (told,) = map(json.loads, heard.read_text().splitlines())
    assert told["text"] == "executor app-1/3 on n2 has left the spark cluster: exited"
    assert told["level"] == "warning"


@pytest.mark.parametrize(
    ("memory", "reserve", "heap"),
    [(16_000, 384, "14196m"), (2_048, 384, "1280m"), (1_280, 384, "512m"), (1_279, 384, ""), (300, 384, "")],
)
def test_a_worker_offers_what_is_left_beside_the_daemons(memory: int, reserve: int, heap: str) -> None:
    assert spark_side.offer(memory, reserve) == heap


def test_the_settings_of_the_site_go_first_and_its_other_files_are_there(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "the site's", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "spark-defaults.conf").write_text("spark.ui.port 1\n")
    (theirs / "spark-env.sh").write_text("OF_THE_SITE=yes\n")
    (theirs / "log4j2.properties").write_text("own\n")
    spark_side.write_settings(str(ours), {"spark.ui.port": "2", "spark.x": "a\\b:\nc"}, str(theirs))
    assert (ours / "log4j2.properties").read_text() == "own\n"
    lines = (ours / "spark-defaults.conf").read_text().splitlines()
    assert lines == ["spark.ui.port 2", "spark.x a\\\\b\\:\\nc", "spark.ui.port 1"]
    said = 'set -e; . "$1"/spark-env.sh; kill -USR1 $$; echo "$OF_THE_SITE"'
    done = subprocess.run(["bash", "-c", said, "bash", ours], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "yes\n")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"SPARK_HOME": "/no/such/folder"}, b"there is no Spark in /no/such/folder: name an environment"),
        ({"JAVA_HOME": "/no/java"}, b"Spark needs Java 17 or newer: there is no /no/java/bin/java on PATH"),
    ],
)
def test_what_is_not_there_is_named(spark: StandIn, missing: dict[str, str], said: bytes) -> None:
    folder = staged(spark.folder, launcher=SparkLauncher(), command=("true",))
    done = start(folder, **{"SPARK_HOME": str(spark.home), **missing})
    assert (done.returncode, said in done.stderr) == (69, True), done.stderr.decode()
