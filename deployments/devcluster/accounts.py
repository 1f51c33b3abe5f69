"""The accounts, qualities of service and the user that a devcluster starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.plan import Plan


def additions(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Give the arguments of each sacctmgr call; see sacctmgr(1)."""
    return (
        ("add", "cluster", plan.name),
        ("add", "qos", "short", "high", "Priority=100"),
        ("modify", "qos", "short", "set", "MaxWall=00:10:00"),
        ("add", "account", "research", "teaching", "Description=devcluster", "QOS=normal,short,high"),
        ("add", "user", plan.user, "Account=research,teaching", "DefaultAccount=research"),
    )
