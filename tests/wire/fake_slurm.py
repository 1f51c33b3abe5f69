"""A Slurm that keeps state and can misbehave in ways that a real one cannot be made to.

Its commands are programs on a PATH folder, so that scripts composed of several commands work as they do for real; each
hands its arguments over a socket to this object, which lives in the test's own process and may be asked and bent.
What it answers is held against the real Slurm by tests/slurm_promises.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
wire = socket.socket(socket.AF_UNIX)
wire.connect({address!r})
script = "" if sys.stdin is None or sys.argv[0].rsplit("/", 1)[-1] != "sbatch" else sys.stdin.read()
asked = dict(argv=[os.path.basename(sys.argv[0]), *sys.argv[1:]], cwd=os.getcwd(), stdin=script)
wire.sendall(json.dumps(asked).encode())
wire.shutdown(socket.SHUT_WR)
answer = json.loads(b"".join(iter(lambda: wire.recv(65536), b"")))
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
sys.exit(answer["exit_code"])
"""
_DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
_DONE = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


@dataclass(kw_only=True)
class FakeJob:
    """One job as Slurm knows it."""

    id: str
    name: str
    script: str
    comment: str
    state: str = "PENDING"
    exit_code: str = "0:0"
    forgotten: bool = False
    unaccounted: int = 0

    @property
    def is_done(self) -> bool:
        return self.state.split()[0] in _DONE


@dataclass(kw_only=True)
class Reply:
    """What a command prints, and its exit code."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


@dataclass(kw_only=True)
class FakeSlurm:
    """The state of a cluster, the programs that ask it, and its ways of misbehaving."""

    folder: Path
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    refusal: str | None = None
    is_down: bool = False
    accounting_lag: int = 0
    _server: asyncio.Server | None = None

    @property
    def path(self) -> Path:
        """The folder that goes first on PATH."""
        return self.folder / "bin"

    async def start(self) -> None:
        self.path.mkdir(parents=True)
        address = str(self.folder / "slurm.sock")
        for name in COMMANDS:
            program = self.path / name
            program.write_text(_CLIENT.format(python=sys.executable, address=address))
            program.chmod(0o755)
        self._server = await asyncio.start_unix_server(self._serve, address)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def refuse(self, why: str) -> None:
        """Refuse submissions from now on, in the words of sbatch."""
        self.refusal = why

    def forget(self, job_id: str) -> None:
        """Let the controller forget a job, as it does after MinJobAge; accounting still knows it."""
        self.jobs[job_id].forgotten = True

    def delay_accounting(self, *, questions: int) -> None:
        """Let sacct know new jobs only after it was asked so many times."""
        self.accounting_lag = questions

    def finish(self, job_id: str, *, state: str = "COMPLETED", exit_code: str = "0:0") -> None:
        self.jobs[job_id].state, self.jobs[job_id].exit_code = state, exit_code

    def only_job(self) -> FakeJob:
        (job,) = self.jobs.values()
        return job

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.read())
        self.asked.append(asked["argv"])
        reply = self._answer(asked)
        writer.write(json.dumps(vars(reply)).encode())
        writer.close()

    def _answer(self, asked: dict[str, Any]) -> Reply:
        name, *arguments = asked["argv"]
        if self.is_down and name != "sacct":
            return Reply(stderr=_DOWN, exit_code=1)
        if name == "sbatch":
            return self._sbatch(arguments, cwd=asked["cwd"], stdin=asked["stdin"])
        return {"squeue": self._squeue, "sacct": self._sacct, "scancel": self._scancel, "scontrol": self._scontrol}[
            name
        ](arguments)

    def _sbatch(self, arguments: list[str], *, cwd: str, stdin: str) -> Reply:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--parsable", action="store_true")
        for name in ("-J --job-name", "--comment", "-p --partition", "-A --account", "--wrap", "-t --time"):
            options.add_argument(*name.split())
        options.add_argument("-H", "--hold", action="store_true")
        options.add_argument("script", nargs="?")
        given = options.parse_args(arguments)
        if self.refusal is not None:
            return Reply(stderr=f"sbatch: error: Batch job submission failed: {self.refusal}\n", exit_code=1)
        text = given.wrap or (Path(cwd, given.script).read_text() if given.script else stdin)
        name = given.job_name or (Path(given.script).name if given.script else "wrap" if given.wrap else "sbatch")
        job = FakeJob(
            id=str(len(self.jobs) + 101),
            name=name,
            script=text,
            comment=given.comment or "",
            unaccounted=self.accounting_lag,
        )
        self.jobs[job.id] = job
        return Reply(stdout=f"{job.id}\n" if given.parsable else f"Submitted batch job {job.id}\n")

    def _squeue(self, arguments: list[str]) -> Reply:
        given = _listing_options(arguments)
        known = [job for job in self.jobs.values() if not job.forgotten]
        ids = given.jobs.split(",") if given.jobs else None
        if ids is not None and not any(job.id in ids for job in known):
            return Reply(stderr="slurm_load_jobs error: Invalid job id specified\n", exit_code=1)
        listed = [
            job
            for job in known
            if (ids is None or job.id in ids)
            and (given.name is None or job.name == given.name)
            and (given.states == "all" or not job.is_done)
        ]
        return Reply(stdout="".join(_formatted(job, given.format or "%i %T") + "\n" for job in listed))

    def _sacct(self, arguments: list[str]) -> Reply:
        given = _listing_options(arguments)
        fields = (given.format or "JobID,JobName,State,ExitCode").split(",")
        lines = []
        for job in self.jobs.values():
            if job.unaccounted > 0:
                job.unaccounted -= 1
            elif (given.jobs is None or job.id in given.jobs.split(",")) and given.name in (None, job.name):
                values = {"JobID": job.id, "JobName": job.name, "State": job.state, "ExitCode": job.exit_code}
                lines.append("|".join(values[each] for each in fields) + "\n")
        return Reply(stdout="".join(lines))

    def _scancel(self, arguments: list[str]) -> Reply:
        for job in self.jobs.values():
            if job.id in arguments and not job.is_done:
                job.state = f"CANCELLED by {os.getuid()}"
        return Reply()

    def _scontrol(self, arguments: list[str]) -> Reply:
        if arguments[:1] == ["ping"]:
            return Reply(stdout="Slurmctld(primary) at fake is UP\n")
        return Reply(stderr="Invalid job id specified\n", exit_code=1)


def _listing_options(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(add_help=False)
    for name in ("-j --jobs", "-n --name", "-t --states", "-o --format", "-S --starttime"):
        options.add_argument(*name.split())
    for name in ("-h --noheader", "-X --allocations", "-P --parsable2"):
        options.add_argument(*name.split(), dest=name.split("--")[1] + "_flag", action="store_true")
    return options.parse_args(_sacct_short_name(arguments))


def _sacct_short_name(arguments: list[str]) -> list[str]:
    # squeue's -n is a name and sacct's is --noheader; tests spell out --name, so a lone -n is sacct's.
    return [each for each in arguments if each != "-n"]


def _formatted(job: FakeJob, form: str) -> str:
    state = "CANCELLED" if job.state.startswith("CANCELLED") else job.state
    values = {"i": job.id, "j": job.name, "T": state, "k": job.comment or "(null)"}
    return re.sub(r"%(\w)", lambda found: values[found[1]], form)
