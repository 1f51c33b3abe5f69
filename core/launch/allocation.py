"""The nodes of the job that this program is the batch script of, and how a program is started on one of them.

Everything is taken from Slurm's variables and its command scontrol; without a job, this machine is all nodes.
"""

import contextlib
import os
import re
import socket
import sys
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.children import printed
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from children import printed

# What sbatch was asked of the whole job would be asked of each step again.
_OF_THE_JOB = ("SLURM_NTASKS_PER_NODE", "SLURM_GPUS", "SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_CPU_BIND")


class Node(NamedTuple):
    """A node of the job: its name, where the others reach it, and whether this program runs there."""

    name: str
    address: str
    is_here: bool


def nodes(local: int = 1) -> List[Node]:
    """Give the nodes of this job, this one first; without a job, this machine as so many nodes."""
    if "SLURM_JOB_ID" not in os.environ:
        return [Node("local%d" % (number + 1), "127.0.0.1", is_here=True) for number in range(local)]
    listed = _listed(os.environ["SLURM_JOB_ID"])
    names = printed(["scontrol", "show", "hostnames", listed]).split()
    here = os.environ.get("SLURMD_NODENAME", names[0])
    known = dict(re.findall(r"NodeName=(\S+).*? NodeAddr=(\S+)", printed(["scontrol", "-o", "show", "node", listed])))
    found = [Node(name, address_of(known.get(name, name)), is_here=name == here) for name in names]
    return sorted(found, key=lambda node: not node.is_here)


def _listed(job: str) -> str:
    # A step that was started from outside of the job is told of its own nodes alone.
    found = re.search(r" NodeList=(\S+)", printed(["scontrol", "-o", "show", "job", job]))
    return found.group(1) if found else os.environ["SLURM_JOB_NODELIST"]


def address_of(name: str) -> str:
    """Give a node's address: of version 4 where there is one; the name itself where it is not known as one."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            found = str(socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)[0][4][0])
            # Many a machine calls itself by an address that no other one reaches.
            if name == found or not found.startswith("127.0.1."):
                return found
    return name


def step(node: Node) -> List[str]:
    """Give what starts a program on a node: a step that takes nothing away from others, or nothing where it is here."""
    if "SLURM_JOB_ID" not in os.environ:
        return []
    where = ["--nodes=1", "--ntasks=1", "--nodelist=" + node.name]
    return ["srun", "--overlap", "--export=ALL", "--cpu-bind=none", "--kill-on-bad-exit=0"] + where


def for_srun(variables: Mapping[str, str]) -> Dict[str, str]:
    """Leave out the variables by which srun would ask again for what the job has."""
    return {name: value for name, value in variables.items() if name not in _OF_THE_JOB}


def share(found: List[Node]) -> int:
    """Say how many nodes this machine plays."""
    return 1 if "SLURM_JOB_ID" in os.environ else len(found)
