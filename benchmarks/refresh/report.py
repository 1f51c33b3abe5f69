"""The tables of the page about refreshes."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.scoring.report import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.refresh.outcome import Outcome, Refresh


def setting(outcome: Outcome) -> str:
    """On what it was measured."""
    said = outcome.setting
    loads = sorted(each.load for each in outcome.refreshes)
    return (
        f"{said['processor']}, {said['cpus']} CPUs, Python {said['python']}; {said['day']}. {said['scores']} scores of "
        f"{said['rows']} rows, a panel of {said['variants']} variants and {said['people']} people, two policies. Load "
        f"at the beginning of each refresh: {loads[0]:.1f} to {loads[-1]:.1f}."
    )


def refreshes(outcome: Outcome) -> str:
    """What each refresh took and asked."""
    heads = (
        "refresh",
        "seconds",
        "processor seconds",
        "peak memory",
        "requests",
        "of these unchanged",
        "scoring files",
    )
    lines = []
    for name in dict.fromkeys(each.name for each in outcome.refreshes):
        rounds = [each for each in outcome.refreshes if each.name == name]
        last, times = rounds[-1], (_range([each.wall_s for each in rounds]), _range([each.cpu_s for each in rounds]))
        peak = f"{max(each.peak_gb for each in rounds):.2f} GB"
        lines.append((name, *times, peak, str(last.asked), str(last.unchanged), str(last.files)))
    return table(heads, lines)


def steps(outcome: Outcome) -> str:
    """In which steps the time of a refresh goes that finds nothing changed."""
    still = [each for each in outcome.refreshes if each.name == "nothing changed"]
    first = next(each for each in outcome.refreshes if each.name == "the first refresh")
    lines = [(step, f"{seconds:.1f}", _step(still, step)) for step, seconds in first.steps.items()]
    return table(("step", "the first refresh, seconds", "nothing changed, seconds"), lines)


def cleaning(outcome: Outcome) -> str:
    """How fast metadata are cleaned."""
    lines = []
    for each in outcome.cleanings:
        rates = (f"{each.rows / each.seconds:,.0f}", f"{each.megabytes / each.seconds:.1f}")
        lines.append((each.name, f"{each.rows:,}", f"{each.megabytes:.1f}", f"{each.seconds:.2f}", *rates))
    return table(("metadata", "rows", "MB", "seconds", "rows a second", "MB a second"), lines)


BLOCKS: Final[dict[str, Callable[[Outcome], str]]] = {
    "setting": setting,
    "refreshes": refreshes,
    "steps": steps,
    "cleaning": cleaning,
}


def _step(rounds: list[Refresh], step: str) -> str:
    return _range([each.steps[step] for each in rounds if step in each.steps]) if rounds else ""


def _range(values: list[float]) -> str:
    if not values:
        return "0"
    text = f"{median(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f}-{max(values):.1f})"
