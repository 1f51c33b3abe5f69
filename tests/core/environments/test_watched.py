"""A container ends with what runs it, and what was killed before it could end one is made up for by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from sluiceway.core.environments.watched import Client, sweep

# Its container is a process in a session of its own, which only `kill` and `rm` reach. While there is a file
# called broken it does nothing but mend itself.
STAND_IN = r"""#!/bin/sh
here=${0%/*}; echo "$*" >>"$here/called"
case $1 in system) rm -f "$here/broken";; esac
[ ! -e "$here/broken" ] || { echo 'try resetting the pause process with "podman system migrate"' >&2; exit 125; }
case $1 in
run) shift; setsid "$PYTHON" -c "$UNBLOCKED" "$@" & pid=$!
     trap : TERM; echo $pid >"$here/part"; mv "$here/part" "$here/pid"
     while :; do wait $pid; code=$?; kill -0 $pid 2>/dev/null || exit $code; done;;
inspect) cat "$here/pid";;
kill) kill "-${2#*=}" "$(cat "$here/pid")";;
rm) kill -KILL "$(cat "$here/pid")" 2>/dev/null;;
esac
"""
UNBLOCKED = "import os, signal, sys; signal.pthread_sigmask(2, []); os.execvp(sys.argv[1], sys.argv[1:])"
PROGRAM = """
import contextlib, os, sys
from sluiceway.core.environments.watched import Client, Watch
words = [os.fsencode(each) for each in sys.argv[2:]]
client = Client(words[:1], dict(os.environb), contextlib.suppress)
sys.exit(Watch(client, os.fsencode(sys.argv[1]), b"mine").run(words))
"""


@pytest.fixture
def podman(tmp_path: Path) -> Path:
    (tmp_path / "podman").write_text(STAND_IN)
    (tmp_path / "podman").chmod(0o755)
    return tmp_path / "podman"


@contextmanager
def watched(podman: Path, *payload: str) -> Iterator[subprocess.Popen[bytes]]:
    """Watch a container that has begun, as the leader of a group that is told to end."""
    argv = [sys.executable, "-c", PROGRAM, str(podman.parent / "locks"), str(podman), "run", *payload]
    own = {**os.environ, "PYTHON": sys.executable, "UNBLOCKED": UNBLOCKED}
    with subprocess.Popen(argv, start_new_session=True, cwd=podman.parent, env=own) as watching:
        try:
            until((podman.parent / "pid").exists)
            yield watching
        finally:
            if lives(podman):
                os.kill(pid(podman), signal.SIGKILL)


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid(podman: Path) -> int:
    return int((podman.parent / "pid").read_text())


def lives(podman: Path) -> bool:
    about = Path(f"/proc/{pid(podman)}/stat")
    return about.exists() and about.read_text().rpartition(")")[2].split()[0] != "Z"


def called(podman: Path) -> list[str]:
    return (podman.parent / "called").read_text().splitlines()


def locks(podman: Path) -> list[str]:
    return [each.name for each in (podman.parent / "locks").iterdir()]


def test_a_payload_that_ends_by_itself_ends_so_and_nothing_else_is_called(podman: Path) -> None:
    with watched(podman, "sh", "-c", "exit 7") as watching:
        assert watching.wait() == 7
    assert called(podman) == ["run sh -c exit 7"]
    assert locks(podman) == []


def test_term_ends_a_payload_that_says_nothing_about_it_as_it_would_outside(podman: Path) -> None:
    """Red on: core/environments/watched.py: `signal.SIGKILL if is_deaf else number` -> `signal.SIGCONT`."""
    with watched(podman, "sleep", "1000") as watching:
        os.killpg(watching.pid, signal.SIGTERM)
        assert watching.wait(timeout=20) == -signal.SIGTERM
        assert not lives(podman)
    assert called(podman)[1:] == ["inspect --format={{.State.Pid}} mine", "kill --signal=9 mine", "rm --force mine"]
    assert locks(podman) == []


def test_a_payload_that_hears_term_ends_as_it_likes(podman: Path) -> None:
    script = 'trap "exit 5" TERM; : >ready; while :; do sleep 0.05; done'
    with watched(podman, "sh", "-c", script) as watching:
        until((podman.parent / "ready").exists)
        os.killpg(watching.pid, signal.SIGTERM)
        assert watching.wait(timeout=20) == 5
    assert [each for each in called(podman) if each.startswith("kill")] == ["kill --signal=15 mine"]


def test_a_payload_outlives_the_program_that_ends_at_once_when_told_and_is_waited_for(podman: Path) -> None:
    """As podman may do.

    Red on: core/environments/watched.py: `is None or self._goes_on():` -> `is None:`.
    """
    podman.write_text(STAND_IN.replace("trap : TERM", "trap 'exit 0' TERM"))
    script = 'trap "sleep 0.5; : >done; exit 5" TERM; : >ready; while :; do sleep 0.05; done'
    with watched(podman, "sh", "-c", script) as watching:
        until((podman.parent / "ready").exists)
        os.killpg(watching.pid, signal.SIGTERM)
        assert watching.wait(timeout=20) == -signal.SIGTERM
    assert (podman.parent / "done").exists()


def test_what_a_kill_has_left_is_removed_by_the_next_and_nothing_that_lives(podman: Path) -> None:
    """Red on: core/environments/watched.py: `fcntl.flock(self._handle, fcntl.LOCK_EX)` -> `pass`."""
    client, folder = Client([os.fsencode(podman)], dict(os.environb), nullcontext), os.fsencode(podman.parent / "locks")
    with watched(podman, "sleep", "1000") as watching:
        until(lambda: locks(podman) == ["mine"])
        sweep(client, folder)
        assert lives(podman)
        os.killpg(watching.pid, signal.SIGKILL)
        watching.wait()
        assert lives(podman)
        sweep(client, folder)
        until(lambda: not lives(podman))
    assert called(podman)[1:] == ["rm --force mine"]
    assert locks(podman) == []


def test_podman_that_lost_all_its_processes_is_mended_once(podman: Path) -> None:
    """Red on: core/environments/watched.py: `self._asked((b"system", b"migrate"))` -> `pass`."""

    @contextmanager
    def mended_by_another() -> Iterator[None]:
        (podman.parent / "broken").unlink()
        yield

    for alone, asked in (
        (nullcontext, ["inspect", "inspect", "system", "inspect"]),
        (mended_by_another, ["inspect"] * 2),
    ):
        (podman.parent / "pid").write_text("1")
        (podman.parent / "broken").touch()
        (podman.parent / "called").write_text("")
        client = Client([os.fsencode(podman)], dict(os.environb), alone)
        assert client.ask(b"inspect", b"mine").stdout == b"1"
        assert [each.split()[0] for each in called(podman)] == asked
