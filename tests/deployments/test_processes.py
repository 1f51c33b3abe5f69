"""What the kernel tells of processes is right: who listens, what was started, who is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from sluiceway.deployments.processes import listener_on, started_by

NAP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_who_listens_on_a_port_is_named_with_its_number_and_its_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as serving:
        found = listener_on(serving.getsockname()[1])
    assert found is not None
    assert found.startswith(f"process {os.getpid()} (")


def test_nobody_listens_on_a_port_that_is_free() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert listener_on(bound.getsockname()[1]) is None


def test_what_a_process_started_is_found_in_whatever_session_it_is_and_can_be_ended() -> None:
    with subprocess.Popen(NAP, start_new_session=True) as child:
        (found,) = [each for each in started_by(os.getpid()) if each.id == child.pid]
        assert found.is_there
        found.end(signal.SIGKILL)
        child.wait()
    assert not found.is_there
    # Its number may be somebody else's by now: nothing happens to them.
    found.end(signal.SIGKILL)


def test_a_dead_child_that_nobody_has_waited_for_is_not_there() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.pid not in {each.id for each in started_by(os.getpid())}
