"""The fake Slurm misbehaves on request behind a login node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluiceway.core.errors import CommandFailed, ConnectionLost
from sluiceway.core.remote.shell import Command
from tests.slurm_promises import new_name, submit

if TYPE_CHECKING:
    from sluiceway.core.remote.ssh import SshShell
    from tests.wire.login_node import LoginNode


async def sacct_state(shell: SshShell, job: str) -> str:
    return (await shell.run(Command.of("sacct", "-n", "-P", "-j", job, "--format=State"))).text.strip()


async def test_a_lost_answer_leaves_the_job_behind(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/wire/login_node.py: `if self.faults.take("lose_answers"):` -> `if False:`."""
    login_node.faults.lose_answers = 1
    name = new_name()
    with pytest.raises(ConnectionLost):
        await submit(shell, f"--job-name={name}")
    assert login_node.slurm.only_job()["name"] == name
    found = await shell.run(Command.of("squeue", "-h", "-t", "all", f"--name={name}", "-o", "%i"))
    assert found.text.strip() == str(login_node.slurm.only_job()["number"])


async def test_a_refusal_leaves_no_job(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/fake_slurm/programs.py: `if refusal is not None:` -> `if False:`."""
    login_node.slurm.refuse("Invalid account or account/partition combination specified")
    with pytest.raises(CommandFailed, match="Invalid account"):
        await submit(shell)
    assert login_node.slurm.jobs == []


async def test_accounting_can_lag_behind(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/fake_slurm/programs.py: `state["jobs"] if state["snapshot"] is None else state["snapshot"]` ->
    `state["jobs"]`.
    """
    login_node.slurm.freeze_accounting()
    job = await submit(shell, "--hold")
    assert await sacct_state(shell, job) == ""
    login_node.slurm.thaw_accounting()
    assert await sacct_state(shell, job) == "PENDING"


async def test_a_forgotten_job_is_known_to_accounting_only(login_node: LoginNode, shell: SshShell) -> None:
    """Red on: tests/fake_slurm/programs.py: `if not job["forgotten"]]` -> `]`."""
    job = await submit(shell, "--hold")
    login_node.slurm.finish(job, "FAILED", status=3 << 8)
    login_node.slurm.forget(job)
    assert (await shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job))).exit_code == 1
    assert await sacct_state(shell, job) == "FAILED"


async def test_a_controller_that_is_down_says_so_while_accounting_answers(
    login_node: LoginNode, shell: SshShell
) -> None:
    """Red on: tests/fake_slurm/programs.py: `if not state["controller"]:` -> `if False:`."""
    job = await submit(shell, "--hold")
    login_node.slurm.set_controller(up=False)
    listed = await shell.run(Command.of("squeue", "-h"))
    assert (listed.exit_code, b"Unable to contact slurm controller" in listed.stderr) == (1, True)
    assert await sacct_state(shell, job) == "PENDING"
