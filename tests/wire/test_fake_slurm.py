"""The fake Slurm answers as the real one does, and misbehaves on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluiceway.core.errors import CommandFailed, ConnectionLost
from sluiceway.core.remote.shell import Command
from tests.slurm_promises import SlurmPromises, new_name, submit

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from tests.wire.login_node import LoginNode


class TestFakeSlurm(SlurmPromises):
    """Every promise, asked of the fake."""


async def sacct_state(shell: SshShell, job: str) -> str:
    return (await shell.run(Command.of("sacct", "-n", "-P", "-j", job, "--format=State"))).text.strip()


async def test_a_lost_answer_leaves_the_job_behind(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/wire/login_node.py: `if self.faults.take("lose_answers"):` -> `if False:`."""
    login_node.faults.lose_answers = 1
    name = new_name()
    with pytest.raises(ConnectionLost):
        await submit(shell, f"--job-name={name}")
    assert login_node.slurm.only_job().name == name
    found = await shell.run(Command.of("squeue", "-h", "-t", "all", f"--name={name}", "-o", "%i"))
    assert found.text.strip() == login_node.slurm.only_job().id


async def test_a_refusal_leaves_no_job(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/wire/fake_slurm.py: `if self.refusal is not None:` -> `if False:`."""
    login_node.slurm.refuse("Invalid account or account/partition combination specified")
    with pytest.raises(CommandFailed, match="Invalid account"):
        await submit(shell)
    assert login_node.slurm.jobs == {}


async def test_accounting_can_lag_behind(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/wire/fake_slurm.py: `if job.unaccounted > 0:` -> `if False:`."""
    login_node.slurm.delay_accounting(questions=2)
    job = await submit(shell)
    assert [await sacct_state(shell, job) for _ in range(3)] == ["", "", "PENDING"]


async def test_a_forgotten_job_is_known_to_accounting_only(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/wire/fake_slurm.py: `if not job.forgotten` -> `if True`."""
    job = await submit(shell)
    login_node.slurm.finish(job, state="FAILED", exit_code="3:0")
    login_node.slurm.forget(job)
    assert (await shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job))).exit_code == 1
    assert await sacct_state(shell, job) == "FAILED"


async def test_a_controller_that_is_down_says_so_while_accounting_answers(
    login_node: LoginNode, shell: SshShell
) -> None:
    """Red on: tests/wire/fake_slurm.py: `if self.is_down and name != "sacct":` -> `if False:`."""
    job = await submit(shell)
    login_node.slurm.is_down = True
    listed = await shell.run(Command.of("squeue", "-h"))
    assert (listed.exit_code, b"Unable to contact slurm controller" in listed.stderr) == (1, True)
    assert await sacct_state(shell, job) == "PENDING"
