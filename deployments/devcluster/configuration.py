"""The text of every configuration file of a devcluster. Pure: a plan goes in, text comes out.

slurm.conf(5), slurmdbd.conf(5), cgroup.conf(5), gres.conf(5) and sshd_config(5) say what each line means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluiceway.deployments.devcluster.plan import Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.deployments.devcluster.plan import Plan


def slurm(plan: Plan) -> str:
    """Give slurm.conf: quick to schedule, quick to notice a dead node, with accounting and preemption."""
    folder = plan.folder
    return f"""\
ClusterName={plan.name}
SlurmctldHost={plan.host}(127.0.0.1)
SlurmctldPort={plan.ports.controller}
SlurmUser=slurm
AuthType=auth/munge
# A requeued job waits for its credential to expire: 120 s by default, 6 s so.
AuthInfo=socket={folder.munge_socket},cred_expire=5
# Not NoInAddrAny: an srun inside a job would listen on its node's address alone, and be answered on another.
CommunicationParameters=NoCtldInAddrAny
StateSaveLocation={folder.state}/slurm
SlurmctldPidFile={folder.pid_file("slurmctld", owner="slurm")}
SlurmctldLogFile={folder.log("slurmctld", owner="slurm")}
SlurmdSpoolDir={folder.state}/nodes/%n
SlurmdPidFile={folder.pid_file("slurmd-%n", owner="root")}
SlurmdLogFile={folder.log("slurmd-%n", owner="root")}
# Nodes may claim more than this machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
TaskPlugin=task/none
ProctrackType=proctrack/{plan.tracker}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
MailProg=/bin/true
# A node that did not answer comes back by itself; one that was failed on purpose stays so.
ReturnToService=1
# Slurm's own 30 seconds would make tests of what ignores a signal slow; payload and engine have 5 and 2 to end in.
KillWait=12
SlurmdTimeout=10
MinJobAge=300
MaxArraySize={plan.max_array_size}
MaxJobCount=5000
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
PriorityType=priority/multifactor
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={plan.ports.accounting}
# Without it, commands that talk to slurmdbd look for munge's socket where Debian puts it.
AccountingStoragePass={folder.munge_socket}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script,job_env
TrackWCKey=yes
GresTypes=gpu
{_nodes(plan)}
PartitionName=DEFAULT Nodes={",".join(node.name for node in plan.nodes)} MaxTime=1-0 DefaultTime=10 DefMemPerCPU=500
PartitionName=normal Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE
PartitionName=lowcancel PriorityTier=1 PreemptMode=CANCEL
"""


def _nodes(plan: Plan) -> str:
    shape = f"Sockets=1 CoresPerSocket={plan.cpus_per_node} ThreadsPerCore=1 RealMemory={plan.memory_mib_per_node}"
    return "\n".join(
        f"NodeName={node.name} NodeHostname={plan.host} NodeAddr={node.address} Port={node.port} "
        f"CPUs={plan.cpus_per_node} {shape} TmpDisk=1000{f' Gres=gpu:{node.gpus}' if node.gpus else ''}"
        for node in plan.nodes
    )


def accounting(plan: Plan) -> str:
    """Give slurmdbd.conf: it reaches the database over a socket, without a password."""
    folder = plan.folder
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder.munge_socket}
DbdHost={plan.host}
DbdAddr=127.0.0.1
DbdPort={plan.ports.accounting}
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_accounting
PidFile={folder.pid_file("slurmdbd", owner="slurm")}
LogFile={folder.log("slurmdbd", owner="slurm")}
TrackWCKey=yes
CommitDelay=0
"""


def database(plan: Plan) -> str:
    """Give MariaDB's configuration: small, on no port, and not careful with the disk, for nothing here is precious."""
    folder = plan.folder
    return f"""\
[mariadbd]
datadir={folder.state}/mysql
socket={folder.database_socket}
pid-file={folder.pid_file("mariadbd", owner="mysql")}
log-error={folder.log("mariadbd", owner="mysql")}
init-file={folder.configuration}/database.sql
user=mysql
skip-networking
skip-name-resolve
skip-log-bin
performance-schema=OFF
innodb-buffer-pool-size=64M
innodb-log-file-size=16M
innodb-lock-wait-timeout=900
innodb-flush-log-at-trx-commit=0
innodb-flush-method=nosync
innodb-doublewrite=OFF
innodb-fast-shutdown=1
"""


