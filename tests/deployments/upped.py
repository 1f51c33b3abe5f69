"""`sluiceway up` as a program of a test, in a home of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sluiceway.deployments.server import address

COMMAND = str(Path(sys.executable).with_name("sluiceway"))
PATIENCE = 400


class Up:
    """One `up`, its home, and everything that runs because of it."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder, self.home, self.url = folder, folder / "home", address()
        self.port = self.url.rpartition(":")[2]
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")},
            "SLUICEWAY_HOME": str(self.home),
            "SLUICEWAY_CACHE_DIR": str(folder / "cache"),
            "PREFECT_HOME": str(folder / "client"),
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            **variables,
        }
        command = [COMMAND, "up", "--port", self.port, *options]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.program = subprocess.Popen(
                command, cwd=folder, env=self.variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def until(self, said: str) -> Up:
        """Wait until it has said that."""
        deadline = time.monotonic() + PATIENCE
        while said not in self.remarks:
            assert self.program.poll() is None, self.remarks
            assert time.monotonic() < deadline, self.remarks
            time.sleep(0.2)
        return self

    @property
    def remarks(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def answer(self) -> str:
        return (self.folder / "stdout").read_text()

    def daemon(self, name: str) -> int:
        """The process id of its server or its worker."""
        return int((self.home / "prefect" / f"{name}-{self.port}.pid").read_text())

    def processes(self) -> list[int]:
        """Everything that runs because of it."""
        return processes_in(self.home)

    def sluiceway(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command in its home."""
        return subprocess.run(
            [COMMAND, *words], cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False
        )

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Tell it to end, and give its exit code."""
        if self.program.poll() is None:
            self.program.send_signal(how)
        return self.program.wait(timeout=90)

    def wipe(self) -> None:
        """Leave the machine as it was, whatever the test found."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.end()
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.program.wait()


@contextlib.contextmanager
def upped(folder: Path, *words: str) -> Iterator[Up]:
    """Give one that is up for as long as the block lasts."""
    started = Up(folder, *words)
    try:
        yield started.until("Ctrl-C ends it")
    finally:
        started.wipe()


def processes_in(home: Path) -> list[int]:
    """Everything that runs with a home or on behalf of it: zombies have no environment any more."""
    found, marks = [], (f"PREFECT_HOME={home}/prefect\0".encode(), f"SLUICEWAY_HOME={home}\0".encode())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            if any(mark in environment for mark in marks):
                found.append(int(process.name))
    return found
