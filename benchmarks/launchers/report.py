"""Tables of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.scoring.report import table
from benchmarks.slurm.outcome import middle

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.launchers.outcome import Outcome


_SHIPPED: Final = {
    "built": "built here",
    "shipped": "shipped",
    "copied": "tar and ssh",
    "found": "found there",
    "within": "a run in it",
    "without": "a run without",
}


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


def shipments(outcome: Outcome) -> str:
    """How long an environment takes to the cluster, and a run in it beside a run without."""
    rows = []
    for name in dict.fromkeys(each.name for each in outcome.shipments):
        found = [each for each in outcome.shipments if each.name == name]
        what = f"{name}: {found[0].files:,} files, {found[0].megabytes:,} MiB, {found[0].packed:,} packed"
        rows.append((what, *(middle([getattr(each, column) for each in found]) for column in _SHIPPED)))
    return table(("", *_SHIPPED.values()), rows)


def setting(outcome: Outcome) -> str:
    """Where, when and with what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    loads = ", ".join(f"{each:.1f}" for each in outcome.loads)
    failed = f" {len(outcome.failures)} starts failed." if outcome.failures else ""
    return f"{outcome.machine}; {outcome.date}; {versions}. Load before each part: {loads}.{failed}"


BLOCKS: dict[str, Callable[[Outcome], str]] = {"setting": setting, "starts": starts, "shipments": shipments}
