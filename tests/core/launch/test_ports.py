"""A part of an engine has ports that no other part on its node is given, and nobody else listens on."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from sluiceway.core.launch import ports
from tests.core.launch.test_holder import held, over
from tests.core.launch.test_holder import place as place  # noqa: PLC0414 - a fixture


def test_ports_are_given_to_one_and_none_that_is_in_use() -> None:
    with contextlib.ExitStack() as stack:
        first, lock = ports.take_ports(3)
        second, other = ports.take_ports(3)
        assert lock is not None
        stack.enter_context(other or lock)
        assert abs(first - second) >= 50
        lock.close()
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        third, again = ports.take_ports(3)
        stack.enter_context(again or lock)
        assert third not in {first, second}


def test_jobs_with_a_folder_for_temporary_files_each_are_given_other_ports(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red on: core/launch/ports.py: `sluiceway-ports-%d" % first` -> `%d%s" % (first, os.environ["TMPDIR"])`."""
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    begun, facts = held(place, "sleep", "600", ports=1)
    assert ports._locked(facts["port0"]) is None
    over(begun)


def test_a_part_that_wants_no_ports_has_none() -> None:
    assert ports.take_ports(0) == (0, None)
