"""The name of every file of a devcluster; nothing else spells one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFolder:
    """The one folder that holds a devcluster: configuration, state, logs, the user's home and the client's files."""

    root: Path

    @property
    def plan(self) -> Path:
        """What the cluster consists of; its presence says that the folder is ours."""
        return self.root / "cluster.json"

    @property
    def configuration(self) -> Path:
        """The daemons' configuration files."""
        return self.root / "etc"

    @property
    def slurm_conf(self) -> Path:
        """Slurm's configuration, which every Slurm command is pointed at."""
        return self.configuration / "slurm.conf"

    @property
    def node_hosts(self) -> Path:
        """What nodes see as /etc/hosts."""
        return self.configuration / "hosts"

    @property
    def running(self) -> Path:
        """Process id files and sockets, in a folder for each daemon's own user."""
        return self.root / "run"

    @property
    def munge_socket(self) -> Path:
        """Where munged answers."""
        return self.running / "munge" / "socket"

    @property
    def database_socket(self) -> Path:
        """Where MariaDB answers: it listens on no port."""
        return self.running / "mysql" / "socket"

    @property
    def logs(self) -> Path:
        """The daemons' logs."""
        return self.root / "log"

    @property
    def state(self) -> Path:
        """What the daemons keep between two starts."""
        return self.root / "state"

    @property
    def devices(self) -> Path:
        """Device files that stand for GPUs."""
        return self.root / "dev"

    @property
    def home(self) -> Path:
        """The ordinary user's home."""
        return self.root / "home"

    @property
    def client(self) -> Path:
        """What a client needs: ssh_config, known_hosts and a key."""
        return self.root / "client"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`, and for the ssh_config of a Login."""
        return self.client / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The keys of the login node and the jump host."""
        return self.client / "known_hosts"

    @property
    def key(self) -> Path:
        """The ordinary user's private key."""
        return self.client / "id_ed25519"

    @property
    def authorized_keys(self) -> Path:
        """Which keys let the ordinary user in: not in its home, where its jobs could put something else in the way."""
        return self.configuration / "authorized_keys"

    def pid_file(self, daemon: str, *, owner: str) -> Path:
        """Where a daemon writes its process id; the folder belongs to the user it runs as."""
        return self.running / owner / f"{daemon}.pid"

    def log(self, daemon: str, *, owner: str) -> Path:
        """A daemon's log; the folder belongs to the user it runs as."""
        return self.logs / owner / f"{daemon}.log"

    def host_key(self, daemon: str) -> Path:
        """The private host key of an sshd."""
        return self.configuration / f"{daemon}_host_key"
