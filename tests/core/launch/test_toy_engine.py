"""An engine where things are against it: a full disk, a folder with a long path, another engine on the same node."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluiceway.core.launch import addresses
from tests.core.launch.test_launchers import until
from tests.core.launch.toy import SLEEP, Toy
from tests.core.launch.toy import toys as toys  # noqa: PLC0414 - a fixture

Toys = Callable[[str], Toy]
# What keeps this test's payload until it may end.
WAIT = "touch {0}/ready; until [ -e {0}/go ]; do sleep 0.05; done; exit 7"


def waiting(toy: Toy, **options: Any) -> subprocess.Popen[str]:
    """Start a payload that waits, and wait until it does."""
    begun = toy.start("sh", "-c", WAIT.format(toy.folder), **options)
    until((toy.folder / "ready").exists)
    return begun


def ended(begun: subprocess.Popen[str], toy: Toy) -> tuple[int, str]:
    """Let the payload end; give its exit code, and what the launcher said."""
    (toy.folder / "go").touch()
    _, stderr = begun.communicate(timeout=60)
    return begun.returncode, stderr


def test_a_disk_that_is_full_by_now_changes_no_outcome(toys: Toys) -> None:
    """Red on: core/launch/nodeside.py: `with contextlib.suppress(OSError): self._write_connection()` ->
    `self._write_connection()`.
    """
    toy = toys("one")
    begun = waiting(toy)
    lost = toy.connection["nodes"][1]
    resource.prlimit(begun.pid, resource.RLIMIT_FSIZE, (0, 0))
    os.kill(lost["pid"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{lost['holder']}").exists())
    assert ended(begun, toy) == (7, "")
    assert toy.connection["state"] == "ready"
    assert list((toy.folder / "engine").glob(".connection.*")) == []
    assert toy.living == []


def test_a_disk_that_is_full_before_the_engine_can_be_found_starts_no_payload(toys: Toys) -> None:
    toy = toys("one")
    done = toy.run("touch", str(toy.folder / "ran"), within=("prlimit", "--fsize=0"))
    assert done.returncode == 69
    assert f"could not write {toy.folder}/engine/connection.json: [Errno 27] File too large" in done.stderr
    assert [each for each in toy.folder.glob("**/*") if each.name == "ran" or "connection" in each.name] == []
    assert toy.living == []


def test_an_engine_works_in_a_folder_with_a_long_path(toys: Toys) -> None:
    toy = toys("long" * 50)
    opens = "import socket, sys, time; socket.socket(socket.AF_UNIX).bind(sys.argv[1]); open(sys.argv[2], 'w').close()"
    bound = toy.folder / "bound"
    part = [sys.executable, "-c", f"{opens}; time.sleep(600)", "{tmp}/" + "s" * 50, str(bound)]
    done = toy.run("true", parts=[part, SLEEP], wait=[str(bound)])
    assert done.returncode == 0, done.stderr + toy.said("local1")


SERVE = ["sh", "-c", 'echo there >"$1/page"; cd "$1" && exec "$2" -m http.server --bind 127.0.0.1 "$3"', "sh"]
SERVED = [*SERVE, "{tmp}", sys.executable, "{port0}"]


def ports(toy: Toy) -> list[int]:
    return [each["port0"] for each in toy.connection["nodes"] if "port0" in each]


def answers(toy: Toy) -> bool:
    """Whether each of its parts still shows the page in its own folder."""
    with contextlib.suppress(OSError):
        return [addresses.page(f"http://127.0.0.1:{port}/page") for port in ports(toy)] == [b"there\n"] * 2
    return False


def test_an_engine_that_ends_or_is_cancelled_leaves_another_one_on_its_node_alone(toys: Toys) -> None:
    stays, ends, cancelled = (toys(name) for name in ("stays", "ends", "cancelled"))
    begun = waiting(stays, parts=[SERVED, SERVED])
    until(lambda: answers(stays))
    other = waiting(cancelled, parts=[SERVED, SERVED])
    assert len({*ports(stays), *ports(cancelled)}) == 4
    assert ends.run("true", parts=[SERVED, SERVED]).returncode == 0
    other.terminate()
    assert other.wait(20) == -signal.SIGTERM
    assert (ends.living, cancelled.living) == ([], [])
    assert answers(stays)
    assert [each for each in stays.connection["nodes"] if not Path(f"/proc/{each['pid']}").exists()] == []
    assert ended(begun, stays) == (7, "")
    assert "lost" not in stays.connection
