"""Processes of this machine, as the kernel tells of them: who listens on a port, and what a process has started.

A number alone names nothing for long: numbers come back. So a process is its number and when it was born.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import signal

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process: its number, and when it was born, in the kernel's ticks."""

    id: int
    born: str
    parent: int

    @property
    def is_there(self) -> bool:
        """Whether it still runs: neither gone, nor dead and waited for by nobody."""
        found = _read(self.id)
        return found is not None and found.born == self.born

    def end(self, how: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        if self.is_there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.id, how)


def started_by(ancestor: int) -> list[Process]:
    """Give everything that a process has started and that still hangs on it, parents first."""
    every = [read for each in _PROC.glob("[0-9]*") if (read := _read(int(each.name))) is not None]
    family = {ancestor}
    found: list[Process] = []
    while young := [each for each in every if each.parent in family and each.id not in family]:
        found += young
        family |= {each.id for each in young}
    return found


def listener_on(port: int) -> str | None:
    """Tell which process listens on a port, as far as the kernel lets us see it; none where nobody does."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _sockets_on(port, _PROC / "net" / table)}
    if not sockets:
        return None
    for handle in _PROC.glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(handle.readlink()) in sockets:
                return _told(handle.parts[2])
    return "a process of another user"


def _sockets_on(port: int, table: Path) -> list[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _told(process: str) -> str:
    words = (_PROC / process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    return f"process {process} ({words[:_SHOWN]})"


def _read(process: int) -> Process | None:
    """Read the kernel's line; a name may hold spaces and brackets, so it is cut off first."""
    try:
        line = (_PROC / str(process) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = re.sub(r"^.*\) ", "", line, flags=re.DOTALL).split()
    if fields[0] in {"Z", "X"}:
        return None
    return Process(id=process, born=fields[19], parent=int(fields[1]))
