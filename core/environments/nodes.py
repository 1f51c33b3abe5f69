"""What the nodes of a partition are: the login node may be something else."""

from __future__ import annotations

import re
from typing import LiteralString

from sluiceway.core.remote.shell import Command

_ASK: LiteralString = """
cluster=$1
set -- ${cluster:+"--clusters=$cluster"}
scontrol "$@" show partition --oneliner && echo @nodes && scontrol "$@" show node --oneliner
echo @end
"""


def ask(cluster: str = "") -> Command:
    """Ask Slurm for its partitions and nodes."""
    return Command.script(_ASK, cluster)


def machines_of(answer: str, *, partition: str | None) -> tuple[str, ...]:
    r"""Give the architectures of a partition's nodes, or of the default one's; none where Slurm does not tell.

    >>> told = "PartitionName=old Default=NO\nPartitionName=new Default=YES\n@nodes\n"
    >>> told += "NodeName=a Arch=x86_64 Partitions=old,new \nNodeName=b Arch=aarch64 Partitions=old \n@end\n"
    >>> machines_of(told, partition=None), machines_of(told, partition="old")
    (('x86_64',), ('aarch64', 'x86_64'))
    """
    partitions, mark, nodes = answer.partition("@nodes\n")
    if not mark:
        return ()
    wanted = (
        set((partition or "").split(","))
        if partition
        else set(re.findall(r"PartitionName=(\S+).* Default=YES", partitions))
    )
    found = set()
    for line in nodes.splitlines():
        machine, held = re.search(r" Arch=(\S+)", line), re.search(r" Partitions=(\S+)", line)
        if machine and held and wanted & set(held[1].split(",")):
            found.add(machine[1])
    return tuple(sorted(found))