def database_users() -> str:
    """Give the SQL that lets slurmdbd, which runs as slurm, into its own database by its user name alone."""
    return """\
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_accounting.* TO slurm@localhost;
"""


def cgroup(plan: Plan) -> str:
    """Give cgroup.conf: the freezer only; no controller of the machine is touched."""
    mount = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint=/sys/fs/cgroup\n"
    limits = "ConstrainCores=no\nConstrainDevices=no\nConstrainRAMSpace=no\nConstrainSwapSpace=no\n"
    return mount + limits if plan.tracker is Tracker.CGROUP_V1_FREEZER else limits


def gpus(plan: Plan) -> str:
    """Give gres.conf: each GPU is a device file, for Slurm drains a node whose GPUs are only counted."""
    return "".join(
        f"NodeName={node.name} Name=gpu File={plan.folder.devices}/gpu[0-{node.gpus - 1}]\n"
        for node in plan.nodes
        if node.gpus
    )


def node_hosts(plan: Plan, *, machine_hosts: str) -> str:
    """Give what nodes see as /etc/hosts: their own names first, then the machine's."""
    names = "".join(f"{node.address} {node.name}\n" for node in plan.nodes)
    return f"{names}127.0.0.1 {plan.host}\n{machine_hosts}"


def sshd(plan: Plan, *, daemon: str, port: int) -> str:
    """Give sshd_config: keys only, one user, this machine only, as many sessions on a connection as sshd's default."""
    folder = plan.folder
    return f"""\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder.host_key(daemon)}
PidFile {folder.pid_file(daemon, owner="root")}
AllowUsers {plan.user}
AuthorizedKeysFile {folder.authorized_keys}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 200
MaxSessions 10
AllowTcpForwarding yes
Subsystem sftp internal-sftp
SetEnv SLURM_CONF={folder.slurm_conf}
"""


def client(plan: Plan) -> str:
    """Give the client's ssh_config: the login node straight, and the same through the jump host."""
    folder = plan.folder
    return f"""\
Host {plan.name}
    Port {plan.ports.login}

Host {plan.name}-jump
    Port {plan.ports.jump}

Host {plan.name}-behind-jump
    Port {plan.ports.login}
    ProxyJump {plan.name}-jump

Host {plan.name} {plan.name}-*
    HostName 127.0.0.1
    User {plan.user}
    IdentityFile {folder.key}
    IdentitiesOnly yes
    UserKnownHostsFile {folder.known_hosts}
    StrictHostKeyChecking yes
"""


def known_hosts(plan: Plan, *, public_keys: dict[str, str]) -> str:
    """Give known_hosts for the two sshd, from their public keys by the daemon's name."""
    ports = {"login": plan.ports.login, "jump": plan.ports.jump}
    return "".join(f"[127.0.0.1]:{ports[daemon]} {' '.join(key.split()[:2])}\n" for daemon, key in public_keys.items())


def files(plan: Plan, *, machine_hosts: str) -> dict[Path, str]:
    """Give every configuration file of the daemons, by its path."""
    folder = plan.folder
    etc = folder.configuration
    return {
        folder.slurm_conf: slurm(plan),
        etc / "slurmdbd.conf": accounting(plan),
        etc / "cgroup.conf": cgroup(plan),
        etc / "gres.conf": gpus(plan),
        etc / "database.cnf": database(plan),
        etc / "database.sql": database_users(),
        folder.node_hosts: node_hosts(plan, machine_hosts=machine_hosts),
        etc / "login.conf": sshd(plan, daemon="login", port=plan.ports.login),
        etc / "jump.conf": sshd(plan, daemon="jump", port=plan.ports.jump),
    }
