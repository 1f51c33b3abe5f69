"""Ray's cluster comes up or says why not, whatever becomes of a node, and leaves nothing: with a stand-in for Ray."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.launch import ray_side
from sluiceway.core.launch.allocation import Node
from sluiceway.core.launch.ray import RayLauncher
from sluiceway.core.runs.folder import AttemptFolder
from tests.core.launch.ray_stand_in import make_stand_in
from tests.core.launch.test_launchers import staged
from tests.core.runs.test_jobside import start

SHOW = 'echo "$RAY_ADDRESS $RAY_API_SERVER_ADDRESS $SLUICEWAY_LAUNCHER"; cat "$SLUICEWAY_ENGINE"'
FACTS = {"cpus": "4", "memory": str(10 << 30), "gpus": "2", "tmp": "/tmp/sw-1", "port0": "20000"}
ORDER: dict[str, Any] = {
    **RayLauncher().model_dump(mode="json"), "host": "10.0.0.1", "name": "n1", "client": True, "dashboard": True
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """An environment with a stand-in for Ray, and a folder for runs."""

    programs: Path
    home: Path

    def run(
        self, *payload: str, does: dict[str, str] | None = None, **options: Any
    ) -> tuple[subprocess.CompletedProcess[bytes], AttemptFolder]:
        folder = staged(self.home, launcher=RayLauncher(**{"nodes": 2, **options}), command=payload)
        path = f"{self.programs}:{os.environ['PATH']}"
        return start(folder, PATH=path, STAND_IN=json.dumps(does or {})), folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stand_in(tmp_path_factory.mktemp("stand-in") / "env")


@pytest.fixture
def standing(programs: Path, tmp_path: Path) -> Standing:
    return Standing(programs, tmp_path)


def given(words: list[str]) -> dict[str, str]:
    return {each: words[number + 1] for number, each in enumerate(words[:-1]) if each.startswith("--")}


def connection(folder: AttemptFolder) -> dict[str, Any]:
    return dict(json.loads(Path(folder.connection).read_bytes()))


def engine(folder: AttemptFolder) -> Path:
    return Path(folder.connection).parent


def living(folder: AttemptFolder) -> list[int]:
    return [each["holder"] for each in connection(folder)["nodes"] if Path(f"/proc/{each['holder']}").exists()]


def test_the_payload_begins_when_all_nodes_have_joined_and_finds_them(standing: Standing) -> None:
    done, folder = standing.run("sh", "-c", f"{SHOW}; exit 7")
    assert done.returncode == 7, done.stderr.decode()
    first, told = done.stdout.decode().split("\n", 1)
    during = json.loads(told)
    assert first == f"{during['address']} {during['dashboard']} ray"
    assert [(each["part"], each["state"]) for each in during["nodes"]] == [("local1", "there"), ("local2", "there")]
    assert during["client"].startswith("ray://127.0.0.2:")
    assert (engine(folder) / "local2/raylet.out").read_text() == "raylet of local2\n"
    assert connection(folder)["state"] == "over"
    assert living(folder) == []
    assert not [each for each in during["nodes"] if Path(each["tmp"]).exists()]


def test_a_ray_without_its_dashboard_goes_without(standing: Standing) -> None:
    done, folder = standing.run("sh", "-c", SHOW, nodes=1, dashboard=False)
    assert done.returncode == 0, done.stderr.decode()
    assert connection(folder)["dashboard"] == ""
    assert done.stdout.decode().split()[1] == "ray"


@pytest.mark.parametrize("node", ["local1", "local2"])
def test_a_node_that_does_not_start_is_told_with_the_end_of_its_own_log(standing: Standing, node: str) -> None:
    done, _ = standing.run("true", does={node: "fails"})
    said = done.stderr.decode()
    assert done.returncode == 69
    assert f"{node} on node {node} did not start: it ended with exit code 1" in said
    assert "no room for objects" in said


def test_a_node_that_stays_out_is_missing_when_time_is_up(standing: Standing) -> None:
    """Red on: core/launch/ray_side.py: `_absent(names, seen) or _unshown(shown)` -> `_unshown(shown)`."""
    done, _ = standing.run("true", does={"local2": "stays out"}, ready_seconds=2)
    assert done.returncode == 69
    assert b"local2 on node local2 was not ready within 2 s (missing: local2)" in done.stderr


def test_a_node_that_is_too_late_for_ray_but_not_for_us_tries_again(standing: Standing) -> None:
    done, folder = standing.run("true", does={"local2": "is late"})
    assert done.returncode == 0, done.stderr.decode()
    assert (engine(folder) / "local2.log").read_text().count("starting") == 2
    assert living(folder) == []


def test_a_worker_that_leaves_is_told_and_the_head_works_on(standing: Standing) -> None:
    """Red on: core/launch/ray_side.py: `first.works = True` -> `first.works = False`."""
    done, folder = standing.run("sleep", "2.5", does={"local2": "ends"})
    assert done.returncode == 0, done.stderr.decode()
    assert [each["part"] for each in connection(folder)["nodes"] if each["state"] == "lost"] == ["local2"]
    assert "local2 on node local2 has left the ray cluster" in Path(folder.messages).read_text()


def test_without_its_head_all_is_over(standing: Standing) -> None:
    """Red on: core/launch/ray_side.py: `is_vital=True, is_child=True` -> `is_child=True`."""
    done, folder = standing.run("sleep", "600", does={"local1": "ends"})
    assert done.returncode == 70
    assert b"local1 on node local1 has left: it ended with exit code 1; nothing is left to work with" in done.stderr
    assert living(folder) == []


def test_a_python_without_ray_says_so(tmp_path: Path) -> None:
    folder = staged(tmp_path, launcher=RayLauncher(), command=("true",))
    done = start(folder)
    assert done.returncode == 69
    assert b"has no Ray: name an environment that has the package ray" in done.stderr


def test_a_head_says_where_it_is_and_a_worker_where_the_head_is() -> None:
    head = ray_side.words_for(ORDER, FACTS, 1 << 40)
    worker = ray_side.words_for({**ORDER, "address": "10.0.0.1:20000"}, FACTS, 1 << 40)
    assert head[:2] == worker[:2] == ["start", "--block"]
    assert given(head)["--port"] == "20000"
    assert given(worker)["--address"] == "10.0.0.1:20000"
    assert "--head" not in worker
    for words in (head, worker):
        ports = [int(value) for name, value in given(words).items() if name.endswith("-port") and value != "0"]
        assert sorted(ports) == list(range(20000, 20000 + len(ports)))


@pytest.mark.parametrize(
    ("changed", "room", "expected"),
    [
        ({}, 1 << 40, {"--num-cpus": "4", "--num-gpus": "2", "--object-store-memory": str(int((10 << 30) * 0.3))}),
        ({}, 1 << 30, {"--object-store-memory": str(1 << 30), "--memory": str(9 << 30)}),
        ({}, 0, {"--object-store-memory": str(75 << 20)}),
        ({"object_store": 2 << 30}, 0, {"--object-store-memory": str(2 << 30), "--memory": str(8 << 30)}),
        ({"cpus": 0, "resources": {"disk": 2}}, 0, {"--num-cpus": "0", "--resources": '{"disk": 2}'}),
    ],
)
def test_a_node_offers_what_the_job_has_there(changed: dict[str, Any], room: int, expected: dict[str, str]) -> None:
    words = given(ray_side.words_for({**ORDER, **changed}, FACTS, room))
    assert {name: words[name] for name in expected} == expected


def test_a_ray_that_lacks_its_client_is_told_no_port_for_it() -> None:
    assert "--ray-client-server-port" not in ray_side.words_for({**ORDER, "client": False}, FACTS, 0)


def test_nodes_that_this_machine_plays_have_an_address_each() -> None:
    here = [Node(f"local{number}", "127.0.0.1", is_here=True) for number in (1, 2)]
    assert [each.address for each in ray_side.addressed(here)] == ["127.0.0.2", "127.0.0.3"]
    there = [Node("n1", "10.0.0.1", is_here=True)]
    assert ray_side.addressed(there) == there
