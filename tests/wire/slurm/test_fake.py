"""The fake Slurm with real jobs answers as the real one does."""

from __future__ import annotations

import pytest

from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command
from tests.fake_slurm.slurm import FakeSlurm
from tests.slurm_promises import SlurmPromises, submit


@pytest.fixture
def shell(slurm: FakeSlurm) -> LocalShell:
    return LocalShell()


class TestFakeSlurm(SlurmPromises):
    """Every promise, asked of the fake."""


async def test_a_job_runs_in_its_folder_with_its_variables(shell: LocalShell, slurm: FakeSlurm) -> None:
    script = b'#!/bin/sh\n#SBATCH "--output=said-%j" --chdir=/tmp\necho "$SLURM_JOB_ID $PWD"\n'
    job = await submit(shell, f"--output={slurm.folder}/said-%j", script=script)
    slurm.wait(job)
    assert (slurm.folder / f"said-{job}").read_text() == f"{job} /tmp\n"


async def test_a_job_over_its_time_limit_is_timed_out(shell: LocalShell, slurm: FakeSlurm) -> None:
    job = await submit(shell, "--time=0-00:00:01", "--output=/dev/null", script=b"#!/bin/sh\nsleep 60\n")
    slurm.wait(job)
    assert slurm.only_job()["state"] == "TIMEOUT"


async def test_a_requeued_job_has_a_row_for_each_run(shell: LocalShell, slurm: FakeSlurm) -> None:
    job = await submit(shell, "--hold")
    slurm.requeue(job)
    rows = await shell.run(Command.of("sacct", "-D", "-n", "-X", "-P", "-j", job, "--format=State"))
    assert rows.text.split() == ["REQUEUED", "PENDING"]
