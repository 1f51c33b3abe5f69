"""What this machine is and has: users, packages, ports, processes and control groups."""

from __future__ import annotations

import os
import pwd
import re
import socket
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core import settings
from sluiceway.core.errors import PackagesMissing, RootNeeded
from sluiceway.core.remote.shell import Command
from sluiceway.deployments.devcluster.plan import Tracker

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from sluiceway.core.remote.shell import Shell

_PROC = Path("/proc")
_FREEZER = Path("/sys/fs/cgroup/freezer")
# Below the ports that the kernel gives to outgoing connections (ip_local_port_range starts at 32768).
_FIRST_PORT, _LAST_PORT = 21_000, 32_000
_NO_LOGIN = 4_294_967_295


def require_root(attempted: str) -> None:
    """Raise RootNeeded unless this process is root's."""
    if os.geteuid() != 0:
        raise RootNeeded(attempted=attempted)


def packages() -> tuple[str, ...]:
    """Name the Debian packages that a devcluster is made of."""
    lines = (files("sluiceway.deployments") / "debian-packages.txt").read_text().splitlines()
    return tuple(line.split()[1] for line in lines if line.startswith("cluster "))


async def require_packages(shell: Shell) -> None:
    """Raise PackagesMissing, naming each Debian package that is not installed."""
    asked = await shell.run(Command.of("dpkg-query", "-W", "-f", "${Package} ${Status}\n", *packages()))
    there = {line.split()[0] for line in asked.text.splitlines() if line.endswith(" installed")}
    missing = tuple(package for package in packages() if package not in there)
    if missing:
        raise PackagesMissing(packages=missing)


def host_name() -> str:
    """Give the short name that Slurm knows this machine by."""
    return socket.gethostname().split(".")[0]


def tracker() -> Tracker:
    """Choose how Slurm finds a job's processes: by the v1 freezer where it can be written, else plainly."""
    return Tracker.CGROUP_V1_FREEZER if os.access(_FREEZER, os.W_OK) else Tracker.PLAIN


def is_free(port: int) -> bool:
    """Whether a server could listen on this port, on any address."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int, *, usable: Callable[[int], bool] = is_free) -> int:
    """Find the first of so many free ports in a row."""
    run = 0
    for port in range(_FIRST_PORT, _LAST_PORT):
        run = run + 1 if usable(port) else 0
        if run == count:
            return port - count + 1
    raise OSError(f"no {count} free ports in a row between {_FIRST_PORT} and {_LAST_PORT}")


def running_id(pid_file: Path, *, mark: str) -> int | None:
    """Give the process id of a living daemon whose command line holds the mark."""
    try:
        pid = int(pid_file.read_text())
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    # A zombie's command line is empty, so it never holds the mark.
    return pid if mark.encode() in command else None


def is_running(mark: str) -> bool:
    """Whether any process has a command line that holds the mark."""
    for pid in processes():
        with suppress(OSError):
            if mark.encode() in (_PROC / str(pid) / "cmdline").read_bytes():
                return True
    return False


def lives_in_node(pid: int, *, node_hosts: Path) -> bool:
    """Whether a process sees this file as its /etc/hosts, as the nodes and their jobs do, and nobody else."""
    with suppress(OSError):
        return (_PROC / str(pid) / "root" / "etc" / "hosts").samefile(node_hosts)
    return False


def processes() -> Iterator[int]:
    """Give the id of every process that is not a zombie."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and _is_alive(folder):
            yield int(folder.name)


def _is_alive(folder: Path) -> bool:
    with suppress(OSError):
        found = re.search(r"^State:\s+(\w)", (folder / "status").read_text(), re.MULTILINE)
        return found is not None and found[1] not in "ZX"
    return False


def processes_of(*, user: str | None, node_hosts: Path) -> tuple[int, ...]:
    """Give the processes that belong to this user or live in one of the nodes."""
    uid = user_id(user) if user is not None else None
    return tuple(
        pid
        for pid in processes()
        if lives_in_node(pid, node_hosts=node_hosts) or (uid is not None and _owner(pid) == uid)
    )


def _owner(pid: int) -> int | None:
    with suppress(OSError):
        return (_PROC / str(pid)).stat().st_uid
    return None


def user_id(name: str) -> int | None:
    """Give a user's number; none when there is no such user."""
    with suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None


def home_of(name: str) -> Path | None:
    """Give a user's home; none when there is no such user."""
    with suppress(KeyError):
        return Path(pwd.getpwnam(name).pw_dir)
    return None


def person() -> int:
    """Give the number of the person at the keyboard, who may have become root by sudo."""
    with suppress(OSError, ValueError):
        number = int(Path("/proc/self/loginuid").read_text())
        if number != _NO_LOGIN:
            return number
    # In containers nobody logs in, but sudo still says who called it.
    return settings.Foreign().sudo_uid or os.getuid()


def kill(pids: tuple[int, ...], how: signal.Signals) -> None:
    """Send a signal to each of these processes; one that is gone already is fine."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, how)


def remove_freezers(nodes: tuple[str, ...]) -> None:
    """Remove the freezer groups that slurmd made for these nodes; they are empty once its processes are gone."""
    for node in nodes:
        top = _FREEZER / f"slurm_{node}"
        for group in sorted(top.rglob("*/"), reverse=True) if top.is_dir() else ():
            with suppress(OSError):
                group.rmdir()
        with suppress(OSError):
            top.rmdir()
