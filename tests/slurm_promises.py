"""What the rest of sluiceway relies on in Slurm's answers: asked of the fake and of the real one alike."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from sluiceway.core.remote.shell import Command, Shell

PATIENCE = timedelta(seconds=60)


def new_name() -> str:
    return f"job-{secrets.token_hex(6)}"


async def submit(shell: Shell, *options: str, script: bytes = b"#!/bin/sh\nexit 0\n") -> str:
    """Submit a script on standard input and give the job's id."""
    done = await shell.run(Command.of("sbatch", "--parsable", *options, stdin=script), timeout=PATIENCE)
    return done.require_success().text.strip()


class SlurmPromises:
    """A test class for one Slurm behind the fixture `shell`; jobs are held, so that nothing runs."""

    async def test_sbatch_answers_with_the_bare_id_when_asked_to(self, shell: Shell) -> None:
        assert (await submit(shell, "--hold")).isdecimal()

    async def test_a_job_is_found_by_name_at_once_with_its_comment_as_written(self, shell: Shell) -> None:
        name, comment = new_name(), '{"run": "3f2a", "attempt": 1}'
        job = await submit(shell, "--hold", f"--job-name={name}", f"--comment={comment}")
        listed = await shell.run(Command.of("squeue", "-h", "-t", "all", f"--name={name}", "-o", "%i|%T|%k"))
        assert listed.text == f"{job}|PENDING|{comment}\n"

    async def test_a_name_that_no_job_has_is_an_empty_answer_not_an_error(self, shell: Shell) -> None:
        listed = await shell.run(Command.of("squeue", "-h", "-t", "all", f"--name={new_name()}", "-o", "%i"))
        assert (listed.exit_code, listed.stdout) == (0, b"")

    async def test_an_unknown_id_is_an_error_of_squeue(self, shell: Shell) -> None:
        listed = await shell.run(Command.of("squeue", "-h", "-j", "99999"))
        assert listed.exit_code == 1
        assert b"Invalid job id specified" in listed.stderr

    @pytest.mark.parametrize("argv", [("sacct", "-n", "-P", "-j", "99999"), ("scancel", "99999")])
    async def test_an_unknown_id_is_silence_elsewhere(self, shell: Shell, argv: tuple[str, ...]) -> None:
        done = await shell.run(Command.of(*argv))
        assert (done.exit_code, done.stdout) == (0, b"")

    async def test_a_cancelled_job_stays_known_and_says_by_whom_in_accounting(self, shell: Shell) -> None:
        job = await submit(shell, "--hold")
        (await shell.run(Command.of("scancel", job))).require_success()
        listed = await shell.run(Command.of("squeue", "-h", "-t", "all", "-j", job, "-o", "%T"))
        assert listed.text == "CANCELLED\n"
        hidden = await shell.run(Command.of("squeue", "-h", "-j", job, "-o", "%T"))
        assert hidden.text == ""
        accounted = await _state_in_accounting(shell, job)
        assert accounted.startswith("CANCELLED by ")

    async def test_accounting_answers_with_the_fields_asked_for(self, shell: Shell) -> None:
        job = await submit(shell, "--hold", "--job-name=of-this-name")
        await _state_in_accounting(shell, job)
        asked = ("sacct", "-n", "-X", "-P", "-j", job, "--format=JobID,JobName,State,ExitCode")
        assert (await shell.run(Command.of(*asked))).text == f"{job}|of-this-name|PENDING|0:0\n"


async def _state_in_accounting(shell: Shell, job: str) -> str:
    """A job's state in accounting, once it has arrived there."""
    wait = 'until sacct -n -X -P -j "$1" --format=State | grep .; do sleep 0.1; done'
    return (await shell.run(Command.script(wait, job), timeout=PATIENCE)).require_success().text.strip()
