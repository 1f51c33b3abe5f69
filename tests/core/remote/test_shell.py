"""Commands and their results as values."""

from __future__ import annotations

import pytest

from sluiceway.core.remote.shell import Command, Completed


def test_a_command_is_one_line_without_its_input() -> None:
    command = Command.of("sbatch", "my job.sh", stdin=b"secret")
    assert str(command) == "sbatch 'my job.sh'"


def test_a_long_script_is_cut_in_messages() -> None:
    assert len(str(Command.script("echo hello world\n" * 100))) == 200


@pytest.mark.parametrize(
    ("exit_code", "signal", "succeeded"), [(0, None, True), (1, None, False), (None, "TERM", False)]
)
def test_only_exit_code_zero_is_success(exit_code: int | None, signal: str | None, succeeded: bool) -> None:
    done = Completed(machine="m", command=Command.of("x"), exit_code=exit_code, signal=signal, stdout=b"", stderr=b"")
    assert done.succeeded is succeeded
