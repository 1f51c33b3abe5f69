"""Tables of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scoring.report import table
from benchmarks.slurm.outcome import middle

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.launchers.outcome import Outcome


def starts(outcome: Outcome) -> str:
    """How long until the payload begins beside a cluster of so many nodes, and until nothing of it is left."""
    sizes = sorted({each.nodes for each in outcome.starts})
    rows = []
    for name in dict.fromkeys(each.name for each in outcome.starts):
        ready = [middle([each.ready for each in outcome.of(name, nodes)]) for nodes in sizes]
        over = [middle([each.over for each in outcome.of(name, nodes)]) for nodes in sizes]
        rows.append((name, *ready, *over))
    head = ("", *(f"{nodes} nodes ready" for nodes in sizes), *(f"{nodes} nodes ended" for nodes in sizes))
    return table(head, rows)


def setting(outcome: Outcome) -> str:
    """Where, when and with what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    loads = ", ".join(f"{each:.1f}" for each in outcome.loads)
    failed = f" {len(outcome.failures)} starts failed." if outcome.failures else ""
    return f"{outcome.machine}; {outcome.date}; {versions}. Load before each size in each round: {loads}.{failed}"


BLOCKS: dict[str, Callable[[Outcome], str]] = {"setting": setting, "starts": starts}
