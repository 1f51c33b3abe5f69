"""The daemons of a devcluster: how each is started, how it is known to be ready, and how it is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.deployments.devcluster.folder import ClusterFolder
    from sluiceway.deployments.devcluster.plan import Node, Plan

# A node lives in its own UTS and mount namespace, so that it has a host name and an /etc/hosts; its jobs inherit both.
# Where cgroup v2 is mounted beside v1, container runtimes refuse to start: nodes do not see that mount.
_START_NODE = """
hostname "$1"
mount --bind -- "$2" /etc/hosts
if [ -d /sys/fs/cgroup/unified ]; then umount -l /sys/fs/cgroup/unified; fi
exec slurmd -N "$1" -f "$3"
"""
# sshd wants this folder, which only a start by the system would make.
_START_SSHD = """
mkdir -p -m 755 /run/sshd
exec /usr/sbin/sshd -f "$1" -E "$2"
"""
# Its log lies in a folder of its own user, so that user opens it.
_START_DATABASE = """
exec setsid --fork setpriv --reuid=mysql --regid=mysql --clear-groups \\
    sh -c 'exec mariadbd --defaults-file="$1" >>"$2" 2>&1 </dev/null' sh "$1" "$2" >/dev/null 2>&1 </dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One daemon: whose it is, how it starts, what answers when it is ready, what its command line holds."""

    name: str
    owner: str
    folder: ClusterFolder
    start: Command
    ready: Command
    mark: str
    port: int | None = None

    @property
    def pid_file(self) -> Path:
        """Where it writes its process id."""
        return self.folder.pid_file(self.name, owner=self.owner)

    @property
    def log(self) -> Path:
        """Where it writes what happens."""
        return self.folder.log(self.name, owner=self.owner)


def slurm_command(plan: Plan, *argv: str) -> Command:
    """Make a Slurm command that talks to this cluster and no other."""
    return Command.of("env", f"SLURM_CONF={plan.folder.slurm_conf}", *argv)


def munged(plan: Plan) -> Daemon:
    """munged, which signs what the others say."""
    folder = plan.folder
    start = _as(
        "munge",
        "munged",
        f"--socket={folder.munge_socket}",
        f"--key-file={folder.state}/munge/key",
        f"--seed-file={folder.state}/munge/seed",
        f"--pid-file={folder.pid_file('munged', owner='munge')}",
        f"--log-file={folder.log('munged', owner='munge')}",
        "--num-threads=2",
        # After a crash its socket is still there.
        "--force",
    )
    ready = Command.of("munge", f"--socket={folder.munge_socket}", "--no-input")
    return Daemon(
        name="munged",
        owner="munge",
        folder=folder,
        start=start,
        ready=ready,
        mark=str(folder.munge_socket),
    )


def mariadbd(plan: Plan) -> Daemon:
    """MariaDB, which keeps the accounting."""
    folder = plan.folder
    log, conf = folder.log("mariadbd", owner="mysql"), str(folder.configuration / "database.cnf")
    start = Command.script(_START_DATABASE, conf, str(log))
    ready = Command.of("mariadb-admin", "--no-defaults", f"--socket={folder.database_socket}", "ping")
    return Daemon(
        name="mariadbd",
        owner="mysql",
        folder=folder,
        start=start,
        ready=ready,
        mark=conf,
    )


def slurmdbd(plan: Plan) -> Daemon:
    """slurmdbd, Slurm's accounting daemon."""
    folder = plan.folder
    settings = ("env", f"SLURM_CONF={folder.slurm_conf}", f"MYSQL_UNIX_PORT={folder.database_socket}")
    start = _as("slurm", *settings, "slurmdbd")
    ready = slurm_command(plan, "sacctmgr", "--noheader", "show", "cluster")
    return Daemon(
        name="slurmdbd",
        owner="slurm",
        folder=folder,
        start=start,
        ready=ready,
        # Its command line names no file.
        mark="slurmdbd",
        port=plan.ports.accounting,
    )


def slurmctld(plan: Plan) -> Daemon:
    """slurmctld, Slurm's controller."""
    folder = plan.folder
    conf = str(folder.slurm_conf)
    start = _as("slurm", "env", f"SLURM_CONF={conf}", "slurmctld", "-f", conf)
    ready = slurm_command(plan, "sh", "-c", "scontrol ping | grep -q ' is UP'")
    return Daemon(
        name="slurmctld",
        owner="slurm",
        folder=folder,
        start=start,
        ready=ready,
        mark=_arguments("slurmctld", "-f", conf),
        port=plan.ports.controller,
    )


def slurmd(plan: Plan, node: Node) -> Daemon:
    """Slurmd for one node, in namespaces of its own."""
    folder = plan.folder
    inside = Command.script(_START_NODE, node.name, str(folder.node_hosts), str(folder.slurm_conf))
    start = Command.of("unshare", "--mount", "--uts", "--propagation", "private", *inside.argv)
    # A star after a node's state says that it does not answer.
    answers = 'sinfo --noheader --nodes="$1" --format=%T | grep -vq -e "[*]" -e unknown'
    ready = slurm_command(plan, *Command.script(answers, node.name).argv)
    return Daemon(
        name=f"slurmd-{node.name}",
        owner="root",
        folder=folder,
        start=start,
        ready=ready,
        mark=_arguments("-N", node.name, "-f", str(folder.slurm_conf)),
        port=node.port,
    )


def sshd(plan: Plan, name: str) -> Daemon:
    """An sshd: the login node's or the jump host's."""
    folder = plan.folder
    conf = folder.configuration / f"{name}.conf"
    log, pid_file = folder.log(name, owner="root"), folder.pid_file(name, owner="root")
    return Daemon(
        name=name,
        owner="root",
        folder=folder,
        start=Command.script(_START_SSHD, str(conf), str(log)),
        # It writes its process id once it listens.
        ready=Command.of("test", "-s", str(pid_file)),
        mark=str(conf),
        port=plan.ports.login if name == "login" else plan.ports.jump,
    )


def levels(plan: Plan) -> tuple[tuple[Daemon, ...], ...]:
    """Give all daemons, in levels that need only what stands in an earlier one."""
    return (
        (munged(plan), mariadbd(plan), sshd(plan, "login"), sshd(plan, "jump")),
        (slurmdbd(plan),),
        (slurmctld(plan),),
        tuple(slurmd(plan, node) for node in plan.nodes),
    )


def _as(user: str, *argv: str) -> Command:
    return Command.of("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv)


def _arguments(*argv: str) -> str:
    """Give arguments as they stand in a command line that the kernel tells."""
    return "\0".join(argv)
