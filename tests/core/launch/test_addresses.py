"""Engines work on nodes whose addresses are of version 6, and nobody's proxy stands between their parts."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sluiceway.core.launch import addresses, dask_side
from sluiceway.core.launch.allocation import Node
from sluiceway.core.launch.dask import DaskLauncher
from tests.conftest import Missing
from tests.core.launch.test_launchers import staged
from tests.core.launch.test_spark import StandIn
from tests.core.runs.test_jobside import NAMESPACE

SCONTROL = """#!/bin/sh
case "$*" in
    *hostnames*) echo n1 n2 ;;
    *job*) echo "JobId=7 NodeList=n[1-2]" ;;
    *) printf 'NodeName=%s Arch=x86_64 NodeAddr=::1 State=IDLE\\n' n1 n2 ;;
esac
"""
SRUN = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
JOB = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_MEM_PER_NODE": "4000"}
TOLD = """
import json, os
from distributed import Client
with Client() as client:
    names = sorted(each["name"] for each in client.scheduler_info()["workers"].values())
    print(json.dumps([names, client.scheduler.address, json.load(open(os.environ["SLUICEWAY_ENGINE"]))["dashboard"]]))
"""


def job_of_two_nodes(folder: Path) -> None:
    """Put programs into a folder that answer as Slurm's do in a job of two nodes, both of which are this machine."""
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def test_an_address_of_version_6_stands_in_brackets_before_a_port() -> None:
    assert [addresses.bracketed(each) for each in ("10.0.0.1", "n1", "fd00::1")] == ["10.0.0.1", "n1", "[fd00::1]"]


def test_spark_works_over_addresses_of_version_6(tmp_path: Path) -> None:
    spark = StandIn(folder=tmp_path)
    job_of_two_nodes(spark.home / "bin")
    _, done = spark.run("sh", "-c", 'cat "$SLUICEWAY_ENGINE"', **JOB)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["address"] == f"spark://[::1]:{told['nodes'][0]['port0']}"
    assert told["dashboard"] == f"http://[::1]:{told['nodes'][0]['port1']}/"


@pytest.mark.parametrize(("address", "shown"), [("10.0.0.1", "10.0.0.1:{port1}"), ("::1", "n1:{port1}")])
def test_dask_is_told_of_its_pages_in_a_form_that_it_reads(address: str, shown: str) -> None:
    assert dask_side._scheduler(Node("n1", address, is_here=True))[-1] == shown


@pytest.mark.slow
def test_dask_works_over_addresses_of_version_6(tmp_path: Path, missing: Missing) -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        missing.part("slow", why="this machine gives no names of one's own", get="namespaces, or root")
    (tmp_path / "bin").mkdir()
    job_of_two_nodes(tmp_path / "bin")
    (tmp_path / "hosts").write_text(f"{Path('/etc/hosts').read_text()}\n::1 n1 n2\n")
    folder = Path(staged(tmp_path, launcher=DaskLauncher(), command=("true",)).path)
    named = [*NAMESPACE, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(tmp_path / "hosts")]
    side = [sys.executable, "-I", str(folder / "launch/dask_side.py"), DaskLauncher(threads=1).model_dump_json()]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    own = {**os.environ, **JOB, "PATH": path, "SLUICEWAY_CONTEXT": str(folder / "context.json")}
    done = subprocess.run([*named, *side, sys.executable, "-c", TOLD], env=own, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    names, address, dashboard = json.loads(done.stdout)
    assert names == ["n1", "n2"]
    assert address.startswith("tcp://[::1]:")
    assert dashboard.startswith("http://[::1]:")


class Page(http.server.BaseHTTPRequestHandler):
    """A page of an engine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_page_of_an_engine_is_asked_for_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = "127.0.0.1", server.server_port
        assert addresses.page(f"http://{host}:{port}/") == b"here"
        assert addresses.listens(host, port)
        server.shutdown()
    assert not addresses.listens(host, port)
