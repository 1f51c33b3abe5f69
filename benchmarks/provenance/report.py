"""Tables of what was measured."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.provenance.digests import COPY, DISK, MANY, SHA
from benchmarks.provenance.one_second import CACHED, PLAIN, RUN, SLEEP
from benchmarks.provenance.standing import USUAL
from benchmarks.scoring.report import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.provenance.outcome import Outcome

_GIGA = 1e9


def setting(outcome: Outcome) -> str:
    """Where and when it was measured."""
    loads = ", ".join(f"{each:.1f}" for each in outcome.loads)
    return f"{outcome.machine}; {outcome.date}. Load at the beginning of each part: {loads}."


def verdict(outcome: Outcome) -> str:
    """What was aimed at, and what came of it."""
    status = outcome.status[USUAL]
    best = min(status, key=lambda each: each.wall)
    rows = [
        (
            f"status of {outcome.outputs:,} outputs",
            "within 2 s",
            f"{best.wall:.1f} s, {_cpu(outcome, USUAL):.1f} s of CPU",
        ),
        ("claims: each key is one client's", f"{_keys(outcome):,} winners", _winners(outcome)),
        (
            "digest of 16 files beside reading them from the disk",
            "measured",
            f"{outcome.rate(MANY) / outcome.rate(DISK):.2f}",
        ),
        ("added to a task of one second by CONTENT", "measured", f"{outcome.added(CACHED, PLAIN) * 1000:.0f} ms"),
        ("added to `sleep 1` by a run", "measured", f"{outcome.added(RUN, SLEEP) * 1000:.0f} ms"),
    ]
    return table(("what", "aim", "measured"), rows)


def digests(outcome: Outcome) -> str:
    """Rates, beside what the machine can do."""
    rows = [
        (name, f"{median(rates) / _GIGA:.2f} ({min(rates) / _GIGA:.2f}-{max(rates) / _GIGA:.2f})",
         f"{outcome.rate(name) / outcome.rate(COPY):.3f}", f"{outcome.rate(name) / outcome.rate(SHA):.2f}")
        for name, rates in outcome.digests.items()
    ]  # fmt: skip
    return table((f"{outcome.size >> 20} MiB", "GB/s", "of a memory copy", "of SHA-256 in one thread"), rows)


def status(outcome: Outcome) -> str:
    """How long the command takes."""
    rows = [
        (
            name,
            *(
                f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})"
                for each in ([s.wall for s in rounds], [s.cpu for s in rounds])
            ),
        )
        for name, rounds in outcome.status.items()
    ]
    return table((f"{outcome.outputs:,} outputs", "seconds", "seconds of CPU"), rows)


def claims(outcome: Outcome) -> str:
    """How many claims are given away."""
    rows = [
        (name, f"{median(each.rate for each in rounds):,.0f}",
         f"{rounds[0].winners:,} of {rounds[0].keys:,}")
        for name, rounds in outcome.claims.items()
    ]  # fmt: skip
    clients = next(iter(outcome.claims.values()))[0].clients
    return table((f"{clients} clients", "claims given in a second", "winners"), rows)


def tasks(outcome: Outcome) -> str:
    """What is added to a second."""
    rows = [(name, f"{median(each):.3f} ({min(each):.3f}-{max(each):.3f})") for name, each in outcome.tasks.items()]
    return table(("", "seconds"), rows)


BLOCKS: dict[str, Callable[[Outcome], str]] = {
    "setting": setting, "verdict": verdict, "digests": digests, "status": status, "claims": claims, "tasks": tasks,
}  # fmt: skip


def _cpu(outcome: Outcome, name: str) -> float:
    return median(each.cpu for each in outcome.status[name])


def _keys(outcome: Outcome) -> int:
    return next(iter(outcome.claims.values()))[0].keys


def _winners(outcome: Outcome) -> str:
    return ", ".join(
        f"{sorted({each.winners for each in rounds})} on {name}" for name, rounds in outcome.claims.items()
    )
