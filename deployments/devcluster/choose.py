"""Decides what a devcluster consists of: what was asked for, on what this machine has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.errors import FolderUnusable, NameUnusable, PortTaken
from sluiceway.core.remote.local import LocalShell
from sluiceway.deployments.devcluster import claims, machine
from sluiceway.deployments.devcluster.plan import NAME, Plan, Ports, Tracker, nodes, require_usable, stored

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULT_NAME = "dev"
_DEFAULT_NODES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for; what is left out is chosen at the first start, and kept."""

    root: Path
    name: str | None = None
    nodes: int | None = None
    first_port: int | None = None
    tracker: Tracker | None = None


async def plan_for(wish: Wish) -> Plan:
    """Give the plan of a folder, chosen anew where there is none; refuse what cannot come up."""
    machine.require_root("starting a devcluster")
    require_usable(wish.root)
    await machine.require_packages(LocalShell())
    plan = stored(wish.root)
    with claims.opened(wish.root) as claimed:
        if plan is None:
            plan = _choose(wish, claimed)
        else:
            _require_same(plan, wish)
        claimed.add(_claim(plan))
    # A machine may have been given another name since.
    return plan.model_copy(update={"host": machine.host_name()})


def _claim(plan: Plan) -> claims.Claim:
    count = len(Ports.model_fields) + len(plan.nodes)
    return claims.Claim(first=plan.ports.controller, count=count, process=os.getpid(), root=plan.root)


def _require_same(plan: Plan, wish: Wish) -> None:
    made = {
        "--name": (wish.name, plan.name),
        "--nodes": (wish.nodes, len(plan.nodes)),
        "--first-port": (wish.first_port, plan.ports.controller),
        "--tracker": (wish.tracker, plan.tracker),
    }
    for option, (wished, there) in made.items():
        if wished not in (None, there):
            reason = f"its cluster was made with {option} {there}, not {wished}; `down --wipe` it first"
            raise FolderUnusable(folder=plan.root, reason=reason)


def _choose(wish: Wish, claimed: claims.Claims) -> Plan:
    name = wish.name or _DEFAULT_NAME
    if not NAME.fullmatch(name):
        raise NameUnusable(name=name, reason="it must be lower-case letters and digits, twelve at most, a letter first")
    count = wish.nodes or _DEFAULT_NODES
    first = _first_port(wish, count, claimed)
    plan = Plan(
        name=name,
        root=wish.root,
        host=machine.host_name(),
        tracker=wish.tracker or machine.tracker(),
        ports=Ports(controller=first, accounting=first + 1, login=first + 2, jump=first + 3),
        nodes=nodes(name, count=count, first_port=first + 4),
    )
    home = machine.home_of(plan.user)
    if home not in (None, plan.folder.home):
        raise NameUnusable(name=name, reason=f"there is already a user {plan.user!r} whose home is {home}")
    return plan


def _first_port(wish: Wish, count: int, claimed: claims.Claims) -> int:
    purposes = ("slurmctld", "slurmdbd", "the login node", "the jump host", *("a node",) * count)

    def is_usable(port: int) -> bool:
        return claimed.holder(port) is None and machine.is_free(port)

    first = wish.first_port or machine.free_ports(len(purposes), usable=is_usable)
    for port, purpose in enumerate(purposes, start=first):
        claimant = claimed.holder(port)
        if claimant is not None:
            raise PortTaken(port=port, purpose=purpose, holder=f"the devcluster in {claimant}")
        if not machine.is_free(port):
            raise PortTaken(port=port, purpose=purpose)
    return first
